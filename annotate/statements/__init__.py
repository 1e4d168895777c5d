"""Hand-written SQL: planned once per connection where the database can, rows as instances.

May import: nothing of this app.
"""
