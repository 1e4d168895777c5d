"""First setup, models from elsewhere, runs in the foreground, and the checks of `doctor`.

May import: models, versions, runs, rounds.
"""
