"""Replies of any number of models to the same prompts, and everything that is measured on them.

One model is in memory at a time. The numbers of each step are kept in a file whose name changes
with whatever they came from, so that an ended comparison goes on after its last step and a changed
one starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from training.rlhf.completions.sampling import Policy, writer
from training.rlhf.completions.writers import Reply, Settings, reply_in_chunks
from training.rlhf.config import EndpointConfig, JudgeConfig
from training.rlhf.evaluation import (
    comparison_metrics,
    human_evaluation,
    kl_and_perplexity,
    llm_judge,
)
from training.rlhf.evaluation.comparison_metrics import MeasuredReply
from training.rlhf.evaluation.resumed_measurements import Numbers, computed_once, digest
from training.rlhf.language import pretrained
from training.rlhf.metrics.texts.broken_replies import fault
from training.rlhf.reward import reward_model
from training.rlhf.rows import Prompt
from training.rlhf.run.work import Work

JUDGED_AT_ONCE = 64
"""Pairs between two chances to stop."""


@dataclass(frozen=True)
class ComparisonSetup:
    """The models that reply, and the models and people that judge the replies."""

    models: dict[str, str]
    """Name to folder or hub id; the first is what the others are compared with."""
    starter: str
    """Reference of KL and perplexity."""
    scorers: dict[str, str]
    """Name to folder of a reward model."""
    judge: JudgeConfig | None = None
    """A model that reads both replies."""
    endpoint: EndpointConfig | None = None
    """The server that writes the replies; None: this process."""
    verdicts: human_evaluation.Verdicts = field(default_factory=dict)
    """People's votes on pairs of these replies."""
    refusals: tuple[str, ...] = ()
    """Phrases of refusals beside the English ones."""
    dtype: str = "auto"
    """Of the policies' weights, as in EvaluateConfig."""


def measure_replies(
    setup: ComparisonSetup, prompts: Sequence[Prompt], settings: Settings, work: Work
) -> dict[str, list[MeasuredReply]]:
    """One measured reply of every model to every prompt, in the order of the prompts."""
    replies = {
        name: _replies(setup, number, prompts, settings, work)
        for number, name in enumerate(setup.models)
    }
    numbers: dict[str, Numbers] = {}
    for name, written in replies.items():
        numbers[name] = [
            comparison_metrics.text_numbers(
                reply.text,
                prompt.reference,
                finished=reply.finished,
                tokens=len(reply.ids),
                refusals=setup.refusals,
            )
            for prompt, reply in zip(prompts, written, strict=True)
        ]
        model = setup.models[name]
        _add(numbers[name], _under_starter(setup, model, prompts, written, settings, work))
        _add(numbers[name], _of_references(model, prompts, work))
    for scorer, folder in setup.scorers.items():
        for name, written in replies.items():
            _add(numbers[name], _scores(scorer, folder, prompts, written, work))
    measured = {name: _measured(name, prompts, replies[name], numbers[name]) for name in replies}
    _compare(measured, setup, work)
    return measured


def _replies(
    setup: ComparisonSetup, number: int, prompts: Sequence[Prompt], settings: Settings, work: Work
) -> list[Reply]:
    """The replies of the model of this number."""
    folder = list(setup.models.values())[number]
    chats = [prompt.messages for prompt in prompts]
    name = digest(Path(folder), settings, chats, work.seed, setup.endpoint)
    total = len(setup.models) * len(prompts)
    return reply_in_chunks(
        writer(folder, setup.endpoint, new=number > 0, device=work.device, dtype=setup.dtype),
        chats,
        settings,
        # The same seed for all: equal policies give equal replies, and a fairer comparison.
        replace(
            work,
            checkpoints=work.checkpoints / f"replies-{name}",
            report=lambda done, _, told: work.report(number * len(prompts) + done, total, told),
        ),
    )


def _under_starter(
    setup: ComparisonSetup,
    model: str,
    prompts: Sequence[Prompt],
    replies: Sequence[Reply],
    settings: Settings,
    work: Work,
) -> Numbers:
    """kl (where both have one vocabulary), nll and nll_tokens of each reply under the starter."""
    chats = [prompt.messages for prompt in prompts]

    def read() -> Numbers:
        starter = Policy(setup.starter, device=work.device, dtype=setup.dtype)
        if not kl_and_perplexity.same_vocabulary(
            pretrained.load_tokenizer(model), starter.tokenizer
        ):
            ids = [
                kl_and_perplexity.text_ids(starter, r.text, finished=r.finished) for r in replies
            ]
            return [
                _perplexity(one) for one in kl_and_perplexity.reply_likelihoods(starter, chats, ids)
            ]
        # A server tells log-probabilities of its own distribution, or none.
        reader = None
        if setup.endpoint:
            reader = Policy(model, device=work.device, dtype=setup.dtype)
        theirs = kl_and_perplexity.reply_likelihoods(
            starter,
            chats,
            [reply.ids for reply in replies],
            temperature=settings.temperature,
            room=settings.max_new_tokens,
        )
        own = kl_and_perplexity.own_logprobs(reader, chats, replies, settings)
        # Sums of float32 log-probabilities tell no more: a model differs from itself by 1e-6 nats.
        ratios = [round(a - b.tempered, 4) + 0.0 for a, b in zip(own, theirs, strict=True)]
        return [_perplexity(b) | {"kl": kl} for b, kl in zip(theirs, ratios, strict=True)]

    parts = (Path(setup.starter), Path(model), settings, chats, [r.ids for r in replies])
    return computed_once(work, "starter", parts, read)


def _perplexity(one: kl_and_perplexity.Likelihood) -> dict[str, float]:
    return {"nll": -one.plain, "nll_tokens": float(one.tokens)}


def _of_references(model: str, prompts: Sequence[Prompt], work: Work) -> Numbers:
    """reference_nll and reference_tokens where a prompt has a reference."""
    known = [prompt for prompt in prompts if prompt.reference]
    if not known:
        return [{} for _ in prompts]

    def read() -> Numbers:
        policy = Policy(model, device=work.device)
        ids = [
            kl_and_perplexity.text_ids(policy, prompt.reference, finished=True) for prompt in known
        ]
        likelihoods = kl_and_perplexity.reply_likelihoods(
            policy, [prompt.messages for prompt in known], ids
        )
        return [
            {"reference_nll": -one.plain, "reference_tokens": float(one.tokens)}
            for one in likelihoods
        ]

    parts = (Path(model), [(prompt.messages, prompt.reference) for prompt in known])
    numbers = iter(computed_once(work, "reference", parts, read))
    return [next(numbers) if prompt.reference else {} for prompt in prompts]


def _scores(
    scorer: str, folder: str, prompts: Sequence[Prompt], replies: Sequence[Reply], work: Work
) -> Numbers:
    chats, texts = [prompt.messages for prompt in prompts], [reply.text for reply in replies]

    def score() -> Numbers:
        model = reward_model.load(folder, device=work.device)
        return [{f"score_{scorer}": value} for value in model.score(chats, texts)]

    return computed_once(work, "score", (scorer, Path(folder), chats, texts), score)


def _add(numbers: Numbers, more: Numbers) -> None:
    for own, further in zip(numbers, more, strict=True):
        own.update(further)


def _measured(
    model: str, prompts: Sequence[Prompt], replies: Sequence[Reply], numbers: Numbers
) -> list[MeasuredReply]:
    return [
        MeasuredReply(
            model=model,
            prompt_id=prompt.prompt_id,
            messages=prompt.messages,
            tags=prompt.tags,
            reference=prompt.reference,
            text=reply.text,
            finished=reply.finished,
            fault=fault(reply.text, finished=reply.finished),
            numbers=own,
        )
        for prompt, reply, own in zip(prompts, replies, numbers, strict=True)
    ]


def _compare(
    measured: Mapping[str, list[MeasuredReply]], setup: ComparisonSetup, work: Work
) -> None:
    """Add the points of every model against the first: by scorers, people and the judge."""
    first, *others = measured
    for name in others:
        for mine, base in zip(measured[name], measured[first], strict=True):
            for scorer in setup.scorers:
                mine.numbers[f"win_rate_{scorer}"] = comparison_metrics.points(
                    mine, base, scorer=scorer
                )
        preferred = human_evaluation.points(
            setup.verdicts, *(map(vars, measured[m]) for m in (name, first))
        )
        for mine, value in zip(measured[name], preferred, strict=True):
            if value is not None:
                mine.numbers["people_win_rate"] = value
        if setup.judge is not None:
            judged = _judgements(setup.judge, measured[name], measured[first], work)
            _add([reply.numbers for reply in measured[name]], judged)


def _judgements(
    config: JudgeConfig, mine: Sequence[MeasuredReply], base: Sequence[MeasuredReply], work: Work
) -> Numbers:
    """The judge's verdicts on all pairs, kept part by part: a server may fail in between."""
    ask = cache(partial(llm_judge.load_judge, config, device=work.device))
    numbers: Numbers = []
    for start in range(0, len(mine), JUDGED_AT_ONCE):
        part = slice(start, start + JUDGED_AT_ONCE)
        texts = [[(a.messages, a.text) for a in side[part]] for side in (mine, base)]
        make = partial(_judged, ask, mine[part], base[part])
        numbers += computed_once(work, "judged", (config, Path(config.path or "-"), texts), make)
    return numbers


def _judged(
    ask: Callable[[], llm_judge.Ask], mine: Sequence[MeasuredReply], base: Sequence[MeasuredReply]
) -> Numbers:
    """judged_win_rate and, where the judge was asked, position_consistency and judge_silent."""
    judgements = llm_judge.judge(
        ask(),
        [reply.messages for reply in mine],
        [reply.text for reply in mine],
        [reply.text for reply in base],
    )
    return [_judgement_numbers(judgement) for judgement in judgements]


def _judgement_numbers(judgement: llm_judge.Judgement) -> dict[str, float]:
    numbers = {"judged_win_rate": judgement.points}
    if judgement.consistent is None:
        return numbers
    return numbers | {
        "position_consistency": float(judgement.consistent),
        "judge_silent": float(judgement.silent),
    }
