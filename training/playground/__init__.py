"""Trying models on a prompt: what may be asked, and the process that answers.

May import: models, figures, versions, runs, rounds.
"""
