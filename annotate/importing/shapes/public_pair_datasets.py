"""Public sets of pairs, each with its own way to say which reply is better."""

from __future__ import annotations

import re
from typing import Any

from annotate.importing.imported_row import Choice, Judgement, Rating, Reply, Row
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    built,
    decoded,
    name_of,
    number,
    object_of,
    objects_of,
    ratings,
    text,
)
from annotate.importing.shapes.two_named_replies import source_of, two_replies
from annotate.importing.shapes.winners_and_votes import (
    choice_of,
    compared,
    from_scale,
    judgement,
    numbered,
    plain,
    rater_of,
)
from annotate.models.content import Messages

ANNOTATOR = re.compile(r"annotator_?\d+")
MUCH, SLIGHTLY = 3, 1
ALPACA_FARM: dict[float, tuple[Choice, int]] = {
    1: ("a", MUCH),
    2: ("a", SLIGHTLY),
    3: ("b", SLIGHTLY),
    4: ("b", MUCH),
}
"""raw_preference of AlpacaFarm's people: four buttons from much better to much worse."""
TURNS = 2
"""Messages of an exchange."""


def helpsteer2(cells: Cells) -> Row:
    """HelpSteer2-preference: preference_strength from -3 (the first is much better) to 3."""
    names = ("response_1", "response_2")
    choice, strength = from_scale(cells.required("preference_strength"), "preference_strength")
    comment = cells.take("preference_statement")
    vote = Judgement(choice, strength=strength or None, comment=comment or "")
    messages = chats.prompt_in(cells, "prompt")
    return compared(
        cells, messages, two_replies(cells, names), names, [vote], margin=float(strength)
    )


def helpsteer3(cells: Cells) -> Row:
    """HelpSteer3: a chat, two responses, and what up to three people said on a scale -3 to 3.

    They have no names: they are told apart by their place in the row.
    """
    names = ("response1", "response2")
    overall, given = cells.get("overall_preference"), cells.take("individual_preference")
    votes = []
    for place, one in enumerate(objects_of(given, "individual_preference"), start=1):
        inside = cells.inside(one)
        choice, strength = from_scale(inside.required("score"), "individual_preference")
        comment = inside.take("reasoning")
        votes.append(
            Judgement(
                choice,
                f"annotator {place}",
                strength=strength or None,
                comment=comment if isinstance(comment, str) else "",
                metadata=inside.rest(),
            )
        )
    margin = None if overall is None else float(from_scale(overall, "overall_preference")[1])
    if not votes and overall is not None:
        choice, strength = from_scale(overall, "overall_preference")
        votes = [Judgement(choice, strength=strength or None)]
    messages = chats.prompt_in(cells, "context")
    return compared(cells, messages, two_replies(cells, names), names, votes, margin=margin)


def pku_safe(cells: Cells) -> Row:
    """PKU-SafeRLHF: the better response, and the safer one as a criterion of its own."""
    names = ("response_0", "response_1")
    better = numbered(cells.required("better_response_id"), 0)
    if better is None:
        raise Refused("better_response_id", "0 or 1 is expected")
    safer = numbered(cells.take("safer_response_id"), 0)
    replies = []
    for name in names:
        written = cells.required(name)
        model = name_of(cells.take(f"{name}_source"), f"{name}_source")
        safe = number(cells.pop(f"is_{name}_safe", None))
        said = [] if safe is None else [Rating("safe", safe)]
        about = {key: cells.pop(key) for key in list(cells) if key.startswith(f"{name}_")}
        about = {key.removeprefix(f"{name}_"): value for key, value in about.items()}
        replies.append(chats.reply(written, name, cells, model, ratings=said, metadata=about))
    vote = Judgement(better, criteria={"safer": safer} if safer else {})
    return compared(
        cells, chats.prompt_in(cells, "prompt"), (replies[0], replies[1]), names, [vote]
    )


def shp(cells: Cells) -> Row:
    """SHP: two comments under a post; labels is 1 where the first has the better score."""
    names = ("human_ref_A", "human_ref_B")
    said = number(cells.required("labels"))
    if said not in (0, 1):
        raise Refused("labels", "0 or 1 is expected")
    replies = []
    for name, side in zip(names, "AB", strict=True):
        written = cells.required(name)
        score = number(cells.pop(f"score_{side}", None))
        said_of = [] if score is None else [Rating("score", score)]
        about = {key: cells.pop(key) for key in list(cells) if key.endswith(f"_{side}")}
        about = {key.removesuffix(f"_{side}"): value for key, value in about.items()}
        replies.append(chats.reply(written, name, cells, ratings=said_of, metadata=about))
    vote = Judgement("a" if said else "b")
    return compared(
        cells, chats.prompt_in(cells, "history"), (replies[0], replies[1]), names, [vote]
    )


def webgpt(cells: Cells) -> Row:
    """WebGPT: two answers with scores from -1 to 1; equal scores are a tie."""
    names = ("answer_0", "answer_1")
    asked = decoded(cells.required("question"))
    if isinstance(asked, dict):
        inside = cells.inside(asked)
        asked = inside.required("full_text")
        if rest := inside.rest():
            cells["question"] = rest
    replies, scores = [], []
    for place, name in enumerate(names):
        written = cells.required(name)
        score = number(cells.pop(f"score_{place}", None))
        scores.append(score)
        said = [] if score is None else [Rating("score", score)]
        about = {kind: cells.pop(f"{kind}_{place}", None) for kind in ("quotes", "tokens")}
        about = {kind: value for kind, value in about.items() if value is not None}
        replies.append(chats.reply(written, name, cells, ratings=said, metadata=about))
    votes = []
    if scores[0] is not None and scores[1] is not None:
        votes = [Judgement(by_score(scores[0], scores[1]))]
    messages = chats.prompt(asked, "question", cells)
    return compared(cells, messages, (replies[0], replies[1]), names, votes)


def by_score(first: float, second: float) -> Choice:
    return "tie" if first == second else "a" if first > second else "b"


def summaries(cells: Cells) -> Row:
    """summarize-from-feedback, comparisons: two summaries of a post, and a worker's choice."""
    messages = post_of(cells)
    given = objects_of(cells.required("summaries"), "summaries")
    if len(given) != 2:
        raise Refused("summaries", "a list of two summaries is expected")
    replies = [_summary(cells, one) for one in given]
    choice = numbered(cells.required("choice"), 0)
    if choice is None:
        raise Refused("choice", "0 or 1 is expected")
    rater = rater_of(cells)
    about = Cells({name: cells.pop(name) for name in ("batch", "extra") if name in cells})
    vote = judgement(about, choice, rater)
    names = ("summaries", "summaries")
    return compared(cells, messages, (replies[0], replies[1]), names, [vote])


def post_of(cells: Cells) -> Messages:
    """The prompt of summarize-from-feedback: the post, or the article, to be summed up."""
    info = cells.inside(object_of(cells.required("info"), "info"))
    said = {name: info.take(name) for name in ("subreddit", "title", "post", "article")}
    body = said["post"] or said["article"]
    if not isinstance(body, str):
        raise Refused("info", "a post or an article is expected in it")
    lines = [f"SUBREDDIT: r/{said['subreddit']}"] if said["subreddit"] else []
    lines += [f"TITLE: {said['title']}"] if said["title"] else []
    lines += [f"POST: {body}" if lines else body]
    if rest := info.rest():
        cells["info"] = rest
    return chats.prompt("\n".join(lines) + "\n\nTL;DR:", "info", cells)


def _summary(cells: Cells, value: dict[str, Any]) -> Reply:
    inside = cells.inside(value)
    written = inside.required("text")
    model = name_of(inside.take("policy"), "policy")
    return chats.reply(written, "summaries", cells, model, metadata=inside.rest())


def two_outputs(cells: Cells) -> Row:
    """AlpacaFarm, AlpacaEval, LLMBar: output_1 and output_2; 1 is the first, 2 the second."""
    names = ("output_1", "output_2")
    messages = chats.prompt_in(cells, "instruction" if "instruction" in cells else "input")
    sides = two_replies(cells, names)
    votes = []
    raw = number(cells.get("raw_preference"))
    column = "preference" if "preference" in cells else "label"
    said = number(cells.get(column))
    if raw in ALPACA_FARM:
        choice, strength = ALPACA_FARM[raw]
        votes = [Judgement(choice, rater_of(cells), strength=strength)]
    elif said is not None:
        if not 0 <= said <= 2:
            raise Refused(column, "a number from 1 (the first) to 2 (the second) is expected")
        # AlpacaEval weighs: 1.2 is rather the first. 0, and the middle, is a tie.
        choice = "tie" if said in (0, 1.5) else "a" if said < 1.5 else "b"
        votes = [Judgement(choice, rater_of(cells))]
        if said in (0, 1, 2):
            del cells[column]
    return compared(cells, messages, sides, names, votes, source_id=source_of(cells))


def auto_j(cells: Cells) -> Row:
    """Auto-J: label 0 is the first, 1 the second, 2 a tie."""
    names = ("response 1", "response 2")
    said = cells.take("label")
    choice = numbered(said, 0, tie=2)
    if said is not None and choice is None:
        raise Refused("label", "0, 1 or 2 (a tie) is expected")
    votes = [Judgement(choice)] if choice else []
    messages = chats.prompt_in(cells, "prompt")
    return compared(cells, messages, two_replies(cells, names), names, votes)


def panda_lm(cells: Cells) -> Row:
    """PandaLM: a column per annotator; 1 is the first, 2 the second, 0 a tie."""
    names = ("response1", "response2")
    messages = chats.prompt_in(cells, "instruction")
    models = str(cells.get("cmp_key", "")).split("_")
    if len(models) == 2:
        cells["model_1"], cells["model_2"] = models
    sides = two_replies(cells, names)
    votes = []
    for name in [one for one in cells if ANNOTATOR.fullmatch(one)]:
        said = cells.pop(name)
        choice = numbered(said, 1, tie=0)
        if choice is None:
            raise Refused(name, "0 (a tie), 1 or 2 is expected")
        votes.append(Judgement(choice, name))
    return compared(cells, messages, sides, names, votes, source_id=source_of(cells))


def feedback(cells: Cells) -> Row:
    """DOVE's feedback: feedback 0 is the first response, 1 the second, 2 a tie."""
    names = ("response_0", "response_1")
    said = cells.required("feedback")
    choice = numbered(said, 0, tie=2)
    if choice is None:
        raise Refused("feedback", "0, 1 or 2 (a tie) is expected")
    messages = chats.prompt_in(cells, "instruction")
    return compared(cells, messages, two_replies(cells, names), names, [Judgement(choice)])


def arena(cells: Cells) -> Row:
    """MT-Bench and Arena: two whole conversations, the model that won, and who judged.

    `turn` is the number of the exchange that was judged; what follows it is left out.
    """
    names = ("conversation_a", "conversation_b")
    turn = number(cells.get("turn"))
    messages: Messages = []
    replies = []
    for name in names:
        turns = chats.chat(decoded(cells.required(name)), name, cells)
        if not turns:
            raise Refused(name, "a chat is expected")
        if turn and len(turns) > TURNS * turn and turns[0]["role"] == "user":
            turns = turns[: TURNS * int(turn)]
            cells.notices.append((name, "exchanges after the judged `turn` are left out"))
        start = next((i for i, one in enumerate(turns) if one["role"] == "assistant"), 0)
        if not start or (messages and turns[:start] != messages):
            raise Refused(name, "both conversations must begin with the same question")
        messages = turns[:start]
        model = name_of(cells.take(f"model_{name[-1]}"), f"model_{name[-1]}")
        replies.append(chats.reply_of(turns[start:], name, cells, model))
    chats.check_prompt(messages, names[0])
    return compared(cells, messages, (replies[0], replies[1]), names, _winner(cells, replies))


def _winner(cells: Cells, replies: list[Reply]) -> list[Judgement]:
    said = cells.take("winner")
    if said is None:
        return []
    models = {plain(one.model): choice for one, choice in zip(replies, "ab", strict=True)}
    choice = choice_of(said, models)  # type: ignore[arg-type]  # The two letters.
    if choice is None:
        raise Refused("winner", f"{str(said)[:60]!r} does not say which model won")
    rater = rater_of(cells)
    timed = {name: cells.pop(name) for name in ("tstamp", "timestamp") if name in cells}
    return [judgement(Cells(timed), choice, rater)]


def lmsys(cells: Cells) -> Row:
    """LMSYS 55k: the turns of each side as JSON lists in texts, and three columns of 0 and 1."""
    names = ("response_a", "response_b")
    asked, *said = (_turns(cells, name) for name in ("prompt", *names))
    if len({len(asked), *map(len, said)}) > 1:
        raise Refused("prompt", "the lists of prompts and responses differ in length")
    replies = []
    for name, answers in zip(names, said, strict=True):
        turns: Messages = [{"role": "assistant", "content": answers[0]}]
        for question, answer in zip(asked[1:], answers[1:], strict=True):
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": answer})
        column = f"model_{name[-1]}"
        model = name_of(cells.take(column), column)
        replies.append(chats.reply_of(turns, name, cells, model))
    won = [number(cells.take(f"winner_{one}")) for one in ("model_a", "model_b", "tie")]
    votes = [Judgement(choice) for choice, is_it in zip(_THREE, won, strict=True) if is_it == 1]
    if len(votes) > 1:
        raise Refused("winner_model_a", "more than one of the three columns is 1")
    messages = chats.prompt(asked[0], "prompt", cells)
    sides = (replies[0], replies[1])
    return compared(cells, messages, sides, names, votes, source_id=source_of(cells))


_THREE: tuple[Choice, ...] = ("a", "b", "tie")


def _turns(cells: Cells, name: str) -> list[str]:
    value = cells.required(name)
    turns = decoded(value)
    if not isinstance(turns, list):
        turns = [value]
    if not turns:
        raise Refused(name, "the list is empty")
    # A model that failed to answer is null in the list.
    return ["" if one is None else text(one, name, cells) for one in turns]


def axis(cells: Cells) -> Row:
    """summarize-from-feedback, axis: ratings of one summary by one worker."""
    messages = post_of(cells)
    inside = cells.inside(object_of(cells.required("summary"), "summary"))
    about = cells.inside(object_of(inside.take("axes") or {}, "axes"))
    said = ratings(about, list(about), rater_of(cells))
    written = inside.required("text")
    model = name_of(inside.take("policy"), "policy")
    more = inside.rest() | about.rest()
    reply = chats.reply(written, "summary", cells, model, ratings=said, metadata=more)
    return built(cells, messages, [reply])
