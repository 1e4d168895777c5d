"""Input rules of the pages; their messages are what a person at the screen reads.

May import: models, votes, people, queue, gold.
"""
