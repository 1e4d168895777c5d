"""Pairs and votes of some rows: joined with those that are there, and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from annotate.importing.imported_row import Comparison, Judgement
from annotate.importing.storage import pair_rows
from annotate.importing.storage.content_batch import MISSING, ContentBatch
from annotate.importing.storage.import_context import ImportContext, Item, Outcome, add_tags, fill
from annotate.importing.storage.imported_annotators import is_nobody
from annotate.importing.storage.legacy_pair_keys import EarlierKeys
from annotate.importing.storage.pair_states import Cast, PairState, turned
from annotate.importing.storage.same_pair import Side, key_by_source, pair_key, sides
from annotate.models import ImportChange
from annotate.votes.labels import CLASS, verdict

Table = ImportChange.Table


class Wanted(NamedTuple):
    """A comparison, and the key of the pair that it is as long as nobody votes twice."""

    item: Item
    comparison: Comparison
    key: str
    a: Side
    b: Side
    earlier: tuple[str, ...]
    """Keys that the first imports gave to such a row, the likeliest first."""


@dataclass
class PairBatch:
    """Look up and join, then store; the prompts and completions have numbers by then."""

    context: ImportContext
    items: list[Item]
    outcome: Outcome
    contents: ContentBatch
    states: dict[str, PairState] = field(default_factory=dict)
    _said: dict[str, int] = field(default_factory=dict)
    _rows: pair_rows.PairRows = field(init=False)
    _earlier: EarlierKeys = field(init=False)

    def look_up(self) -> None:
        """Find the pairs that are there and join the rows into them, outside any transaction."""
        self._earlier = EarlierKeys(self.context.memory)
        wanted = list(self._wanted())
        self._find(wanted)
        for one in wanted:
            self._join(one)

    def _wanted(self) -> Iterator[Wanted]:
        for item in self.items:
            for comparison in item.comparisons:
                a, b = sides(item, comparison)
                earlier: tuple[str, ...] = ()
                if self.context.has_earlier_pairs:
                    earlier = self._earlier.of_next(item.prompt, a[0], b[0])
                yield Wanted(item, comparison, pair_key(item.prompt, a, b), a, b, earlier)

    def _find(self, wanted: list[Wanted]) -> None:
        """Read the pairs of prompts that were there before, with their votes."""
        keys = set()
        for one in wanted:
            if self.contents.prompts[one.item.prompt].id is not None:
                keys |= {one.key, *one.earlier}
                if one.comparison.source_id:
                    keys.add(key_by_source(one.key, one.comparison.source_id))
        if not keys:
            return
        if self.context.dry_run:
            planned = self.context.memory.get(f"pair {key}" for key in keys)
            states = map(PairState.of_kept, planned.values())
            self.states = {state.key: state for state in states}
        stored = pair_rows.stored_states(self.context.project, keys - self.states.keys())
        self.states |= {state.key: state for state in stored}

    def _join(self, one: Wanted) -> None:
        judgements = one.comparison.judgements
        state = self._state(one)
        # A pair of the first imports does not know who wrote its sides.
        is_turned = one.a[0] != state.a[0] if state.key in one.earlier else one.a != state.a
        before = len(state.fresh)
        for judgement in judgements:
            self._cast(one.item, state, turned(judgement) if is_turned else judgement)
        self._describe(one, state, state.fresh[before:])
        if judgements and self.context.judged == "labels":
            state.is_judged = True

    def _state(self, one: Wanted) -> PairState:
        """The pair of a comparison, a new one if there is none."""
        name = one.comparison.source_id
        own = key_by_source(one.key, name) if name else ""
        likeliest = (own, *one.earlier[:2])
        if state := next((self.states[key] for key in likeliest if key in self.states), None):
            self.outcome.added["merged"] += 1
            return state
        others = (one.key, *one.earlier[2:])
        state = next((self.states[key] for key in others if key in self.states), None)
        if state is None:
            return self._new(one, one.key)
        if name and state.source_ids and name not in state.source_ids and self._twice(one, state):
            return self._new(one, own)
        self.outcome.added["merged"] += 1
        return state

    def _twice(self, one: Wanted, state: PairState) -> bool:
        """True when somebody would vote twice on the pair if the comparison joined it."""
        annotators = self.context.annotators
        raters = (judgement.rater for judgement in one.comparison.judgements)
        return any(annotators[name] in state.votes for name in raters if not is_nobody(name))

    def _new(self, one: Wanted, key: str) -> PairState:
        state = self.states[key] = PairState(key, one.a, one.b, one.item.prompt)
        self.outcome.added["pairs"] += 1
        return state

    def _cast(self, item: Item, state: PairState, judgement: Judgement) -> None:
        """Add a vote, or change the one that its author has on the pair."""
        annotator = (
            self._unknown(state, judgement)
            if is_nobody(judgement.rater)
            else self.context.annotators[judgement.rater]
        )
        there = state.votes.get(annotator) if annotator is not None else None
        if annotator is None or (there and there.is_repeated_by(judgement)):
            self.outcome.added["duplicates"] += 1
        elif judgement.sums_up and state.votes:
            self._leave_out(item, state, judgement)
        elif there is None:
            state.votes[annotator] = Cast(judgement.choice, judgement.strength, judgement=judgement)
            state.fresh.append(annotator)
            self.outcome.added["votes"] += 1
        elif state.is_decided and there.id:
            self.outcome.added["not_replaced"] += 1
            reason = "a reviewer has decided the pair by the earlier vote, which was kept"
            self.outcome.note(item, "votes", f"{judgement.rater}: {reason}")
        else:
            there.choice, there.strength = judgement.choice, judgement.strength
            there.judgement = judgement
            state.is_revised = True
            self.outcome.added["revised"] += 1
            reason = "this person has voted otherwise on the pair before; the later vote counts"
            self.outcome.note(item, "votes", f"{judgement.rater}: {reason}")

    def _leave_out(self, item: Item, state: PairState, judgement: Judgement) -> None:
        """Of votes that are there another one that says what they come to would count twice."""
        self.outcome.added["summed_up"] += 1
        weightless = self.context.annotators.weightless
        votes = [(x.choice, x.strength) for who, x in state.votes.items() if who not in weightless]
        told = verdict(votes)
        if told and told.outcome != CLASS[judgement.choice]:
            reason = f"the row says {judgement.choice}; the votes that are there do not, and count"
            self.outcome.note(item, "votes", reason)

    def _unknown(self, state: PairState, judgement: Judgement) -> int | None:
        """The account of a person nobody knows; None when their vote is there.

        Of equal votes on a pair the file's n-th is the n-th that is there, so that the same file
        adds none, and of two files the one that has more of them counts.
        """
        name = f"said {state.key} {judgement.choice}"
        if name not in self._said:
            self._said[name] = self.context.memory.get([name]).get(name, 0)
        self._said[name] += 1
        equal, n = 0, 1
        while (annotator := self.context.annotators.unknown(n)) in state.votes:
            equal += state.votes[annotator].choice == judgement.choice
            if equal == self._said[name]:
                return None
            n += 1
        return annotator

    def _describe(self, one: Wanted, state: PairState, fresh: list[int]) -> None:
        """Add what the row says of the pair; where it says otherwise, its votes keep it."""
        comparison, row = one.comparison, one.item.row
        earlier = state.described() if state.id is not None else {}
        if comparison.source_id and comparison.source_id not in state.source_ids:
            state.source_ids.append(comparison.source_id)
        add_tags(state.tags, row.tags)
        metadata = row.metadata or comparison.metadata
        if row.metadata and comparison.metadata:
            metadata = {**row.metadata, **comparison.metadata}
        other = fill(state.metadata, metadata)
        if comparison.margin is not None and state.margin not in (None, comparison.margin):
            other["margin"] = comparison.margin
        state.margin = comparison.margin if state.margin is None else state.margin
        if earlier and earlier != state.described():
            state.is_described_anew = True
            self.outcome.changes(Table.PAIR, state.id, of=state.imported_by, **earlier)
        if not other:
            return
        for annotator in fresh:
            state.votes[annotator].extra = other
        if not fresh:
            for name in other:
                self.outcome.added["not_replaced"] += 1
                self.outcome.note(one.item, name, "another value is there already and was kept")

    @property
    def is_changed(self) -> bool:
        """True when there is anything to store."""
        return any(one.id is None or one.is_touched for one in self.states.values())

    def number(self) -> None:
        """Make the rows that are to be added, outside any transaction."""
        self._rows = pair_rows.PairRows(self.context, self.contents, self.outcome)
        self._rows.prepare(self.states.values())

    def store(self) -> None:
        """Write what was planned, in the caller's transaction."""
        self._rows.store()

    def remember(self) -> None:
        """Keep what a dry run would have stored, for its later batches."""
        planned = {f"pair {key}": one.kept(MISSING) for key, one in self.states.items()}
        self.context.memory.put(planned)

    def finish(self) -> None:
        """Keep how often each vote of nobody known was said, once the batch is stored."""
        if self._said:
            self.context.memory.put(self._said)
        self._earlier.finish()
