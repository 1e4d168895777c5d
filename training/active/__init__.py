"""Active learning between rounds: the order of the queue, whether it pays, what more votes would.

May import: models, figures, versions, plans, runs, rounds.
"""
