"""The origin of versions, and what it lets them do.

May import: models, and its siblings of versions.
"""
