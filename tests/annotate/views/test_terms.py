"""Words that explain themselves, and times with their zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

from django.template import Context, Template

from annotate.templatetags.terms import GLOSSARY, in_words, moment
from annotate.views.reviewing.quality_page import TERMS

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"


def test_pages_explain_words_of_the_glossary_alone_and_it_holds_no_others():
    every = "".join(path.read_text("utf-8") for path in TEMPLATES.rglob("*.html"))
    used = set(re.findall(r'{% term "([^"]+)"', every)) | {*TERMS.values(), "Krippendorff’s α"}
    assert used <= set(GLOSSARY)
    assert set(GLOSSARY) - used == set()


def test_a_term_is_described_by_its_tip():
    shown = Template('{% term "resolved" "pairs resolved" %}').render(Context())
    described, tip = re.findall(r'(?:aria-describedby|id)="([^"]+)"', shown)
    assert described == tip and ">pairs resolved</button>" in shown
    assert GLOSSARY["resolved"] in shown


def test_a_time_names_its_zone_and_the_instant(settings):
    at = datetime(2026, 11, 30, 18, 5, tzinfo=UTC)
    assert in_words(at) == "30 Nov 2026, 18:05 UTC"
    assert in_words(date(2026, 1, 2)) == "2 Jan 2026"
    assert 'datetime="2026-11-30T18:05:00Z"' in moment(at)
    assert moment(None, "never") == "never" and in_words(None) == "–"


def test_pages_write_times_in_one_style():
    """`moment` and `in_words` alone write times; the axis of a chart names days shortly."""
    written = {
        path.name
        for path in TEMPLATES.rglob("*.html")
        if re.search(r"\|(date|time):", path.read_text("utf-8"))
    }
    assert written == {"home_days.html"}
