"""Proximal policy optimisation: one update, its loop, its checkpoints, the choice of the best.
May import: config, rows, metrics, data, run, language, reward, completions.
"""
