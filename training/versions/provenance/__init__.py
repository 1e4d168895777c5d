"""Where versions come from, and what their origin lets them do.

May import: models, and its siblings of versions.
"""
