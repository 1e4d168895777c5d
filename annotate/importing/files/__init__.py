"""Any file as a stream of rows: recognised by its content, unpacked, bounded in memory.

May import: the problems of importing, which it reports, and nothing else of ours.
"""

from __future__ import annotations

from annotate.importing.files.readers import Place, Reader
from annotate.importing.files.recognition import FORMATS_IN, FileFormat
from annotate.importing.files.sources import Source, opened

__all__ = ["FORMATS_IN", "FileFormat", "Place", "Reader", "Source", "opened"]
