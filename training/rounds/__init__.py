"""The loop: starting rounds, its state, and the order of the queue between rounds.

May import: models, figures, versions, plans, runs.
"""
