"""Numbers for people: formats, chart geometry, progress of runs, files that runs leave.

May import: models.
"""
