"""Tables that are kept by columns: Parquet and Arrow, checked before pyarrow unpacks them.

May import: the other modules of the files' room.
"""
