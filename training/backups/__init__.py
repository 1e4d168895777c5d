"""Backup and restore of a whole installation: the database and every file of PAIRLOOP_HOME.

May import: models.
"""
