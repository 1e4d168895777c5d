"""Links that let somebody in, as their maker sees them once."""

from __future__ import annotations

from typing import NamedTuple

import segno
from django.utils.safestring import SafeString, mark_safe


class ShownLink(NamedTuple):
    """A link, for whom it is, and whether it went out by mail."""

    note: str
    url: str
    mail: str = ""
    """ "sent", "refused" by the mail server, or "" where none was to go out."""

    @property
    def qr(self) -> SafeString:
        """The link as a QR code, an SVG."""
        code = segno.make(self.url, error="m", micro=False)
        # Segno draws modules only; the address is nowhere in the markup.
        return mark_safe(code.svg_inline(scale=4, border=4, omitsize=True))
