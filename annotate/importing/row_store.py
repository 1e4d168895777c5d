"""Writing rows: what is already there is found again by its content, the rest is added."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from annotate.importing.imported_annotators import Annotators
from annotate.importing.imported_votes import add_votes, count_votes
from annotate.models import Completion, Pair, Project, Prompt
from annotate.models.content import is_held_out

BATCH = 500
Row = Any
SOURCE = "import"


class Comparison(NamedTuple):
    """A row that is a pair, under the key that finds it again."""

    key: str
    row: Row


class Occurrences:
    """Numbers rows of equal content, so that repeated rows stay separate pairs.

    Models often give the same two answers: merging such rows would make one person vote twice
    on one pair. Read in the same order, a file gives the same keys again.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def key(self, row: Row) -> str:
        content = [row.prompt_sha256, *(completion.sha256 for completion in row.completions)]
        digest = hashlib.sha256("\n".join(content).encode())
        short = digest.digest()[:16]
        self._seen[short] += 1
        return f"import:{digest.hexdigest()}:{self._seen[short]}"


class Writer:
    """Adds batches of rows to a project inside the caller's transaction."""

    def __init__(self, project: Project, *, now: datetime) -> None:
        self.project, self.now = project, now
        self.added: Counter[str] = Counter()
        self.annotators = Annotators(project)
        self._occurrences = Occurrences()

    def add(self, rows: list[Row]) -> None:
        prompts = self._prompts(rows)
        completions = self._completions(rows, prompts)
        comparisons = [Comparison(self._occurrences.key(row), row) for row in rows if row.is_pair]
        pairs, new = self._pairs(comparisons, prompts, completions)
        votes = [(pairs[key], row.votes) for key, row in comparisons if row.votes]
        self.added["votes"] += add_votes(
            votes, new={pairs[key].pk for key in new}, annotators=self.annotators, now=self.now
        )
        self.added["annotators"] = self.annotators.added

    def _prompts(self, rows: list[Row]) -> dict[str, int]:
        """Prompt hash -> id, adding what is missing and references that were."""
        wanted = {row.prompt_sha256: row for row in rows}
        known = dict(self.project.prompts.filter(sha256__in=wanted).values_list("sha256", "id"))
        missing = [
            Prompt(
                project=self.project,
                messages=row.messages,
                sha256=sha256,
                reference=row.reference,
                tags=row.tags,
                held_out=is_held_out(sha256),
            )
            for sha256, row in wanted.items()
            if sha256 not in known
        ]
        self.added["prompts"] += len(missing)
        self._add_references(row for row in rows if row.reference and row.prompt_sha256 in known)
        created = Prompt.objects.bulk_create(missing)
        return known | {prompt.sha256: prompt.pk for prompt in created}

    def _add_references(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.project.prompts.filter(sha256=row.prompt_sha256, reference="").update(
                reference=row.reference
            )

    def _completions(self, rows: list[Row], prompts: dict[str, int]) -> dict[tuple[int, str], int]:
        """(prompt id, text hash) -> completion id."""
        wanted = {
            (prompts[row.prompt_sha256], candidate.sha256): candidate
            for row in rows
            for candidate in reversed(row.completions)
        }
        stored = Completion.objects.filter(prompt_id__in={prompt for prompt, _ in wanted})
        known = {
            (prompt, sha256): pk
            for prompt, sha256, pk in stored.values_list("prompt_id", "sha256", "id")
        }
        missing = [
            Completion(
                prompt_id=key[0],
                text=candidate.text,
                sha256=key[1],
                source=SOURCE,
                policy=candidate.model,
            )
            for key, candidate in wanted.items()
            if key not in known
        ]
        self.added["completions"] += len(missing)
        created = Completion.objects.bulk_create(missing)
        return known | {(one.prompt_id, one.sha256): one.pk for one in created}

    def _pairs(
        self,
        comparisons: list[Comparison],
        prompts: dict[str, int],
        completions: dict[tuple[int, str], int],
    ) -> tuple[dict[str, Pair], list[str]]:
        """Key -> pair, and the keys that are new."""
        stored = self.project.pairs.filter(key__in=[key for key, _ in comparisons])
        known = {pair.key: pair for pair in stored}
        missing = [
            self._pair(one, prompts[one.row.prompt_sha256], completions)
            for one in comparisons
            if one.key not in known
        ]
        self.added["pairs"] += len(missing)
        created = {pair.key: pair for pair in Pair.objects.bulk_create(missing)}
        return known | created, list(created)

    def _pair(self, one: Comparison, prompt: int, completions: dict[tuple[int, str], int]) -> Pair:
        a, b = (completions[prompt, candidate.sha256] for candidate in one.row.completions)
        pair = Pair(
            project=self.project,
            prompt_id=prompt,
            completion_a_id=a,
            completion_b_id=b,
            key=one.key,
            source=SOURCE,
            **Pair.quota(self.project, Pair.Kind.NORMAL, key=one.key),
        )
        votes = ((self.annotators.user_id(name), cast) for name, cast in one.row.votes.items())
        count_votes(pair, votes, now=self.now)
        return pair
