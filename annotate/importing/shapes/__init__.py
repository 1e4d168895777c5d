"""Shapes: a row of any file that somebody has, read into rows.Row; SHAPES lists them.

May import: models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from annotate.importing.imported_row import Row
from annotate.importing.problems import Refused
from annotate.importing.shapes.column_mapping import BESIDE, FIELDS, Chosen, Mapped
from annotate.importing.shapes.column_questions import Question, asked_of, use_of
from annotate.importing.shapes.columns import Cells, Missing
from annotate.importing.shapes.joined_rows import Held
from annotate.importing.shapes.shape_table import SHAPES, Shape

MOST_PLANS = 1_000
"""Sets of columns of one file whose reading is remembered."""
SAMPLE = 200
KEPT = "kept as metadata"
NOT_READ = "not read"
Left = tuple[str, ...]

__all__ = ["FIELDS", "Column", "Question", "Reading", "answers", "reading"]


class Column(NamedTuple):
    """The use of a column, and how many rows had it."""

    use: str
    rows: int


class Plan:
    """The way to read rows with these columns: found once, used for all of them."""

    def __init__(self, shape: Shape | None, columns: dict[str, str]) -> None:
        self.shape = shape
        self.columns = columns
        """Name of a cell -> column of the file."""
        self.known = False
        self.left: Counter[Left] = Counter()
        """Rows by the cells that nothing took."""
        self.refused = 0
        self.questions: dict[Left | str, list[Question]] = {}
        """By the cells that nothing took, or by the column that was missing."""


def reading(sample: Iterable[Any], mapping: Chosen | None = None) -> Reading:
    """The way to read a file, found from some of its rows (what is no object is passed over).

    `mapping` names the column of a field, or its columns. Raises Refused where it names a field
    that does not exist.
    """
    return Reading(sample, mapping)


def answers(questions: Iterable[Question]) -> dict[str, list[str]]:
    """The mapping that says yes to all of these questions."""
    mapping: dict[str, list[str]] = {}
    for one in questions:
        mapping.setdefault(one.field, []).append(one.column)
    return mapping


class Reading:
    """The way from a file's rows to rows.Row: `rows` for each of them, `rest` at the end."""

    fields = FIELDS

    def __init__(self, sample: Iterable[Any], mapping: Chosen | None) -> None:
        self._mapped = Mapped(mapping)
        self._sample = list(islice((one for one in sample if isinstance(one, dict)), SAMPLE))
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._asked: dict[tuple[str, str], Question] = {}
        self._said: set[tuple[str, str]] = set()
        self._uses: Counter[tuple[str, str]] = Counter()
        self._known: dict[str, str] = {}
        self._shapes: dict[str, None] = {}
        self._held: Held | None = None
        for raw in self._sample:
            self._look(raw)

    @property
    def shape(self) -> str:
        """The kinds of rows that were met, in words."""
        return ", ".join(self._shapes) or "rows of no known shape"

    @property
    def mapping(self) -> dict[str, str]:
        """Field -> column of the rows that were met, as a person chose it or as its name says."""
        return dict(self._known)

    @property
    def questions(self) -> list[Question]:
        """Near misses in the rows that were met so far, to be answered by a mapping."""
        return list(self._asked.values())

    @property
    def columns(self) -> dict[str, Column]:
        """Column -> its use, and how many of the rows that were read had it."""
        counted = Counter(self._uses)
        _count(self._plans.values(), counted)
        uses: dict[str, dict[str, int]] = {}
        for (name, use), rows in counted.items():
            uses.setdefault(name, {})[use] = rows
        return {name: _column(of_name) for name, of_name in uses.items()}

    def rows(self, raw: Mapping[str, Any]) -> Iterable[Row]:
        """The rows that one row of the file makes: mostly one, none while it waits for others.

        Raises Refused, also while a question about the row's columns is open.
        """
        plan, cells, taken = self._opened(raw)
        shape = plan.shape
        try:
            if shape is None:
                names = ", ".join(sorted(raw)[:8]) or "none"
                missing = f"the column is missing (columns found: {names[:200]})"
                null = "prompt" in cells.nulls
                raise Missing("prompt", "the value is null" if null else missing)
            held = dict(cells) if shape.join else None
            made = self._read(plan, shape, cells)
            for name in set(cells.unread):
                self._uses[name, NOT_READ] += 1
            if held is not None and shape.join:
                self._held = self._held or Held()
                self._held.add(shape.join.name, shape.join.group(Cells(held)), held)
        except Missing as missing:
            plan.refused += 1
            raise self._explained(plan, missing, cells, taken) from None
        except Refused as refused:
            plan.refused += 1
            raise Refused(taken.get(refused.field, refused.field), refused.reason) from None
        return made

    def rest(self) -> Iterator[Row | Refused]:
        """At the end of the file: the rows that waited for others, and what could not be joined."""
        if self._held is None:
            return
        joins = {shape.join.name: shape.join for shape in SHAPES.values() if shape.join}
        for name, join in joins.items():
            for group in self._held.groups(name):
                try:
                    yield from join.read(group)
                except Refused as refused:
                    yield refused

    def _look(self, raw: Mapping[str, Any]) -> None:
        """Learn from a row of the sample, without counting it."""
        plan, cells, taken = self._opened(raw)
        try:
            if plan.shape is None:
                raise Missing("prompt", "the column is missing")
            self._read(plan, plan.shape, cells)
        except Missing as missing:
            self._explained(plan, missing, cells, taken)
        except Refused:
            pass
        for left in plan.left:
            plan.left[left] = 0
        self._said.clear()

    def _opened(self, raw: Mapping[str, Any]) -> tuple[Plan, Cells, dict[str, str]]:
        """The plan for a row, its cells, and field -> column of those that a person chose."""
        mapped, taken = self._mapped.applied(raw)
        cells = Cells(mapped, taken)
        key = (*cells, *map(type, cells.values()), *taken.values(), cells.empty)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                _count(self._plans.values(), self._uses)
                self._plans.clear()
            plan = self._plans[key] = self._plan(cells, taken)
        return plan, cells, taken

    def _plan(self, cells: Cells, taken: dict[str, str]) -> Plan:
        shape = next((one for one in SHAPES.values() if one.recognises(cells)), None)
        if shape is not None:
            self._shapes[shape.title] = None
        names = (name for name in cells if name not in cells.empty)
        return Plan(shape, {name: taken.get(name, name.removeprefix(BESIDE)) for name in names})

    def _read(self, plan: Plan, shape: Shape, cells: Cells) -> list[Row]:
        """The rows that a row makes by itself. Raises Refused."""
        if shape.read is None:
            assert shape.join, "a shape reads its rows at once, or joins them"
            plan.left[tuple(name for name in cells if name not in shape.join.used)] += 1
            return []
        values = dict(cells) if not plan.left else cells
        made = shape.read(cells)
        rows = [made] if isinstance(made, Row) else list(made)
        left = tuple(cells)
        if left and cells.empty:
            left = tuple(name for name in left if name not in cells.empty)
        if left:
            self._ask(plan, left, rows[0] if rows else None, values)
        plan.left[left] += 1
        self._learn(plan, left)
        if cells.notices and rows:
            new = list(dict.fromkeys(one for one in cells.notices if one not in self._said))
            self._said.update(new)
            rows[0] = replace(rows[0], warnings=[*rows[0].warnings, *new])
        return rows

    def _learn(self, plan: Plan, left: Left) -> None:
        if not plan.known:
            plan.known = True
            for name, column in plan.columns.items():
                use = name if name in FIELDS else use_of(name, plan.columns)
                if name not in left and use in FIELDS:
                    self._known.setdefault(use, column)

    def _ask(self, plan: Plan, left: Left, row: Row | None, values: Mapping[str, Any]) -> None:
        """Raise Refused while a question about columns that nothing took is open."""
        questions = plan.questions.get(left)
        if questions is None:
            columns = [name for name in left if name not in self._mapped.left_alone]
            asked = asked_of(row, plan.columns, columns, values, self._sample)
            questions = plan.questions[left] = [one for one in asked if self._is_open(one)]
            self._asked.update({(one.column, one.field): one for one in questions})
        if questions:
            one = questions[0]
            raise Refused(one.column, f"{one.why}: is it? Say so, or that it is to be left alone")

    def _explained(
        self, plan: Plan, missing: Missing, cells: Cells, taken: dict[str, str]
    ) -> Refused:
        """The refusal for want of a column, with the columns that look like it."""
        questions = plan.questions.get(missing.field)
        if questions is None:
            columns = [name for name in plan.columns if name not in self._mapped.left_alone]
            asked = asked_of(None, plan.columns, columns, cells, self._sample)
            questions = plan.questions[missing.field] = [x for x in asked if self._is_open(x)]
            self._asked.update({(one.column, one.field): one for one in questions})
        why = "".join(f"; {one}" for one in dict.fromkeys(one.why for one in questions[:4]))
        return Refused(taken.get(missing.field, missing.field), missing.reason + why)

    def _is_open(self, question: Question) -> bool:
        return question.field not in self._mapped.closed


def _count(plans: Iterable[Plan], uses: Counter[tuple[str, str]]) -> None:
    """Add to (column, its use) -> rows."""
    for plan in plans:
        for name, column in plan.columns.items():
            use = name if name in FIELDS else use_of(name, plan.columns)
            for left, rows in plan.left.items():
                uses[column, KEPT if name in left else use] += rows
            if plan.refused or not plan.left:
                uses[column, NOT_READ] += plan.refused


def _column(uses: dict[str, int]) -> Column:
    """The uses of a column together; `not read` counts where it has no other."""
    named = [use for use in uses if use != NOT_READ] or list(uses)
    return Column(", ".join(named), sum(uses.values()))
