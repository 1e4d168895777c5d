"""Active learning between rounds: the order of all pairs, and of the shortlist after every vote,
whether that order is worth it, and what more votes bring.

May import: models, figures, versions, plans, runs, rounds.
"""
