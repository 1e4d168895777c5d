"""The length that replies may have, by the model's habits and by the project's own texts."""

from __future__ import annotations

from pathlib import Path

from annotate import exchange
from training.models import ModelVersion, Run
from training.rlhf.delivery import licence_context_memory, model_folder_checks
from training.versions import added_models

CHARACTERS_PER_TOKEN = 4
"""Of English; other languages have fewer, which the margin makes up for."""
MARGIN = 1.25
ENOUGH_TEXTS = 20
STEP, SHORTEST, USUAL, LONGEST = 32, 64, 512, 2048


def of_version(version: ModelVersion) -> int:
    """Tokens at which a reply of this policy is cut: rarely, and within its context."""
    return _suggested(version.project, added_models.check_of(version), _context(version.location))


def of_server(project: exchange.Project, check: Run) -> int:
    """The same for a model behind a server, by the check that tried it."""
    return _suggested(project, check, 0)


def _suggested(project: exchange.Project, check: Run | None, context: int) -> int:
    wanted = _of_texts(project) or _of_habits(check) or USUAL
    fitting = min(max(SHORTEST, -(-int(wanted) // STEP) * STEP), LONGEST)
    return min(fitting, context // 2) if context else fitting


def _of_texts(project: exchange.Project) -> float:
    """By the replies and references that people brought: all but the longest twentieth fit."""
    lengths = sorted(exchange.reply_lengths(project))
    if len(lengths) < ENOUGH_TEXTS:
        return 0.0
    return MARGIN * lengths[int(0.95 * (len(lengths) - 1))] / CHARACTERS_PER_TOKEN


def _of_habits(check: Run | None) -> float:
    """By its replies to the first prompts: twice the longest, if all of them ended."""
    report = check.options.get("report", {}) if check is not None else {}
    ended = report.get("replies") and report.get("stopped") == report.get("replies")
    return 2.0 * max(report["lengths"]) if ended else 0.0


def _context(location: str) -> int:
    """Tokens that a model's folder says it reads at once; 0: none is here, or it says nothing."""
    folder = Path(location)
    try:
        whole = model_folder_checks.folder_of_base(folder)
        return licence_context_memory.context(licence_context_memory.settings(whole))
    except model_folder_checks.Unusable:
        return 0
