"""Reward models: data, losses, training, held-out report; functions that score replies.

May import: config, rows, metrics, acquire, data, run, language.
"""
