"""Commands of manage.py that concern labelling.

May import: every room of annotate.
"""
