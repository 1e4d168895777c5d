"""Whole projects: the file that the export `project` wrote, checked and brought back.

May import: what annotate.importing may, and exporting.
"""
