"""The question to a judge, and votes of models on pairs: by a constitution, or by a reward model.

May import: config, rows, data, run, reward, completions.
"""
