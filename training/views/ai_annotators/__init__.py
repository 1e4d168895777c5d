"""Pages of AI annotators: those of a project, and one with its figures.

May import: what training.views may.
"""
