"""Icons, drawn for this product: lines on a square of 24, in the colour of the text beside them."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

ICONS = {
    "home": "M4 11 12 4l8 7M6.5 9.5V20h11V9.5M10 20v-5h4v5",
    "label": "M4 5h7v14H4zM14.5 12.5l2.3 2.3L21 10",
    "data": "M5 6.5C5 4.8 8.1 3.5 12 3.5s7 1.3 7 3-3.1 3-7 3-7-1.3-7-3v11c0 1.7 3.1 3 7 3s7-1.3 7-3"
    "v-11M5 12c0 1.7 3.1 3 7 3s7-1.3 7-3",
    "people": "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.5 2.9-6 6.5-6s6.5 2.5 6.5 6"
    "M16 4.5a3.4 3.4 0 0 1 0 6M18 14.6c2.1.8 3.5 2.8 3.5 5.4",
    "quality": "M3.5 17a8.5 8.5 0 1 1 17 0M12 16l4.5-6",
    "training": "M19.6 12A7.6 7.6 0 0 1 6 16.7M4.4 12A7.6 7.6 0 0 1 18 7.3M18.4 3v4.4H14"
    "M5.6 21v-4.4H10",
    "settings": "M4 7h8.5M17 7h3M4 17h3M11.5 17H20M14.75 9.25a2.25 2.25 0 1 0 0-4.5 2.25 2.25 0 0 0"
    " 0 4.5zM9.25 19.25a2.25 2.25 0 1 0 0-4.5 2.25 2.25 0 0 0 0 4.5z",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "person": "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 20.5c0-4 3.6-6 8-6s8 2 8 6",
    "message": "M4 6h16v12.5H4zM4 7l8 6.5L20 7",
    "done": "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 12.3l2.7 2.7L16 9.5",
    "open": "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
    "import": "M12 4v10M8 10.5l4 4 4-4M5 19.5h14",
    "export": "M12 14.5v-10M8 8l4-4 4 4M5 19.5h14",
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """The drawing alone: words stand beside it, so that screen readers pass it by."""
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg>', ICONS[name]
    )
