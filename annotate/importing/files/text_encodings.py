"""Encodings of texts that are not UTF-8: found out where the text says enough, else asked about."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from annotate.importing.limits import CHUNK

ENCODINGS = {
    "utf-8": "UTF-8",
    "cp1252": "Windows-1252 (Western Europe; Latin-1)",
    "cp1250": "Windows-1250 (Central Europe)",
    "iso8859_2": "ISO 8859-2 (Central Europe)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8_r": "KOI8-R (Russian)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "gb18030": "GB 18030 (Chinese, with GBK and GB 2312)",
    "big5": "Big5 (Chinese, traditional)",
    "cp932": "Shift JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "cp949": "EUC-KR (Korean)",
    "utf-16": "UTF-16",
}
"""The encodings that a person may choose, by Python's name."""
GUESSED = [name for name in ENCODINGS if not name.startswith("utf")]
CLEAR = 0.02
"""Least lead in order of the likeliest reading over the next one that differs."""


class Guess(NamedTuple):
    """The likeliest encoding, and whether somebody has to say so first."""

    encoding: str
    asked: bool


def short_title(encoding: str) -> str:
    """The name without the languages."""
    return ENCODINGS[encoding].partition(" (")[0]


def is_utf8(data: bytes) -> bool:
    """True of UTF-8, also with a few bytes that are none, which are refused row by row."""
    text = data.decode("utf-8", "replace")
    wrong = text.removesuffix("\ufffd").count("\ufffd")  # The last character may be cut.
    return not wrong or sum(not letter.isascii() for letter in text) >= 2 * wrong


def is_western(data: bytes) -> bool:
    """True where accents stand alone among letters: of other scripts whole words are high."""
    high = re.findall(rb"[\x80-\xff]+", data)
    return 2 * sum(len(run) for run in high if len(run) > 2) <= sum(map(len, high))


def guessed(data: bytes) -> Guess | None:
    """The encoding of the beginning of a text that is no UTF-8; None where none fits."""
    # Here and not above: it takes time to load, and most files are UTF-8.
    from charset_normalizer import from_bytes

    if b"\0" in data:
        return None
    sample = data[:CHUNK]
    cut = sample.rfind(b"\n") + 1  # The last line may end in the middle of a character.
    if 2 * cut > len(sample):
        sample = sample[:cut]
    fitting = from_bytes(sample, cp_isolation=GUESSED)
    readings = [one for one in fitting if _decodes(data, one.encoding)]
    if not readings:
        return None
    best, text = readings[0], str(readings[0])
    others = [one.chaos for one in readings[1:] if str(one) != text]
    return Guess(best.encoding, asked=bool(others) and min(others) - best.chaos < CLEAR)


def _decodes(data: bytes, encoding: str) -> bool:
    """True where all of it is in this encoding, but for a last character that is cut."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
