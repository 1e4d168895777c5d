"""The export formats: functions that turn a dataset version into lines or files.

May import: models, votes, and the rest of annotate.exporting.
"""
