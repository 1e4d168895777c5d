"""Limits of what an import takes, so that no file can fill the memory or the disk.

Of a file format's own parts (headers, pages, footers) the reader of that format knows how much it
reads; PAIRLOOP_MIN_FREE_GB of the settings says how much of the disk stays free.
"""

from __future__ import annotations

# Files

MAX_REQUEST = 50_000_000
"""Bytes of a file in one request, as it is sent."""
MAX_REQUEST_UNPACKED = 200_000_000
"""Bytes of the same after decompression."""
MAX_FILE = 20_000_000_000
"""Bytes of a file that is sent in pieces, or of a dataset that is fetched."""
MAX_FILE_UNPACKED = 100_000_000_000
"""Bytes of the same after decompression. A command on the server has no such limit."""
MAX_PIECE = 16_000_000
"""Bytes of a piece."""
MAX_DATASET_FILES = 2_000
"""Files of a dataset that is fetched."""
MAX_MEMBERS = 10_000
"""Files in an archive or a folder."""
BOMB_SIZE, BOMB_RATIO = 100_000_000, 500
"""An archive that has given so many bytes, so many times its own, is no data. Rows of text shrink
to a tenth, rows that are all alike to a hundredth."""
HEAD = 256 * 1024
"""Bytes from which a format is recognised."""
CHUNK = 64 * 1024
"""Bytes that are read at once."""

# Rows

MAX_ROW = 4_000_000
"""Bytes of one row: a million words of chat. As objects of Python up to 27 times as much."""
MAX_SKIPPED = 100_000_000
"""Bytes of one row that is too long. Beyond them the file is given up and not only the row."""
MAX_EMPTY = 1_000_000
"""Empty lines in a row."""
MAX_DEPTH = 32
"""Lists and objects within each other."""
MAX_COLUMNS = 1_000
MAX_COLUMN = 1_000
"""Characters of a column's name: survey tools put the whole question there."""

# What a row says

MAX_TEXT = 100_000
"""Bytes of a prompt's message or of a reply."""
MAX_TURNS = 500
"""Messages of a chat."""
MAX_COMPLETIONS = 64
"""Replies of one row."""
MAX_COMPARED = 64
"""Replies to one prompt that are compared by their ratings; they make 2,016 pairs."""
MAX_COMMENTS = 16
"""Of a post, those with the best scores: every two of them are a pair, 120 in all."""
MAX_VOTES = 100
"""Votes of one row."""
MAX_TAGS = 32
MAX_NAME = 80
"""Characters of the name of a model, a rating or an annotator."""
