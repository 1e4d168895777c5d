"""Prompts and completions of some rows: what is there is found by its hash, the rest is added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from django.db import connection

from annotate.importing.imported_row import Reply
from annotate.importing.limits import MAX_NAME
from annotate.importing.storage.bulk_insert import Columns, json_text
from annotate.importing.storage.import_context import (
    SOURCE,
    ImportContext,
    Item,
    Outcome,
    add_tags,
    fill,
)
from annotate.models import Completion, ImportChange, Prompt
from annotate.models.content import is_held_out

Table = ImportChange.Table
Key = tuple[str, str]
"""Of a completion: hash of its prompt and its own."""
MISSING = -1
"""Number of a row that a dry run would add."""

_PROMPTS = Columns(
    Prompt,
    (
        *("id", "project_id", "messages", "sha256", "reference", "tags", "tools", "metadata"),
        *("held_out", "created_at", "imported_by_id"),
    ),
)
_COMPLETIONS = Columns(
    Completion,
    (
        *("id", "prompt_id", "text", "messages", "sha256", "policy", "metadata"),
        *("created_at", "imported_by_id"),
    ),
    source=SOURCE,
    sampling="{}",
)


@dataclass(slots=True)
class PromptState:
    """A prompt as it will be; `id` is None while it is to be added."""

    id: int | None
    reference: str
    tags: list[str]
    metadata: dict[str, Any]
    imported_by: int | None = None
    changed: bool = False

    def kept(self) -> list[Any]:
        """The state as JSON; PromptState(*kept) is it again."""
        return [self.id or MISSING, self.reference, self.tags, self.metadata, self.imported_by]


@dataclass(slots=True)
class CompletionState:
    """A completion as it will be; `id` is None while it is to be added."""

    id: int | None
    policy: str
    metadata: dict[str, Any]
    imported_by: int | None = None
    changed: bool = False

    def kept(self) -> list[Any]:
        """The state as JSON; CompletionState(*kept) is it again."""
        return [self.id or MISSING, self.policy, self.metadata, self.imported_by]


@dataclass
class ContentBatch:
    """Look up and number, then store: `prompts` and `completions` have numbers in between."""

    context: ImportContext
    items: Sequence[Item]
    outcome: Outcome
    prompts: dict[str, PromptState] = field(default_factory=dict)
    completions: dict[Key, CompletionState] = field(default_factory=dict)
    _new_prompts: list[Item] = field(default_factory=list)
    _new_completions: list[tuple[Key, Reply]] = field(default_factory=list)
    _prompt_rows: list[tuple[Any, ...]] = field(default_factory=list)
    _completion_rows: list[tuple[Any, ...]] = field(default_factory=list)

    def look_up(self) -> None:
        """Find what is there and plan the rest, outside any transaction."""
        self._find_prompts()
        self._find_completions()
        for item in self.items:
            self._plan_prompt(item)
            for place, reply in enumerate(item.row.replies):
                self._plan_completion(item, (item.prompt, item.replies[place]), reply)
        self.outcome.added["prompts"] += len(self._new_prompts)
        self.outcome.added["completions"] += len(self._new_completions)

    def _find_prompts(self) -> None:
        wanted = {item.prompt for item in self.items}
        if self.context.dry_run:
            planned = self.context.memory.get(f"prompt {sha}" for sha in wanted)
            for name, kept in planned.items():
                self.prompts[name.removeprefix("prompt ")] = PromptState(*kept)
        stored = self.context.project.prompts.filter(sha256__in=wanted - self.prompts.keys())
        columns = ("id", "reference", "tags", "metadata", "imported_by_id")
        for sha, *values in stored.values_list("sha256", *columns):
            self.prompts[sha] = PromptState(*values)

    def _find_completions(self) -> None:
        wanted = {
            (item.prompt, sha)
            for item in self.items
            if item.prompt in self.prompts
            for sha in item.replies
        }
        if not wanted:
            return
        if self.context.dry_run:
            planned = self.context.memory.get(f"completion {one} {two}" for one, two in wanted)
            for name, kept in planned.items():
                _, prompt, sha = name.split(" ")
                self.completions[prompt, sha] = CompletionState(*kept)
        prompts = {one.id: sha for sha, one in self.prompts.items() if (one.id or 0) > 0}
        stored = Completion.objects.filter(
            prompt__in=prompts, sha256__in={sha for _, sha in wanted}
        )
        columns = ("prompt_id", "sha256", "id", "policy", "metadata", "imported_by_id")
        for number, sha, *values in stored.values_list(*columns):
            self.completions.setdefault((prompts[number], sha), CompletionState(*values))

    def _plan_prompt(self, item: Item) -> None:
        row = item.row
        bare = not item.comparisons
        tags = row.tags if bare else ()
        metadata = row.metadata if bare and not row.replies else {}
        state = self.prompts.get(item.prompt)
        if state is None:
            self.prompts[item.prompt] = PromptState(None, row.reference, [*tags], {**metadata})
            self._new_prompts.append(item)
            return
        if row.reference and state.reference not in ("", row.reference):
            self._stays(item, "reference")
        if (row.reference and not state.reference) or {*tags} - {*state.tags} or metadata:
            earlier = {"tags": [*state.tags], "metadata": {**state.metadata}}
            self._change(Table.PROMPT, state, reference=state.reference, **earlier)
        state.reference = state.reference or row.reference
        add_tags(state.tags, tags)
        for name in fill(state.metadata, metadata):
            self._stays(item, name)

    def _plan_completion(self, item: Item, key: Key, reply: Reply) -> None:
        metadata = {**reply.metadata}
        if item.row.metadata and not item.comparisons:
            metadata = {**item.row.metadata, **metadata}
        state = self.completions.get(key)
        if state is None:
            self.completions[key] = CompletionState(None, reply.model[:MAX_NAME], metadata)
            self._new_completions.append((key, reply))
            return
        if metadata or (reply.model and not state.policy):
            earlier = {"policy": state.policy, "metadata": {**state.metadata}}
            self._change(Table.COMPLETION, state, **earlier)
        state.policy = state.policy or reply.model[:MAX_NAME]
        for name in fill(state.metadata, metadata):
            self._stays(item, name)

    def _change(self, table: str, state: PromptState | CompletionState, **before: Any) -> None:
        state.changed = state.id is not None
        self.outcome.changes(table, state.id, of=state.imported_by, **before)

    def _stays(self, item: Item, name: str) -> None:
        self.outcome.added["not_replaced"] += 1
        reason = "another value is there already and was kept"
        self.outcome.note(item, name, reason)

    @property
    def is_changed(self) -> bool:
        """True when there is anything to store."""
        states: Iterable[PromptState | CompletionState]
        states = chain(self.prompts.values(), self.completions.values())
        return any(one.id is None or one.changed for one in states)

    def number(self) -> None:
        """Make the rows that are to be added, outside any transaction."""
        self._prompt_rows = self._new_prompt_rows()
        self._completion_rows = self._new_completion_rows()

    def store(self) -> None:
        """Write what was planned, in the caller's transaction."""
        _PROMPTS.insert(self._prompt_rows)
        _COMPLETIONS.insert(self._completion_rows)
        self._update()

    def _new_prompt_rows(self) -> list[tuple[Any, ...]]:
        by, at, project = self.context.by_id, self.context.at, self.context.project_id
        rows: list[tuple[Any, ...]] = []
        for number, item in zip(
            _PROMPTS.take_ids(len(self._new_prompts)), self._new_prompts, strict=True
        ):
            state, row = self.prompts[item.prompt], item.row
            state.id = number
            tools = json_text(row.tools) if row.tools else None
            rows.append(
                (
                    number,
                    project,
                    json_text(row.messages),
                    item.prompt,
                    state.reference,
                    json_text(state.tags),
                    tools,
                    json_text(state.metadata, "{}"),
                    is_held_out(item.prompt),
                    at,
                    by,
                )
            )
        return rows

    def _new_completion_rows(self) -> list[tuple[Any, ...]]:
        by, at = self.context.by_id, self.context.at
        rows: list[tuple[Any, ...]] = []
        for number, (key, reply) in zip(
            _COMPLETIONS.take_ids(len(self._new_completions)), self._new_completions, strict=True
        ):
            state = self.completions[key]
            state.id = number
            turns = json_text(reply.messages) if reply.messages else None
            rows.append(
                (
                    number,
                    self.prompts[key[0]].id,
                    reply.text,
                    turns,
                    key[1],
                    state.policy,
                    json_text(state.metadata, "{}"),
                    at,
                    by,
                )
            )
        return rows

    def _update(self) -> None:
        """Write the states of rows that were there before and have changed."""
        prompts = (one for one in self.prompts.values() if one.changed)
        _update(
            "UPDATE annotate_prompt SET reference = %s, tags = %s, metadata = %s WHERE id = %s",
            [
                (one.reference, json_text(one.tags), json_text(one.metadata, "{}"), one.id)
                for one in prompts
            ],
        )
        completions = (one for one in self.completions.values() if one.changed)
        _update(
            "UPDATE annotate_completion SET policy = %s, metadata = %s WHERE id = %s",
            [(one.policy, json_text(one.metadata, "{}"), one.id) for one in completions],
        )

    def remember(self) -> None:
        """Keep what a dry run would have stored, for its later batches."""
        planned = {f"prompt {sha}": one.kept() for sha, one in self.prompts.items()}
        for (prompt, sha), one in self.completions.items():
            planned[f"completion {prompt} {sha}"] = one.kept()
        self.context.memory.put(planned)


def _update(sql: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)
