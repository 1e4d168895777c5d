"""Keys of pairs as the first imports made them: of the texts alone, in the order of the row, and
numbered where a file had the same two texts again. The same file still finds its pairs by them.
"""

from __future__ import annotations

import hashlib

from annotate.importing.storage.earlier_rows import FileMemory
from annotate.models import Project


def has_earlier_pairs(project: Project) -> bool:
    """True where pairs may have such keys: of imports that were no jobs."""
    return project.pairs.filter(imported_by=None, key__startswith="import:").exists()


class EarlierKeys:
    """Counts the rows of a file by their texts, as the first imports did."""

    def __init__(self, memory: FileMemory) -> None:
        self._memory = memory
        self._seen: dict[str, int] = {}

    def of_next(self, prompt: str, a: str, b: str) -> tuple[str, ...]:
        """Keys that the next row of these texts had, the likeliest first."""
        texts = f"earlier {_digest(prompt, a, b)}"
        if texts not in self._seen:
            self._seen[texts] = self._memory.get([texts]).get(texts, 0)
        self._seen[texts] += 1
        numbers = dict.fromkeys((self._seen[texts], 1))
        either = (_digest(prompt, a, b), _digest(prompt, b, a))
        return tuple(f"import:{digest}:{number}" for number in numbers for digest in either)

    def finish(self) -> None:
        """Keep the counts, once the batch is stored."""
        if self._seen:
            self._memory.put(self._seen)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
