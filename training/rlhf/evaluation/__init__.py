"""Models compared: metrics of completions, judges, human evaluation, tables and reports.
May import: config, rows, metrics, data, run, language, reward, completions, annotation.
"""
