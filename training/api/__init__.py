"""REST of the loop: rounds, model versions, and the writing of completions.

May import: every room but views and management.
"""
