"""One command per file.

May import: every room of annotate.
"""
