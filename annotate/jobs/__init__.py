"""Work for a project that takes longer than a page may: imports, watched by those who asked.

May import: models, importing.
"""
