"""The labelling screen made of pieces that were rendered before: the pair by what it shows, and the
frame around it by what it depends on. The template is the one of the whole page."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

from django.template.loader import render_to_string
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from annotate.models import Project
from annotate.text.kept_html import Kept
from annotate.views.labelling import criteria
from annotate.votes import scales

CHARACTERS = 20_000_000
"""Of all pairs that a process keeps: some thousands of ordinary ones."""
TEMPLATE = "annotate/label.html#screen"


class PairOnScreen(NamedTuple):
    """Prompt and replies as HTML, their words, and whether the vote bar can follow them."""

    html: SafeString
    words: int
    short: bool


class Entry(str):
    """HTML of a pair with what else is known of it, as long as its HTML."""

    words: int
    short: bool


_pairs: Kept[Entry] = Kept(CHARACTERS)


def kept_pair(shown: Mapping[str, Any], view: str, context: Any) -> PairOnScreen:
    """The pair that `queue.shown` describes, rendered with what `context()` returns where it has
    not been of late."""

    def make() -> Entry:
        around = context()
        entry = Entry(render_to_string("annotate/label_pair.html", around | {"view": view}))
        entry.words, entry.short = around["words"], around["short"]
        return entry

    # By all that is shown, so that nothing kept is ever out of date.
    told = json.dumps([view, shown], ensure_ascii=False).encode("utf-8", "surrogatepass")
    entry = _pairs.get(hashlib.sha256(told).digest(), make)
    # Safe: a template made it.
    return PairOnScreen(mark_safe(entry), entry.words, entry.short)


class FrameKey(NamedTuple):
    """All that a frame depends on but for what is put into it with each pair."""

    slug: str
    scale: str
    reading: tuple[int, int, int]
    train_on_simulated: bool
    criteria_required: bool
    criteria: tuple[criteria.Row, ...]
    view: str
    short: bool
    note_level: str
    """Empty: no note."""
    has_last: bool

    @classmethod
    def of(cls, project: Project, **rest: Any) -> FrameKey:
        reading = (project.reading_wpm, project.reading_least, project.reading_most)
        return cls(
            slug=project.slug,
            scale=project.scale,
            reading=reading,
            train_on_simulated=project.train_on_simulated,
            criteria_required=project.criteria_required,
            **rest,
        )


NAMES = ("token", "lease_seconds", "words", "person", "path", "tally", "pair", "csrf_token")
SLOTS = (*NAMES, "note_text", "note_last")
# Drawn by each process, so that no text of a project has them. A UUID, because one is in addresses.
_MARKS = {name: uuid4() for name in SLOTS}
_BY_MARK = {str(mark): name for name, mark in _MARKS.items()}
_ANY_MARK = re.compile("|".join(map(re.escape, _BY_MARK)))


class Frame(NamedTuple):
    """A rendered screen in pieces, and the names of what stands between them."""

    pieces: list[str]
    names: list[str]

    def around(self, values: Mapping[str, Any]) -> str:
        """The screen with these values by name, which are escaped unless they are HTML."""
        shown = {name: conditional_escape(value) for name, value in values.items()}
        filled = [self.pieces[0]]
        for name, piece in zip(self.names, self.pieces[1:], strict=True):
            filled += (shown[name], piece)
        return "".join(filled)


@lru_cache(maxsize=512)
def frame(key: FrameKey) -> Frame:
    """The screen of this key, rendered once with a mark in each place that differs."""
    wpm, least, most = key.reading
    project = SimpleNamespace(
        slug=key.slug,
        scale=key.scale,
        train_on_simulated=key.train_on_simulated,
        criteria_required=key.criteria_required,
        reading_wpm=wpm,
        reading_least=least,
        reading_most=most,
    )
    note = SimpleNamespace(
        text=_MARKS["note_text"],
        level=key.note_level,
        last=_MARKS["note_last"] if key.has_last else None,
    )
    context = {
        "project": project,
        "request": {"path": _MARKS["path"], "user": {"pk": _MARKS["person"]}},
        "csrf_token": str(_MARKS["csrf_token"]),
        "assignment": {"token": _MARKS["token"]},
        "lease_seconds": str(_MARKS["lease_seconds"]),
        "words": str(_MARKS["words"]),
        "tally": _MARKS["tally"],
        "pair_html": _MARKS["pair"],
        "note": note if key.note_level else None,
        "view": key.view,
        "short": key.short,
        "criteria": list(key.criteria),
        "answers": criteria.answers(key.scale),
        "both_bad": scales.both_bad(key.scale),
        "scale_buttons": scale_buttons(key.scale),
    }
    html = render_to_string(TEMPLATE, context)
    names = [_BY_MARK[mark] for mark in _ANY_MARK.findall(html)]
    return Frame(_ANY_MARK.split(html), names)


@cache
def scale_buttons(scale: str) -> SafeString:
    """The same for every pair and person, and half of what a screen has to be rendered of."""
    shown = {"project": {"scale": scale}, "points": scales.points(scale)}
    return render_to_string("annotate/label_scale.html", shown)
