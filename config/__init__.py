"""The composition root: settings, addresses, middleware, entry points.

May import: neither app; it names them as strings.
"""
