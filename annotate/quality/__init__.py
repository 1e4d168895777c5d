"""Figures of a project's votes: agreement, breakdowns, biases, reliability, ratings.

May import: models, statistics, votes, queue, review.
"""
