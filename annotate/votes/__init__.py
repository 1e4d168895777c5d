"""Votes as data: scales, labels, flags, what a dataset version holds, and how far AI annotators
agree with people.

May import: models, statistics.
"""
