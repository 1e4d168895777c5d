"""Filters of the templates.

May import: figures.
"""
