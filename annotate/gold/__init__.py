"""Pairs with a known answer, and the qualification made of them.

May import: models, votes, queue.
"""
