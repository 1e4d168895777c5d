"""A few rows of every shape, in its own columns, and what an import of them must give.

Everywhere a person asks how to make tea; GOOD is the better answer.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

ASK = "How do I make green tea?"
GOOD = "Pour water of 80 degrees on the leaves and wait two minutes."
BAD = "Boil it for an hour."
MORE = "And black tea?"
USER = {"role": "user", "content": ASK}
SAY = {"role": "assistant", "content": GOOD}
SAY_BAD = {"role": "assistant", "content": BAD}
CALL = {"name": "kettle", "arguments": {"degrees": 80}}
CHOICE = {"index": 0, "message": SAY, "finish_reason": "stop"}
HUMAN_MESSAGE = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": ASK, "type": "human"},
}
AI_MESSAGE = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "AIMessage"],
    "kwargs": {"content": GOOD},
}


class Example(NamedTuple):
    rows: list[dict[str, Any]]
    prompts: int
    completions: int
    pairs: int
    votes: int
    winner: str = ""
    """The text that wins every vote; "" where votes differ or there are none."""


def one(row: dict[str, Any], completions: int, pairs: int, votes: int, winner: str = "") -> Example:
    return Example([row], 1, completions, pairs, votes, winner)


def judged(row: dict[str, Any], votes: int = 1, winner: str = GOOD) -> Example:
    """A row that is one pair with votes."""
    return one(row, 2, 1, votes, winner)


def human(text: str) -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


def turn(text: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": text}


OWN_PAIR = {"prompt": ASK, "completion_a": GOOD, "completion_b": BAD}
POST = {"id": "p1", "title": ASK, "selftext": "I have leaves.", "subreddit": "tea", "score": 9}
SEGMENT = {"doc": "news", "doc_id": "1", "seg_id": "1", "source": "Guten Tag."}
VOTES_EXPORT = OWN_PAIR | {
    "vote_id": "7-1",
    "pair_id": "k1",
    "prompt_id": "p1",
    "annotator": "ann-1",
    "choice": "a",
    "strength": 3,
    "left": "b",
    "reasons": ["clear"],
    "comment": "short",
    "criteria": {},
    "leased_at": "2026-01-02T03:04:05.000000Z",
    "voted_at": "2026-01-02T03:05:05.000000Z",
    "active_ms": 900,
    "first_key_ms": 800,
    "wall_ms": 60_000,
    "input": "key",
    "guideline_version": 1,
    "stream": "random",
    "propensity": 1.0,
    "surplus": False,
    "imported": True,
    "weight": 0.5,
    "metadata": {"mood": "good"},
    "kind": "normal",
    "tags": ["tea"],
    "source_margin": 2.5,
    "model_a": "m",
    "model_b": "n",
    "tools": None,
    "reference": None,
    "messages_a": [SAY | {"thinking": "Green tea is tender."}],
    "messages_b": None,
    "pair_metadata": {"topic": "green"},
    "metadata_a": {"rank": 1},
    "metadata_b": None,
    "simulated": False,
}

EXAMPLES: dict[str, Example] = {
    # TRL
    "trl": judged({"prompt": ASK, "chosen": GOOD, "rejected": BAD}),
    "trl_conversational": judged({"prompt": [USER], "chosen": [SAY], "rejected": [SAY_BAD]}),
    "trl_implicit": judged({"chosen": [USER, SAY], "rejected": [USER, SAY_BAD]}),
    "trl_implicit_text": judged(
        {"chosen": f"{ASK} Well, {GOOD}", "rejected": f"{ASK} {BAD}"}, winner=f"Well, {GOOD}"
    ),
    "trl_prompt_completion": one({"prompt": [USER], "completion": [SAY]}, 1, 0, 0),
    "trl_messages": one({"messages": [USER, SAY]}, 1, 0, 0),
    "trl_prompt": one({"prompt": [USER]}, 0, 0, 0),
    "trl_unpaired": Example(
        [
            {"prompt": ASK, "completion": GOOD, "label": True},
            {"prompt": ASK, "completion": BAD, "label": False},
        ],
        *(1, 2, 0, 0),
    ),
    "trl_stepwise": one(
        {"prompt": ASK, "completions": ["Heat it.", "Wait."], "labels": [True, False]}, 1, 0, 0
    ),
    "trl_tools": judged(
        {
            "prompt": [USER],
            "chosen": [{"role": "assistant", "content": "", "tool_calls": [{"function": CALL}]}],
            "rejected": [SAY_BAD],
            "tools": [{"type": "function", "function": {"name": "kettle"}}],
        },
        winner='kettle({"degrees": 80})',
    ),
    "chat_and_reply": one({"messages": [USER], "completion": GOOD}, 1, 0, 0),
    "reward_bench": judged(
        {
            "prompt": ASK,
            "chosen": GOOD,
            "chosen_model": "m",
            "rejected": BAD,
            "rejected_model": "n",
            "subset": "tea",
        }
    ),
    "reward_bench_2": one(
        {
            "prompt": ASK,
            "chosen": [GOOD],
            "rejected": [BAD, "Ask somebody else.", "I do not drink tea."],
            "num_correct": 1,
            "models": ["m", "n", "o", "p"],
        },
        *(4, 3, 3, GOOD),
    ),
    "distilabel_capybara": judged(
        {
            "source": "tea",
            "conversation": [{"input": ASK, "output": GOOD}],
            "chosen": [USER, SAY],
            "rejected": [USER, SAY_BAD],
        }
    ),
    "hh_rlhf": judged(
        {
            "chosen": f"\n\nHuman: {ASK}\n\nAssistant: {GOOD}",
            "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {BAD}",
        }
    ),
    # Ratings and binarised ratings
    "ultrafeedback": one(
        {
            "source": "evol",
            "instruction": ASK,
            "models": ["alpaca", "gpt-4"],
            "completions": [
                {
                    "annotations": {"helpfulness": {"Rating": "4", "Rationale": "It helps."}},
                    "custom_system_prompt": "Be kind.",
                    "model": "gpt-4",
                    "principle": "helpfulness",
                    "response": GOOD,
                    "critique": "Fine.",
                    "overall_score": 8.0,
                    "fine-grained_score": 4.5,
                },
                {"model": "alpaca", "response": BAD, "annotations": {}, "overall_score": 2},
            ],
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        },
        *(2, 0, 0),
    ),
    "ultrafeedback_binarized": judged(
        {
            "prompt": ASK,
            "prompt_id": "x",
            "chosen": [USER, SAY],
            "rejected": [USER, SAY_BAD],
            "messages": [USER, SAY],
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        }
    ),
    "ultrafeedback_argilla": judged(
        {
            "source": "evol",
            "instruction": ASK,
            "chosen_response": GOOD,
            "rejected_response": BAD,
            "chosen_avg_rating": 4.75,
            "rejected_avg_rating": 2.0,
            "chosen_model": "gpt-4",
        }
    ),
    "helpsteer2": Example(
        [
            {"prompt": ASK, "response": GOOD, "helpfulness": 4, "verbosity": 1},
            {"prompt": ASK, "response": BAD, "helpfulness": 0, "verbosity": 0},
        ],
        *(1, 2, 0, 0),
    ),
    "helpsteer2_preference": judged(
        {
            "split": "train",
            "prompt": ASK,
            "response_1": BAD,
            "response_2": GOOD,
            "preference_strength": 2,
            "preference_statement": "Response 2 is better.",
            "preference_elaboration": "It says how hot.",
            "all_preferences_unprocessed": [{"strength": 2}],
        }
    ),
    "helpsteer3": judged(
        {
            "domain": "general",
            "language": "english",
            "context": [USER],
            "response1": GOOD,
            "response2": BAD,
            "overall_preference": -2,
            "individual_preference": [
                {"score": -3, "reasoning": "Clear.", "feedback1": "Good.", "feedback2": "Bad."},
                {"score": -1, "reasoning": "Slightly.", "feedback1": "", "feedback2": ""},
            ],
        },
        votes=2,
    ),
    # Ranks and lists
    "nectar": Example(
        [
            {
                "prompt": f"\n\nHuman: {ASK}\n\nAssistant: ",
                "answers": [
                    {"answer": GOOD, "model": "gpt-4", "rank": 1},
                    {"answer": BAD, "model": "llama", "rank": 2},
                    {"answer": "No.", "model": "opt", "rank": 2},
                ],
                "turns": 1,
                "num_responses": 3,
                "source": ["anthropic-hh"],
            }
        ],
        *(1, 3, 2, 2, GOOD),
    ),
    "ranked_lists": one(
        {"prompt": ASK, "completions": [BAD, GOOD], "ranks": [2, 1], "models": ["m", "n"]},
        *(2, 1, 1, GOOD),
    ),
    "pku": judged(
        {
            "prompt": ASK,
            "response_0": BAD,
            "response_1": GOOD,
            "prompt_source": "BeaverTails",
            "response_0_source": "Alpaca-7B",
            "response_1_source": "Alpaca2-7B",
            "is_response_0_safe": False,
            "is_response_1_safe": True,
            "response_0_harm_category": {"Violence": False},
            "response_1_harm_category": {"Violence": False},
            "better_response_id": 1,
            "safer_response_id": 0,
        }
    ),
    "shp": judged(
        {
            "post_id": "p1",
            "domain": "askculinary_train",
            "upvote_ratio": 0.98,
            "history": ASK,
            "c_root_id_A": "a",
            "c_root_id_B": "b",
            "created_at_utc_A": 1600000000,
            "created_at_utc_B": 1600000100,
            "score_A": 5,
            "score_B": 50,
            "human_ref_A": BAD,
            "human_ref_B": GOOD,
            "labels": 0,
            "seconds_difference": 100.0,
            "score_ratio": 10.0,
        }
    ),
    "webgpt": judged(
        {
            "question": {"dataset": "eli5", "id": "q1", "full_text": ASK},
            "quotes_0": {"title": ["Tea"], "extract": ["80 degrees"]},
            "answer_0": GOOD,
            "tokens_0": {"prefix": [1], "completion": [2]},
            "score_0": 0.75,
            "quotes_1": {"title": [], "extract": []},
            "answer_1": BAD,
            "tokens_1": {"prefix": [1], "completion": [2]},
            "score_1": -0.75,
        }
    ),
    "summaries": judged(
        {
            "info": {"id": "t3_1", "post": ASK, "title": "Tea", "subreddit": "tea"},
            "split": "train",
            "summaries": [
                {"text": BAD, "policy": "sup1", "note": "Too hot."},
                {"text": GOOD, "policy": "ref", "note": "Right."},
            ],
            "choice": 1,
            "worker": "w1",
            "batch": "batch3",
            "extra": {"confidence": 8},
        }
    ),
    "axis": one(
        {
            "info": {"id": "t3_1", "post": ASK, "title": "Tea", "subreddit": "tea"},
            "summary": {
                "text": GOOD,
                "policy": "sup1",
                "note": "Right.",
                "axes": {"overall": 7, "accuracy": 6, "coverage": 5, "coherence": 7},
            },
            "worker": "w1",
            "batch": "b",
            "split": "valid1",
        },
        *(1, 0, 0),
    ),
    "oasst_tree": Example(
        [
            {
                "message_tree_id": "m1",
                "tree_state": "ready_for_export",
                "prompt": {
                    "message_id": "m1",
                    "text": ASK,
                    "role": "prompter",
                    "lang": "en",
                    "replies": [
                        {
                            "message_id": "m2",
                            "parent_id": "m1",
                            "text": BAD,
                            "role": "assistant",
                            "rank": 1,
                            "labels": {"quality": {"value": 0.2, "count": 3}},
                            "replies": [],
                        },
                        {
                            "message_id": "m3",
                            "parent_id": "m1",
                            "text": GOOD,
                            "role": "assistant",
                            "rank": 0,
                            "labels": {"quality": {"value": 0.9, "count": 3}},
                            "replies": [
                                {"message_id": "m4", "text": MORE, "role": "prompter"},
                            ],
                        },
                    ],
                },
            }
        ],
        *(2, 2, 1, 1, GOOD),
    ),
    "oasst_messages": Example(
        [
            {"message_id": "m1", "parent_id": None, "text": ASK, "role": "prompter"}
            | {"lang": "en", "message_tree_id": "m1", "tree_state": "ready_for_export"},
            {"message_id": "m2", "parent_id": "m1", "text": BAD, "role": "assistant", "rank": 1}
            | {"lang": "en", "message_tree_id": "m1", "tree_state": "ready_for_export"},
            {"message_id": "m3", "parent_id": "m1", "text": GOOD, "role": "assistant", "rank": 0}
            | {"lang": "en", "message_tree_id": "m1", "tree_state": "ready_for_export"},
        ],
        *(1, 2, 1, 1, GOOD),
    ),
    # Instructions
    "alpaca": one({"instruction": ASK, "input": "Two cups.", "output": GOOD}, 1, 0, 0),
    "gpteacher": one({"instruction": ASK, "input": "", "response": GOOD}, 1, 0, 0),
    "alpaca_outputs": one(
        {"dataset": "helpful", "instruction": ASK, "output": GOOD, "generator": "m"}, 1, 0, 0
    ),
    "open_orca": one(
        {"id": "1", "system_prompt": "Be short.", "question": ASK, "response": GOOD}, 1, 0, 0
    ),
    "seed_tasks": Example(
        [
            {
                "id": "seed_task_0",
                "name": "tea",
                "instruction": ASK,
                "instances": [{"input": "Two.", "output": GOOD}, {"input": "", "output": BAD}],
                "is_classification": False,
            },
            {
                "id": "seed_task_1",
                "instruction": MORE,
                "instances": [{"input": "", "output": "No."}],
            },
        ],
        *(3, 3, 0, 0),
    ),
    "doccano": one({"id": 1, "text": ASK, "label": [GOOD, BAD], "Comments": []}, 2, 0, 0),
    # Public sets of pairs
    "alpaca_farm": judged(
        {
            "instruction": ASK,
            "input": "",
            "output_1": GOOD,
            "output_2": BAD,
            "preference": 1,
            "raw_preference": 2,
        }
    ),
    "alpaca_eval": judged(
        {
            "instruction": ASK,
            "output_1": BAD,
            "generator_1": "text_davinci_003",
            "dataset": "helpful_base",
            "output_2": GOOD,
            "generator_2": "gpt-4",
            "annotator": "alpaca_eval_gpt4",
            "preference": 1.9,
        }
    ),
    "llmbar": judged({"input": ASK, "output_1": BAD, "output_2": GOOD, "label": 2}),
    "auto_j": judged(
        {"usage": "eval", "prompt": ASK, "response 1": BAD, "response 2": GOOD, "label": 1}
        | {"scenario": "advice"}
    ),
    "panda_lm": judged(
        {
            "idx": 0,
            "motivation_app": "Tea",
            "cmp_key": "bloom-7b_llama-7b",
            "instruction": ASK,
            "input": "Two cups.",
            "response1": GOOD,
            "response2": BAD,
            "annotator1": 1,
            "annotator2": 1,
            "annotator3": 1,
        },
        votes=3,
    ),
    "dove": judged({"i_chosen": ASK, "r_chosen": GOOD, "i_reject": ASK, "r_reject": BAD}),
    "dove_feedback": judged(
        {"instruction": ASK, "response_0": BAD, "response_1": GOOD, "feedback": 1}
    ),
    "mt_bench": judged(
        {
            "question_id": 81,
            "model_a": "alpaca-13b",
            "model_b": "gpt-3.5",
            "winner": "model_b",
            "judge": "author_2",
            "conversation_a": [USER, SAY_BAD, turn(MORE, "user"), turn("No.")],
            "conversation_b": [USER, SAY, turn(MORE, "user"), turn("95 degrees.")],
            "turn": 1,
        }
    ),
    "arena": one(
        {
            "question_id": "q1",
            "model_a": "a-13b",
            "model_b": "b-13b",
            "winner": "tie (bothbad)",
            "judge": "arena_user_1",
            "conversation_a": [USER, SAY, turn(MORE, "user"), turn("95 degrees.")],
            "conversation_b": [USER, SAY_BAD, turn(MORE, "user"), turn("No.")],
            "turn": 2,
            "anony": True,
            "language": "English",
            "tstamp": 1682351591.13,
        },
        *(2, 1, 1),
    ),
    "lmsys": judged(
        {
            "id": 1,
            "model_a": "m1",
            "model_b": "m2",
            "prompt": json.dumps([ASK]),
            "response_a": json.dumps([BAD]),
            "response_b": json.dumps([GOOD]),
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        }
    ),
    # Conversations
    "sharegpt": one({"id": "1", "conversations": [human(ASK), gpt(GOOD)]}, 1, 0, 0),
    "sharegpt_preference": judged(
        {"conversations": [human(ASK)], "chosen": gpt(GOOD), "rejected": gpt(BAD)}
    ),
    "llama_factory_alpaca": judged(
        {"instruction": ASK, "input": "Two cups.", "chosen": GOOD, "rejected": BAD}
    ),
    "llama_factory_kto": one(
        {"instruction": ASK, "input": "", "output": GOOD, "kto_tag": True}, 1, 0, 0
    ),
    "llama_factory_kto_chat": one({"messages": [USER, SAY], "label": True}, 1, 0, 0),
    "llama_factory_tools": one(
        {
            "conversations": [
                human(ASK),
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "hot"},
                gpt(GOOD),
            ],
            "system": "Be kind.",
            "tools": json.dumps([{"name": "kettle"}]),
        },
        *(1, 0, 0),
    ),
    "orca": judged({"system": "Be kind.", "question": ASK, "chosen": GOOD, "rejected": BAD}),
    "openai": judged(
        {
            "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [SAY],
            "non_preferred_output": [SAY_BAD],
        }
    ),
    "fine_grained": Example(
        [
            {
                "question": ASK,
                "passages": [["Tea", "It is green."]],
                "gold": "80 degrees.",
                "prediction 1": GOOD,
                "prediction 2": BAD,
                "prediction 3": "No.",
                "prediction 4": "Ask.",
                "preference": [1, 1, 1, 0, 0, 2],
                "feedback": {"errors": []},
            }
        ],
        *(1, 4, 6, 6),
    ),
    # Tools and tables
    "mqm": Example(
        [
            SEGMENT | row
            for row in (
                {"system": "A", "rater": "r1", "target": "Good <v>day</v>."}
                | {"category": "Fluency/Punctuation", "severity": "Minor"},
                {"system": "A", "rater": "r1", "target": "<v>Good</v> day."}
                | {"category": "Style", "severity": "Minor"},
                {"system": "B", "rater": "r1", "target": "<v>Bad</v> day."}
                | {"category": "Accuracy/Mistranslation", "severity": "Major"},
                {"system": "A", "rater": "r2", "target": "Good day."}
                | {"category": "No-error", "severity": "No-error"},
                {"system": "B", "rater": "r2", "target": "Bad day."}
                | {"category": "No-error", "severity": "No-error"},
            )
        ],
        *(1, 2, 1, 2),
    ),
    "reddit": Example(
        [
            POST,
            {"id": "c1", "link_id": "t3_p1", "parent_id": "t3_p1", "body": GOOD, "score": 40},
            {"id": "c2", "link_id": "t3_p1", "parent_id": "t3_p1", "body": BAD, "score": 3},
            {"id": "c3", "link_id": "t3_p1", "parent_id": "t1_c1", "body": "Yes.", "score": 90},
            {"id": "c4", "link_id": "t3_p1", "parent_id": "t3_p1", "body": "[deleted]"},
        ],
        *(1, 2, 1, 1, GOOD),
    ),
    "reddit_nested": one(
        POST | {"comments": [{"body": BAD, "score": 3}, {"body": GOOD, "score": 40}]},
        *(2, 1, 1, GOOD),
    ),
    "label_studio": judged(
        {
            "id": 1,
            "data": {"prompt": ASK, "answer1": GOOD, "answer2": BAD, "topic": "tea"},
            "annotations": [
                {
                    "id": 1,
                    "completed_by": {"id": 7, "email": "ann@example.com"},
                    "lead_time": 4.1,
                    "created_at": "2026-01-02T03:04:05.000000Z",
                    "was_cancelled": False,
                    "result": [
                        {
                            "id": "x",
                            "type": "pairwise",
                            "value": {"selected": "left"},
                            "from_name": "comparison",
                            "to_name": "answer1,answer2",
                        }
                    ],
                },
                {"id": 2, "completed_by": 8, "was_cancelled": True, "result": []},
            ],
            "predictions": [],
        }
    ),
    "label_studio_min": judged(
        {
            "prompt": ASK,
            "answer1": GOOD,
            "answer2": BAD,
            "comparison": "left",
            "id": 1,
            "annotator": 7,
            "annotation_id": 1,
            "lead_time": 4.1,
            "created_at": "2026-01-02T03:04:05.000000Z",
        }
    ),
    "label_studio_csv": judged(
        {
            "annotation_id": "1",
            "annotator": "7",
            "answer1": BAD,
            "answer2": GOOD,
            "created_at": "2026-01-02T03:04:05Z",
            "id": "1",
            "lead_time": "4.1",
            "pw": '{"selected": "right"}',
            "prompt": ASK,
        }
    ),
    "argilla_v2": judged(
        {
            "id": "u",
            "fields": {"prompt": ASK, "response_1": GOOD, "response_2": BAD},
            "metadata": {"topic": "tea"},
            "suggestions": {},
            "responses": {
                "preference": [
                    {"value": "response_1", "user_id": "u1"},
                    {"value": "response_1", "user_id": "u2"},
                ],
                "why": [{"value": "Clear.", "user_id": "u1"}],
            },
            "vectors": {},
            "status": "completed",
        },
        votes=2,
    ),
    "argilla_v2_flat": judged(
        {
            "id": "u",
            "status": "completed",
            "_server_id": "s",
            "prompt": ASK,
            "response_1": GOOD,
            "response_2": BAD,
            "preference.responses": ["response_1", "response_2"],
            "preference.responses.users": ["u1", "u2"],
            "preference.responses.status": ["submitted", "discarded"],
            "preference.suggestion": "response_2",
        }
    ),
    "argilla_v1": judged(
        {
            "fields": {"prompt": ASK, "response-1": BAD, "response-2": GOOD},
            "metadata": {},
            "responses": [
                {
                    "user_id": "u1",
                    "status": "submitted",
                    "values": {
                        "ranking": {
                            "value": [
                                {"value": "response-1", "rank": 2},
                                {"value": "response-2", "rank": 1},
                            ]
                        }
                    },
                }
            ],
            "suggestions": [],
            "external_id": "e1",
        }
    ),
    "argilla_v1_table": judged(
        {
            "prompt": ASK,
            "response_1": BAD,
            "response_2": GOOD,
            "choose-best": [{"user_id": "u1", "value": 2, "status": "submitted"}],
            "choose-best-suggestion": None,
            "external_id": "e1",
            "metadata": "{}",
        }
    ),
    "potato_item": one({"id": "1", "prompt": ASK, "responses": [GOOD, BAD]}, 2, 1, 0),
    "prodigy": judged(
        {
            "text": ASK,
            "options": [{"id": "x", "text": GOOD}, {"id": "y", "text": BAD}],
            "_input_hash": 1,
            "_task_hash": 2,
            "accept": ["x"],
            "answer": "accept",
            "_annotator_id": "ann",
            "_timestamp": 1700000000,
        }
    ),
    "left_right": judged(
        {"prompt": ASK, "response_left": GOOD, "response_right": BAD, "winner": "left"}
    ),
    "several_named": one(
        {
            "prompt": ASK,
            "response_1": BAD,
            "response_2": GOOD,
            "response_3": "No.",
            "rank": [2, 1, 3],
        },
        *(3, 3, 3),
    ),
    # Long tables
    "long_table": Example(
        [
            {"id": str(i), "question": ASK, "response_1": GOOD, "response_2": BAD}
            | {"worker": f"w{i}", "choice": "1"}
            for i in range(3)
        ],
        *(1, 2, 3, 3, GOOD),
    ),
    "long_table_ours": Example(
        [OWN_PAIR | {"annotator": who, "winner": "A"} for who in ("ann", "ben")],
        *(1, 2, 2, 2, GOOD),
    ),
    # Our own
    "pair": judged(OWN_PAIR | {"votes": {"ann": "a", "ben": "a"}}, votes=2),
    "pair_with_strength": judged(OWN_PAIR | {"votes": {"ann": {"choice": "a", "strength": 3}}}),
    "pair_with_list": judged(OWN_PAIR | {"votes": [{"annotator": "ann", "choice": "a"}]}),
    "pair_open": one(OWN_PAIR | {"model_a": "m", "model_b": "n", "tags": ["tea"]}, 2, 1, 0),
    "completions": one(
        {"prompt": ASK, "completions": [GOOD, {"text": BAD, "model": "m"}]}, 2, 0, 0
    ),
    "votes_export": judged(VOTES_EXPORT),
    "trl_export": judged(
        {
            "prompt": ASK,
            "chosen": GOOD,
            "rejected": BAD,
            "tools": None,
            "margin": 0.666667,
            "source_margin": 3.0,
            "vote_fraction": 1.0,
            "n_votes": 2,
            "method": "majority",
            "chosen_side": "b",
            "weight": 1.0,
            "split": "train",
            "tags": ["tea"],
            "chosen_model": "m",
            "rejected_model": "n",
            "pair_id": "k1",
            "prompt_id": "p1",
            "chosen_id": "c1",
            "rejected_id": "c2",
            "metadata": {"topic": "green", "chosen": {"rank": 1}},
        }
    ),
    "ties_export": one(
        OWN_PAIR
        | {"outcome": "both_bad", "vote_fraction_a": 0.5, "n_votes": 2, "n_both_bad": 2}
        | {"pair_id": "k1", "model_a": "m", "model_b": "n", "equal_texts": False}
        | {"metadata": {"topic": "green", "b": {"rank": 2}}},
        *(2, 1, 1),
    ),
    "sft_export": one({"prompt": ASK, "completion": GOOD, "pair_id": "k1", "n_votes": 2}, 1, 0, 0),
    "wild_feedback": judged(
        {"prompt": [USER], "preferred": SAY, "dispreferred": SAY_BAD, "language": "English"}
    ),
    "swift": judged({"messages": [USER, SAY], "rejected_response": BAD}),
    "chat_beside_two_messages": judged({"messages": [USER], "chosen": SAY, "rejected": SAY_BAD}),
    "gemini": one(
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": ASK}]},
                {"role": "model", "parts": [{"text": GOOD}]},
            ],
        },
        *(1, 0, 0),
    ),
    "cohere": one({"messages": [turn(ASK, "User"), turn(GOOD, "Chatbot")]}, 1, 0, 0),
    "surge": judged(
        {
            "task_id": "t1",
            "fields": OWN_PAIR | {"language": "en"},
            "responses": [{"worker_id": "w1", "data": {"preference": "completion_a"}}],
        }
    ),
    "openai_batch": Example(
        [
            {
                "custom_id": "r1",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "gpt", "messages": [USER]},
            },
            {
                "id": "batch_req_1",
                "custom_id": "r1",
                "response": {"status_code": 200, "body": {"model": "gpt", "choices": [CHOICE]}},
                "error": None,
            },
        ],
        *(1, 1, 0, 0),
    ),
    "anthropic_batch": Example(
        [
            {"custom_id": "r1", "params": {"model": "claude", "messages": [USER]}},
            {
                "custom_id": "r1",
                "result": {
                    "type": "succeeded",
                    "message": turn([{"type": "text", "text": GOOD}]) | {"model": "claude"},
                },
            },
        ],
        *(1, 1, 0, 0),
    ),
    "stored_completions": one(
        {
            "id": "chatcmpl-1",
            "request": {"messages": [USER], "temperature": 1.0},
            "choices": [CHOICE, {"index": 1, "message": SAY_BAD}],
        },
        *(2, 0, 0),
    ),
    "langfuse": one(
        {
            "id": "t1",
            "input": {"messages": [USER]},
            "output": SAY,
            "scores": [{"name": "helpful", "value": 1}],
        },
        *(1, 0, 0),
    ),
    "langfuse_table": one(
        {"id": "o1", "model": "gpt", "input": json.dumps([USER]), "output": json.dumps(SAY)},
        *(1, 0, 0),
    ),
    "langsmith": one(
        {
            "id": "r1",
            "run_type": "llm",
            "inputs": {"messages": [[{"type": "human", "content": ASK}]]},
            "outputs": {"generations": [[{"text": GOOD, "generation_info": {"stop": 1}}]]},
        },
        *(1, 0, 0),
    ),
    "langsmith_examples": one(
        {"inputs": {"question": ASK}, "outputs": {"answer": GOOD}, "split": "base"}, 1, 0, 0
    ),
    "langchain_messages": one(
        {"inputs": {"messages": [[HUMAN_MESSAGE]]}, "outputs": {"output": AI_MESSAGE}}, 1, 0, 0
    ),
    "weave": one(
        {
            "op_name": "weave:///e/p/op/predict:x",
            "inputs": {"messages": [USER], "model": "gpt"},
            "output": {"choices": [CHOICE], "model": "gpt"},
        },
        *(1, 0, 0),
    ),
    "bedrock": one(
        {
            "recordId": "1",
            "modelInput": {"messages": [USER]},
            "modelOutput": {"content": [{"type": "text", "text": GOOD}]},
        },
        *(1, 0, 0),
    ),
    "gemini_log": one(
        {
            "request": {"contents": [{"role": "user", "parts": [{"text": ASK}]}]},
            "response": {"candidates": [{"content": {"role": "model", "parts": [{"text": GOOD}]}}]},
        },
        *(1, 0, 0),
    ),
    "openai_responses": one(
        {
            "input": [USER],
            "output": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": GOOD}],
                }
            ],
        },
        *(1, 0, 0),
    ),
    "verl": one(
        {
            "data_source": "tea",
            "prompt": [USER],
            "ability": "advice",
            "reward_model": {"style": "rule", "ground_truth": "80"},
            "extra_info": {"split": "train"},
        },
        *(0, 0, 0),
    ),
}
