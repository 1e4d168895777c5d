"""Rows with a reply that was chosen and one that was rejected.

TRL in all its forms, HH-RLHF, UltraFeedback binarised, Orca, LLaMA-Factory, OpenAI, DOVE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product, takewhile
from typing import Any

from annotate.importing import human_assistant_text
from annotate.importing.imported_row import Comparison, Judgement, Rating, Reply, Row
from annotate.importing.limits import MAX_COMPLETIONS
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    Missing,
    about_sides,
    built,
    decoded,
    is_objects,
    margin_of,
    name_of,
    number,
)
from annotate.importing.shapes.two_named_replies import source_of
from annotate.importing.shapes.winners_and_votes import better_first, judgement, rater_of
from annotate.models.content import Messages

SIDES = ("chosen", "rejected")
PROMPTS = ("prompt", "conversations", "conversation", "question", "instruction", "input", "query")
"""Columns that hold the prompt beside `chosen` and `rejected`."""
SCORES = ("score", "rating", "avg_rating", "reward")
ABOUT_VOTE = ("strength", "comment", "criteria", "reasons", "wall_ms", "left")


def trl(cells: Cells) -> Row:
    """`chosen` and `rejected`, as texts or chats, with or without a prompt; or a list of each."""
    if "chosen" not in cells and _ends(cells.get("messages")) == "assistant":
        return beside_a_chat("rejected")(cells)
    sides = {name: cells.required(name) for name in SIDES}
    lists = [decoded(value) for value in sides.values()]
    if all(map(_are_texts, lists)):
        return _each_over_each(cells, *lists)
    given = (one for one in PROMPTS if one in cells or one in cells.nulls)
    # Of distilabel's sets `conversation` is a chat of another make, and the sides hold the prompt.
    name = next((one for one in given if not _is_of_other_objects(cells.get(one))), "")
    if not name and _ends(cells.get("messages")) in ("user", "tool"):
        name = "messages"
    if name:
        messages, tails = _explicit(cells, name, sides)
    else:
        messages, tails = _implicit(cells, sides)
    return _row(cells, messages, tails)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _is_of_other_objects(value: Any) -> bool:
    """True of a list of objects that name nobody who speaks."""
    return is_objects(value) and not any(one.keys() & {"role", "from"} for one in value)


def _each_over_each(cells: Cells, better: list[str], worse: list[str]) -> Row:
    """Several replies on each side, as in RewardBench 2: each of the better over each other one."""
    texts = [*better, *worse]
    if len(texts) > MAX_COMPLETIONS:
        raise Refused("rejected", f"at most {MAX_COMPLETIONS} replies to a prompt are read")
    if set(better) & set(worse):
        raise Refused("rejected", "identical to a chosen one: there is nothing to compare")
    models = decoded(cells.get("models"))
    names = [""] * len(texts)
    if _are_texts(models) and len(models) == len(texts):
        names = [name_of(one, "models") for one in cells.pop("models")]
    messages = chats.prompt_in(cells)
    replies = [
        chats.reply(text, SIDES[n >= len(better)], cells, model)
        for n, (text, model) in enumerate(zip(texts, names, strict=True))
    ]
    compared = []
    for i, j in product(range(len(better)), range(len(better), len(texts))):
        # In an order that is fixed and says nothing, as of single pairs.
        a, b = sorted((i, j), key=lambda n: replies[n].sha256)
        compared.append(Comparison(a, b, [Judgement("a" if a == i else "b")]))
    return built(cells, messages, replies, compared)


def _ends(value: Any) -> str:
    """The role that speaks last in a chat; "" of other values."""
    turns = decoded(value)
    last = turns[-1] if is_objects(turns) else {}
    return str(chats.SPEAKERS.get(str(last.get("role", last.get("from"))), ""))


def beside_a_chat(rejected: str) -> Callable[[Cells], Row]:
    """A reader of whole chats whose last reply was chosen, beside one that was not."""

    def read(cells: Cells) -> Row:
        other = cells.required(rejected)
        turns = chats.chat(decoded(cells.required("messages")), "messages", cells)
        if turns is None:
            raise Refused("messages", "a list of messages is expected")
        messages, tail = chats.split(turns, "messages")
        replies = {
            "chosen": _tail(cells, tail, "chosen"),
            "rejected": _reply(cells, other, rejected),
        }
        return _row(cells, chats.framed(cells, messages), replies)

    return read


def renamed(chosen: str, rejected: str) -> Any:
    """A reader of rows that call the two sides otherwise."""

    def read(cells: Cells) -> Row:
        cells["chosen"], cells["rejected"] = cells.required(chosen), cells.required(rejected)
        return trl(cells)

    return read


def openai(cells: Cells) -> Row:
    """OpenAI's preference format: input.messages, preferred_output, non_preferred_output."""
    given = cells.inside(cells.required("input"))
    messages = chats.prompt(given.required("messages"), "input.messages", cells)
    chats.tools_from(cells, given.take("tools"))
    if rest := given.rest():
        cells["input"] = rest
    names = ("preferred_output", "non_preferred_output")
    replies = [chats.reply(cells.required(name), name, cells) for name in names]
    return better_first(cells, messages, (replies[0], replies[1]), names)


def dove(cells: Cells) -> Row:
    """DOVE: an instruction and a response on each side, compared where the instruction is one."""
    worse = "rejected" if "r_rejected" in cells else "reject"
    asked, other = cells.required("i_chosen"), cells.required(f"i_{worse}")
    if asked != other:
        raise Refused(f"i_{worse}", "the instructions differ: a pair compares replies to one")
    names = ("r_chosen", f"r_{worse}")
    messages = chats.prompt(asked, "i_chosen", cells)
    replies = [chats.reply(cells.required(name), name, cells) for name in names]
    return better_first(cells, messages, (replies[0], replies[1]), names)


def _explicit(cells: Cells, name: str, sides: dict[str, Any]) -> tuple[Messages, dict[str, Reply]]:
    """The prompt of its own column, and what the sides add to it."""
    written = cells.get(name)
    given = chats.prompt_in(cells, name)
    if (
        isinstance(written, str)
        and human_assistant_text.is_dialogue(written)
        and written[-1:] == ":"
    ):
        # "Assistant: I agree.": the blank belongs to neither, as in a dialogue that is one text.
        sides = {
            side: value.removeprefix(" ") if isinstance(value, str) else value
            for side, value in sides.items()
        }
    if all(type(value) is str and not value.startswith(("\n\n", "[{")) for value in sides.values()):
        return given, {side: _reply(cells, value, side) for side, value in sides.items()}
    turns = {side: _chat_of(value, side, cells) for side, value in sides.items()}
    if not any(turn and turn[0]["role"] != "assistant" for turn in turns.values()):
        return given, {side: _reply(cells, value, side) for side, value in sides.items()}
    wholes = [turn or [] for turn in turns.values()]
    prompt = wholes[0][: human_assistant_text.shared(*wholes)]
    told = given[-1]["content"].strip()
    if not prompt or not any(one["content"].strip() == told for one in prompt):
        raise Refused(name, "chosen and rejected are chats that do not begin with the prompt")
    chats.check_prompt(prompt, name)
    tails = {side: turn[len(prompt) :] for side, turn in zip(sides, wholes, strict=True)}
    return prompt, {side: _tail(cells, turn, side) for side, turn in tails.items()}


def _chat_of(value: Any, side: str, cells: Cells) -> Messages | None:
    if isinstance(value, str) and not value.startswith(("\n\n", "[{")):
        return None
    return chats.chat(value, side, cells) if isinstance(value, str | list) else None


def _implicit(cells: Cells, sides: dict[str, Any]) -> tuple[Messages, dict[str, Reply]]:
    """The prompt as what both sides begin with."""
    chosen, rejected = (_chat_of(value, side, cells) for side, value in sides.items())
    if chosen is None or rejected is None:
        return _shared_words(cells, sides)
    k = human_assistant_text.shared(chosen, rejected)
    if not k:
        raise Refused("prompt", "chosen and rejected share no turn that could be the prompt")
    chats.check_prompt(chosen[:k], "prompt")
    tails = {
        "chosen": _tail(cells, chosen[k:], "chosen"),
        "rejected": _tail(cells, rejected[k:], "rejected"),
    }
    return chosen[:k], tails


def _tail(cells: Cells, turns: Messages, side: str) -> Reply:
    """The reply that one side adds to the turns that both share."""
    if turns and turns[0]["role"] not in ("assistant", "tool"):
        raise Refused(side, "the dialogues differ before the last assistant turn")
    return _scored(cells, chats.reply_of(turns, side, cells), side)


def _shared_words(cells: Cells, sides: dict[str, Any]) -> tuple[Messages, dict[str, Reply]]:
    """Plain texts that begin with the same words, as TRL reads them."""
    chosen, rejected = sides.values()
    start = ""
    if isinstance(chosen, str) and isinstance(rejected, str):
        alike = takewhile(lambda both: both[0] == both[1], zip(chosen, rejected, strict=False))
        start = chosen[: sum(1 for _ in alike)]
        start = start[: start.rfind(" ") + 1]  # whole words: the replies may begin alike
    if not start.strip():
        raise Missing(
            "prompt",
            "missing; without it chosen and rejected must be whole dialogues "
            "(chat messages, or text that starts with \\n\\nHuman:)",
        )
    cells.warn("prompt", "missing; the words that both texts begin with were taken for it")
    messages = chats.prompt(start.strip(), "prompt", cells)
    rest = {side: _reply(cells, text[len(start) :], side) for side, text in sides.items()}
    return messages, rest


def _reply(cells: Cells, value: Any, side: str) -> Reply:
    return _scored(cells, chats.reply(value, side, cells), side)


def _scored(cells: Cells, reply: Reply, side: str) -> Reply:
    """The reply with the model and the scores that columns beside it name."""
    if len(cells) == 0:
        return reply
    model, ratings = "", []
    for name in _columns_of(cells, side, ("model", "policy", "generator")):
        if isinstance(cells[name], str):
            model = name_of(cells.pop(name), name)
            break
    for kind in SCORES:
        for name in _columns_of(cells, side, (kind,)):
            value = number(cells[name])
            if value is not None:
                del cells[name]
                ratings.append(Rating(kind, value))
    if not model and not ratings:
        return reply
    return Reply(reply.text, model, messages=reply.messages, ratings=ratings)


def _columns_of(cells: Cells, side: str, kinds: tuple[str, ...]) -> list[str]:
    names = (
        (f"{kind}_{side}" for kind in kinds),
        (f"{side}{gap}{kind}" for kind in kinds for gap in "_-"),
    )
    return [name for group in names for name in group if name in cells]


def _row(cells: Cells, messages: Messages, replies: dict[str, Reply]) -> Row:
    sides = (replies["chosen"], replies["rejected"])
    if not cells:  # most rows
        return better_first(cells, messages, sides, SIDES)
    margin = margin_of(cells)
    rater = rater_of(cells)
    said = {name: cells.pop(name) for name in ABOUT_VOTE if name in cells}
    vote = judgement(Cells(said), "a", rater) if said or rater else Judgement("a")
    whole = cells.pop("messages", None)
    if whole is not None and not _is_told(whole, messages, replies["chosen"]):
        cells["messages"] = whole
    chosen, rejected = about_sides(cells, *SIDES)
    if chosen or rejected:
        sides = (replace(sides[0], metadata=chosen), replace(sides[1], metadata=rejected))
    side = cells.pop("chosen_side") if cells.get("chosen_side") in ("a", "b") else None
    source = source_of(cells)
    return better_first(
        cells, messages, sides, SIDES, vote, side=side, source_id=source, margin=margin
    )


def _is_told(whole: Any, messages: Messages, chosen: Reply) -> bool:
    """True where the column `messages` is the prompt and the chosen reply over again."""
    told = [*messages, *(chosen.messages or [{"role": "assistant", "content": chosen.text}])]
    return isinstance(whole, list) and whole == told
