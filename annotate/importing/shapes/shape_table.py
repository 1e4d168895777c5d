"""The shapes that rows come in. SHAPES lists them; the first that recognises a row reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from annotate.importing.imported_row import Row
from annotate.importing.shapes import (
    annotation_tools,
    chats,
    chosen_rejected,
    joined_rows,
    public_pair_datasets,
    ranked_and_rated_replies,
    single_chats_and_message_trees,
    two_named_replies,
)
from annotate.importing.shapes.columns import Cells, has, has_any, has_lists


class Shape(NamedTuple):
    """One kind of row: its name in words, how it is told from others, and how it is read.

    `read` takes the columns that it understands and gives one row or several (see
    columns.built), raising Refused. Rows of a shape with `join` wait for each other.
    """

    title: str
    recognises: Callable[[Cells], bool]
    read: Callable[[Cells], Row | Iterable[Row]] | None = None
    join: joined_rows.Joined | None = None


def _and(*tests: Callable[[Cells], bool]) -> Callable[[Cells], bool]:
    return lambda cells: all(test(cells) for test in tests)


def _is_object(name: str) -> Callable[[Cells], bool]:
    return lambda cells: isinstance(cells.get(name), dict)


def _is_list(name: str) -> Callable[[Cells], bool]:
    return lambda cells: isinstance(cells.get(name), list)


# A shape is one function, and one line here. Those that are told by more columns come first.
SHAPES: dict[str, Shape] = {
    # Exports of tools
    "label_studio": Shape(
        "Label Studio, JSON",
        _and(_is_object("data"), has_any("annotations", "completions", "predictions")),
        annotation_tools.label_studio,
    ),
    "label_studio_flat": Shape(
        "Label Studio, JSON-MIN or CSV", has("annotation_id"), annotation_tools.label_studio_flat
    ),
    "argilla_records": Shape(
        "Argilla, records",
        _and(_is_object("fields"), has_any("responses", "suggestions", "metadata")),
        annotation_tools.argilla_records,
    ),
    "argilla_flat": Shape(
        "Argilla, flat records", annotation_tools.is_argilla_flat, annotation_tools.argilla_flat
    ),
    "potato": Shape("Potato, annotations", joined_rows.is_potato, join=joined_rows.POTATO),
    "prodigy": Shape("Prodigy, choices", has_lists("options"), annotation_tools.prodigy),
    # Our own exports of votes; the others have the shapes of TRL
    "votes": Shape("Pairloop, votes", has("vote_id", "choice"), two_named_replies.export_of_votes),
    # Rows that are joined
    "oasst_messages": Shape(
        "OpenAssistant, messages", joined_rows.is_messages, join=joined_rows.TREES
    ),
    "oasst_tree": Shape(
        "OpenAssistant, trees",
        _and(has("message_tree_id"), _is_object("prompt")),
        single_chats_and_message_trees.tree,
    ),
    "reddit_post": Shape(
        "Reddit, posts with comments",
        _and(has("title"), has_lists("comments")),
        joined_rows.post_with_comments,
    ),
    "reddit": Shape("Reddit, posts and comments", joined_rows.is_reddit, join=joined_rows.REDDIT),
    "mqm": Shape("MQM, ratings by segment", joined_rows.is_mqm, join=joined_rows.MQM),
    "batch": Shape("a batch of calls", joined_rows.is_batch, join=joined_rows.BATCH),
    # Public sets of pairs
    "openai": Shape(
        "OpenAI, preferences",
        _and(_is_object("input"), has("preferred_output")),
        chosen_rejected.openai,
    ),
    "pku": Shape(
        "PKU-SafeRLHF", has("response_0", "better_response_id"), public_pair_datasets.pku_safe
    ),
    "shp": Shape("SHP", has("human_ref_A", "labels"), public_pair_datasets.shp),
    "webgpt": Shape(
        "WebGPT comparisons", has("question", "answer_0", "answer_1"), public_pair_datasets.webgpt
    ),
    "summaries": Shape(
        "summarize-from-feedback, comparisons",
        has("info", "summaries"),
        public_pair_datasets.summaries,
    ),
    "axis": Shape(
        "summarize-from-feedback, axis", has("info", "summary"), public_pair_datasets.axis
    ),
    "helpsteer3": Shape(
        "HelpSteer3",
        _and(
            has("response1", "response2"),
            has_any("overall_preference", "individual_preference"),
        ),
        public_pair_datasets.helpsteer3,
    ),
    "helpsteer2_preference": Shape(
        "HelpSteer2-preference",
        has("response_1", "preference_strength"),
        public_pair_datasets.helpsteer2,
    ),
    "outputs": Shape(
        "AlpacaFarm, AlpacaEval, LLMBar",
        _and(has("output_1", "output_2"), has_any("instruction", "input")),
        public_pair_datasets.two_outputs,
    ),
    "auto_j": Shape("Auto-J", has("response 1", "response 2"), public_pair_datasets.auto_j),
    "panda_lm": Shape(
        "PandaLM",
        _and(has("response1", "response2"), has_any("annotator1", "cmp_key")),
        public_pair_datasets.panda_lm,
    ),
    "arena": Shape(
        "MT-Bench and Arena",
        has_any("conversation_a", "conversation_b"),
        public_pair_datasets.arena,
    ),
    "lmsys": Shape(
        "LMSYS 55k", has("response_a", "response_b", "winner_model_a"), public_pair_datasets.lmsys
    ),
    "dove": Shape("DOVE, pairs", has("i_chosen", "r_chosen"), chosen_rejected.dove),
    "dove_feedback": Shape(
        "DOVE, feedback", has("response_0", "feedback"), public_pair_datasets.feedback
    ),
    # Chosen and rejected
    "argilla_binarized": Shape(
        "UltraFeedback, binarised by Argilla",
        has("chosen_response", "rejected_response"),
        chosen_rejected.renamed("chosen_response", "rejected_response"),
    ),
    "wild_feedback": Shape(
        "WildFeedback",
        has("preferred", "dispreferred"),
        chosen_rejected.renamed("preferred", "dispreferred"),
    ),
    "swift": Shape(
        "ms-swift, preferences",
        has("messages", "rejected_response"),
        chosen_rejected.beside_a_chat("rejected_response"),
    ),
    "preference": Shape(
        "preferences (chosen, rejected)", has_any("chosen", "rejected"), chosen_rejected.trl
    ),
    # Two replies, or several in a column each
    "several_named": Shape(
        "three replies or more, in a column each",
        lambda cells: bool(ranked_and_rated_replies.numbered_names(cells)),
        ranked_and_rated_replies.several_named,
    ),
    "pair": Shape(
        "pairs (completion_a, completion_b)",
        has_any("completion_a", "completion_b", "response_a", "response_b"),
        two_named_replies.pair,
    ),
    "two_sided": Shape(
        "pairs of two named replies", two_named_replies.has_sides, two_named_replies.two_sided
    ),
    # Any number of replies
    "nectar": Shape(
        "ranked answers (Nectar)", has_lists("answers"), ranked_and_rated_replies.nectar
    ),
    "ultra_feedback": Shape(
        "UltraFeedback",
        _and(has("instruction"), ranked_and_rated_replies.is_ranked("completions")),
        ranked_and_rated_replies.ultra_feedback,
    ),
    "predictions": Shape(
        "fine-grained RLHF", has("prediction 1", "preference"), ranked_and_rated_replies.predictions
    ),
    "potato_item": Shape(
        "Potato, items",
        joined_rows.is_potato_item,
        ranked_and_rated_replies.responses,
        join=joined_rows.ITEMS,
    ),
    "responses": Shape("lists of responses", has("responses"), ranked_and_rated_replies.responses),
    # One reply, or none
    "call": Shape(
        "logged calls of a model",
        single_chats_and_message_trees.is_call,
        single_chats_and_message_trees.call,
    ),
    "seed_tasks": Shape(
        "seed tasks (stanford_alpaca)", has("instances"), single_chats_and_message_trees.seed_tasks
    ),
    "instruction": Shape(
        "instructions (Alpaca)",
        _and(has("instruction"), has_any(*single_chats_and_message_trees.OUTPUTS)),
        single_chats_and_message_trees.instruction,
    ),
    "completions": Shape(
        "completions", has_any("completion", "completions"), ranked_and_rated_replies.completions
    ),
    "chat": Shape(
        "conversations",
        lambda cells: any(
            isinstance(cells.get(name), list | str) for name in single_chats_and_message_trees.CHATS
        ),
        single_chats_and_message_trees.whole_chat,
    ),
    "response": Shape(
        "responses with ratings",
        _and(has("response"), has_any(*chats.PROMPTS)),
        single_chats_and_message_trees.one_reply,
    ),
    "doccano": Shape(
        "doccano",
        _and(has_any("text", "data"), has_any("label", "labels"), has("id")),
        single_chats_and_message_trees.written_to,
    ),
    "prompt": Shape(
        "prompts", has_any("prompt", "instruction"), single_chats_and_message_trees.prompt_alone
    ),
}
