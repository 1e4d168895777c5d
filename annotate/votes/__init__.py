"""Votes as data: scales, labels, flags, and what a dataset version holds.

May import: models.
"""
