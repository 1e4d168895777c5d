"""A whole project as lines of JSON: its tables as a file holds them, and the lines in their order.

May import: what annotate.exporting may.
"""
