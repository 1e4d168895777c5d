"""Bounds of a row and of a file, so that no file can fill the memory or the disk."""

from __future__ import annotations

MAX_ROW = 4_000_000
"""Bytes of one row: a million words of chat. As objects of Python up to 27 times as much."""
MAX_DEPTH = 32
MAX_COLUMNS = 1_000
MAX_SKIPPED = 100_000_000
"""Bytes of one row that is too long. Beyond them the file is given up and not only the row."""
MAX_EMPTY = 1_000_000
"""Empty lines in a row."""
MAX_MEMBERS = 10_000
"""Files in an archive or a folder."""
HEAD = 256 * 1024
"""Bytes from which a format is recognised."""
CHUNK = 64 * 1024
BOMB_SIZE, BOMB_RATIO = 100_000_000, 500
"""An archive that has given so many bytes, so many times its own, is no data. Rows of text shrink
to a tenth, rows that are all alike to a hundredth."""
