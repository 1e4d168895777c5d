"""First setup, models from elsewhere, and the checks of `doctor`.

May import: models, versions, runs, rounds.
"""
