"""Pages of annotators: the labelling screen, their own votes, the qualification.

May import: views, and what it may import.
"""
