"""Hand-written SQL: planned once per connection where the database can, rows as instances, and how
long a statement may take.

May import: nothing of this app.
"""
