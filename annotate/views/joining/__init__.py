"""Pages of signing in, joining by a link, choosing a password, and of a project's members.

May import: the rooms that `views` may.
"""
