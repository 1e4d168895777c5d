"""Numbers of completions that are or will be written: requests, tokens, cost, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotate import exchange
from training.completions import writing_runs
from training.models import Metric, Run

CHARACTERS_PER_TOKEN = 4
"""Of English; a preview replaces the guess by what the server counted."""
MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Requests and tokens, and what they cost where the prices are known."""

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Estimate(Usage):
    """The usage to expect of a run. Without a preview the tokens out are the most there can be."""

    prompts: int
    measured: bool
    untold: bool = False
    """True where the server that was tried counts no tokens."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The completions and pairs of a run so far, and the replies that became none."""

    prompts: int = 0
    replies: int = 0
    completions: int = 0
    pairs: int = 0
    equal: int = 0
    truncated: int = 0
    refused: int = 0
    left_out: dict[str, int]
    reasons: list[tuple[str, int]]

    @property
    def known(self) -> int:
        """Replies that the project had already."""
        return self.replies - self.completions

    @property
    def repeats_itself(self) -> bool:
        """True where so many replies are equal that the server seems not to draw them."""
        asked = self.replies + self.equal
        return asked >= 8 and self.equal > asked / 4


def usage(run: Run) -> Usage:
    """Requests and tokens of a run until now, as its process told last."""
    last = Metric.objects.filter(run=run, stage=run.kind).order_by("-step").first()
    values = last.values if last else {}
    counted = {
        name: int(values.get(name, 0)) for name in ("requests", "failed", "tokens_in", "tokens_out")
    }
    return Usage(**counted, cost=_cost(run.options, counted["tokens_in"], counted["tokens_out"]))


def estimate(
    project: exchange.Project, options: dict[str, Any], preview: Run | None = None
) -> Estimate:
    """The usage to expect of these options, by a preview of them where there is one."""
    prompts = writing_runs.prompts(project, options)
    requests = prompts * len(options["sources"]) * options["per_prompt"]
    tried = usage(preview) if preview else None
    answered = tried.requests - tried.failed if tried else 0
    measured = bool(tried and answered and tried.tokens_in)
    if tried and measured:
        tokens_in = tried.tokens_in * requests // answered
        tokens_out = tried.tokens_out * requests // answered
    else:
        length = exchange.prompt_length(project, **writing_runs.chosen_prompts(options))
        tokens_in = round(requests * length / CHARACTERS_PER_TOKEN)
        tokens_out = requests * options["max_new_tokens"]
    return Estimate(
        prompts=prompts,
        requests=requests,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=_cost(options, tokens_in, tokens_out),
        measured=measured,
        untold=bool(answered) and not measured,
    )


def _cost(options: dict[str, Any], tokens_in: int, tokens_out: int) -> float | None:
    """By the prices per million tokens, in whatever currency they were given in."""
    prices = options.get("price_in"), options.get("price_out")
    if prices == (None, None):
        return None
    return (tokens_in * (prices[0] or 0.0) + tokens_out * (prices[1] or 0.0)) / MILLION


def result(run: Run) -> Result:
    """The result of a run of kind completions until now."""
    taken = run.options.get("taken", {})
    counts = dict(taken.get("counts", {}))
    left_out = {
        name.removeprefix("left_out_"): n for name, n in counts.items() if name.startswith("left_")
    }
    reasons = sorted(taken.get("refused", {}).items(), key=lambda item: (-item[1], item[0]))
    whole = {name: n for name, n in counts.items() if not name.startswith("left_")}
    return Result(**whole, left_out=left_out, reasons=reasons)


def preview_repeats_itself(shown: list[dict[str, Any]]) -> bool:
    """True where every prompt of a preview got equal replies by a model that wrote several."""
    asked = [_repeated(one["replies"]) for one in shown if one["replies"]]
    several = [repeated for repeated in asked if repeated is not None]
    return bool(several) and all(several)


def _repeated(replies: list[dict[str, Any]]) -> bool | None:
    """True where a model's replies to one prompt are all equal; None where none wrote several."""
    texts: dict[str, list[str]] = {}
    for reply in replies:
        texts.setdefault(reply["source"], []).append(reply.get("text", ""))
    several = [written for written in texts.values() if len(written) > 1]
    return any(len(set(written)) == 1 for written in several) if several else None
