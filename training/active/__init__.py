"""Active learning between rounds: the order of all pairs, and of the shortlist after every vote.

May import: models, figures, versions, plans, runs, rounds.
"""
