"""Pages, one thin function per address: read, ask a room below, render.

May import: every room of annotate but api, exchange and management.
"""
