"""Imported rows in the database: found again by their content, or added, in short transactions.

May import: models, votes, queue, and the form of a row (annotate.importing.imported_row).
"""
