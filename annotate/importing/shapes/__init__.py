"""Shapes: a row of any file that somebody has, read into rows.Row; SHAPES lists them.

May import: models.
"""
