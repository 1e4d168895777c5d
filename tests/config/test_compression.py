"""Scripts and styles travel compressed, pages do not."""

from __future__ import annotations

import gzip

from django.conf import settings
from django.test import Client

PACKED = {"Accept-Encoding": "gzip"}
SCRIPT = "/static/js/label.js"


def test_a_script_travels_compressed(client: Client) -> None:
    plain = b"".join(client.get(SCRIPT))
    answer = client.get(SCRIPT, headers=PACKED)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(b"".join(answer)) == plain


def test_a_script_that_has_not_changed_is_not_sent(client: Client) -> None:
    known = client.get(SCRIPT).headers["Last-Modified"]
    answer = client.get(SCRIPT, headers=PACKED | {"If-Modified-Since": known})
    assert answer.status_code == 304
    assert b"".join(answer) == b""


def test_a_font_travels_as_it_is(client: Client) -> None:
    (font, *_) = sorted((settings.BASE_DIR / "static/fonts").glob("*-latin.woff2"))
    answer = client.get(f"/static/fonts/{font.name}", headers=PACKED)
    assert "Content-Encoding" not in answer.headers
    assert b"".join(answer) == font.read_bytes()


def test_a_page_is_not_compressed(client: Client, db: None) -> None:
    answer = client.get("/accounts/login/", headers=PACKED)
    assert "Content-Encoding" not in answer.headers
