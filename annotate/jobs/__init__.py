"""Work for a project that takes longer than a page may, watched by those who asked for it.

Imports and exports. May import: models, importing, exporting.
"""
