from __future__ import annotations

from typing import Any

import pytest

from annotate.importing import Refused
from annotate.importing.shapes import answers, reading
from tests.annotate.importing.shapes.examples import ASK, BAD, EXAMPLES, GOOD
from tests.annotate.importing.shapes.outcome import outcome

TYPOS = [
    {"prompt": f"{ASK} 1", "choosen": GOOD, "rejectd": BAD},
    {"prompt": f"{ASK} 2", "Chosen": GOOD, "Rejected": BAD},
    {"prompt": f"{ASK} 3", "completionA": GOOD, "completionB": BAD},
]


def asked(raw: dict[str, Any], **more: Any) -> set[tuple[str, str]]:
    """The questions on a row that is read only once they are answered."""
    read = outcome([raw], **more)
    assert not read.rows or not read.reading.questions
    return {(one.column, one.field) for one in read.reading.questions}


def test_near_misses_are_asked_about_before_any_row_is_read():
    read = outcome(TYPOS)
    assert not read.rows and len(read.refused) == 3
    assert [(one.column, one.field, one.why) for one in read.reading.questions] == [
        ("choosen", "chosen", "`choosen` looks like `chosen`"),
        ("rejectd", "rejected", "`rejectd` looks like `rejected`"),
        ("Chosen", "chosen", "`Chosen` is `chosen` in other letters"),
        ("Rejected", "rejected", "`Rejected` is `rejected` in other letters"),
        ("completionA", "completion_a", "`completionA` is `completion_a` in other letters"),
        ("completionB", "completion_b", "`completionB` is `completion_b` in other letters"),
    ]
    assert all(
        "looks like" in one.reason or "in other letters" in one.reason for one in read.refused
    )


@pytest.mark.parametrize(
    "mapping",
    [
        answers(reading(TYPOS).questions),
        {
            "chosen": "choosen",
            "rejected": "rejectd",
            "completion_a": "completionA",
            "completion_b": "completionB",
        },
    ],
)
def test_answered_with_yes_they_are_pairs(mapping):
    read = outcome(TYPOS, mapping)
    assert not read.reading.questions and not read.refused
    assert len(read.comparisons) == 3 and read.winners == [GOOD, GOOD]
    assert read.reading.columns["choosen"] == ("chosen", 1)


@pytest.mark.parametrize(
    "mapping",
    [
        {"metadata": ["choosen", "rejectd"]},
        {"choosen": "metadata", "rejectd": "metadata"},
        {"chosen": "", "rejected": ""},
    ],
)
def test_columns_that_are_to_be_left_alone_are_kept_as_metadata(mapping):
    read = outcome(TYPOS[:1], mapping)
    [row] = read.rows
    assert row.metadata == {"choosen": GOOD, "rejectd": BAD} and not row.replies
    assert read.reading.columns["choosen"] == ("kept as metadata", 1)


@pytest.mark.parametrize(
    ("raw", "questions"),
    [
        ({"prompt": ASK, "chosen": GOOD, "rejectd": BAD}, {("rejectd", "rejected")}),
        ({"Prompt": ASK, "chosen": GOOD, "rejected": BAD}, {("Prompt", "prompt")}),
        ({"promt": ASK, "completion": GOOD}, {("promt", "prompt")}),
        ({"prompt": ASK, "compeltion": GOOD}, {("compeltion", "completion")}),
        ({"prompt": ASK, "completion": GOOD, "lable": True}, {("lable", "label")}),
        ({"question": ASK, "better": GOOD, "worse": BAD}, {("question", "prompt")}),
        (
            {"prompt": ASK, "Response-A": GOOD, "Response-B": BAD},
            {("Response-A", "completion_a"), ("Response-B", "completion_b")},
        ),
        (
            {"prompt": ASK, "completion_a": GOOD, "completion_b": BAD, "winer": "a"},
            {("winer", "winner")},
        ),
        (
            {"prompt": ASK, "completion_a": GOOD, "completion_b": BAD, "Votes": {"ann": "a"}},
            {("Votes", "votes")},
        ),
        (
            {"prompt": ASK, "better": GOOD, "worse": BAD},
            {("better", "chosen"), ("worse", "rejected")},
        ),
        ({"prompt": ASK, "human_ref_A": GOOD}, {("human_ref_A", "completion_a")}),
        (
            {"question": ASK, "preferred_output": GOOD, "rejected_output": BAD},
            {
                ("question", "prompt"),
                ("preferred_output", "chosen"),
                ("rejected_output", "rejected"),
            },
        ),
        (
            {"text": ASK, "winner_text": GOOD, "loserText": BAD},
            {("text", "prompt"), ("winner_text", "chosen"), ("loserText", "rejected")},
        ),
        ({"prompt": ASK, "y_w": GOOD, "y_l": BAD}, {("y_w", "chosen"), ("y_l", "rejected")}),
        (
            {"prompt": ASK, "text_a": GOOD, "text_b": BAD, "human_pref": "B"},
            {("human_pref", "winner")},
        ),
        (
            {"ask": ASK, "gpt4": GOOD, "claude": BAD, "who": "gpt4"},
            {
                *(("ask", "prompt"), ("gpt4", "completion_a"), ("claude", "completion_b")),
                ("who", "winner"),
            },
        ),
        ({"prompt": ASK, "winner": "a"}, {("winner", "winner")}),
        # A slip in another set's name
        (
            {"prompt": ASK, "resposne_a": GOOD, "response_b": BAD, "winner": "a"},
            {("resposne_a", "completion_a"), ("response_b", "completion_b")},
        ),
        (
            {"quesiton": ASK, "Anwser A": GOOD, "Anwser B": BAD, "prefered": "A"},
            {
                *(("quesiton", "prompt"), ("prefered", "winner")),
                *(("Anwser A", "completion_a"), ("Anwser B", "completion_b")),
            },
        ),
        ({"prompt": ASK, "choosen": GOOD, "rejct": BAD}, {("rejct", "rejected")}),
        # Replies of one letter, as in questions with several choices
        (
            {"prompt": ASK, "Completion A": "A", "Completion B": "B"},
            {("Completion A", "completion_a"), ("Completion B", "completion_b")},
        ),
        (
            {"prompt": ASK, "choosen": "A", "rejectd": "B"},
            {("choosen", "chosen"), ("rejectd", "rejected")},
        ),
    ],
)
def test_what_may_be_lost_is_asked_about(raw, questions):
    assert questions <= asked(raw)


@pytest.mark.parametrize(
    "name", ["anotator", "annotator_name", "Labeler Email", "WorkerId", "User Name", "Judge"]
)
def test_who_judged_is_asked_for_whatever_the_column_is_called(name):
    vote = {"prompt": ASK, "completion_a": GOOD, "completion_b": BAD, "winner": "a", name: "ann"}
    assert asked(vote) == {(name, "rater")}
    [judgement] = outcome([vote], {"rater": name}).votes
    assert judgement.rater == "ann"


@pytest.mark.parametrize(
    "more",
    [
        {"annotator_1": "ann", "annotator_2": "ben"},
        {"judge_model": "m", "user_age": 30, "user": {"id": 1}, "worker_time": 5},
        {"notes": "long", "preference:::A": 1, "letter": "w"},
    ],
)
def test_columns_that_are_about_something_else_are_kept_without_a_question(more):
    vote = {"prompt": ASK, "completion_a": GOOD, "completion_b": BAD, "winner": "a"}
    read = outcome([vote | more])
    assert not read.reading.questions and len(read.votes) == 1


def test_a_column_is_asked_about_once():
    table = [{ASK: "And black tea, how long?", GOOD: BAD, BAD: GOOD}]
    columns = [one.column for one in outcome(table).reading.questions]
    assert columns and len(columns) == len(set(columns))


def test_two_texts_or_a_list_of_texts_beside_a_prompt_are_asked_about():
    texts = {"prompt": ASK, "spring": GOOD, "summer": BAD, "topic": "tea"}
    assert asked(texts) == {("spring", "completion_a"), ("summer", "completion_b")}
    [question, _] = outcome([texts]).reading.questions
    assert question.why == "`spring` and `summer` hold a text each beside the prompt"
    assert asked({"prompt": ASK, "drafts": [GOOD, BAD]}) == {("drafts", "completions")}


def test_names_and_categories_beside_a_prompt_are_not_asked_about():
    rows = [
        {
            "prompt": f"{ASK} {i}",
            "source": "web",
            "split": "train",
            "by": f"person {i} of the house",
        }
        for i in range(9)
    ]
    rows += [row | {"kind": "an often used kind"} for row in rows]
    read = outcome(rows)
    assert not read.reading.questions and len(read.rows) == 18
    assert read.reading.columns["source"] == ("kept as metadata", 18)
    assert read.reading.columns["kind"] == ("kept as metadata", 9)


@pytest.mark.parametrize(
    "column", ["choosen_by", "n_votes", "prompt_id", "model", "Comments", "rank"]
)
def test_columns_of_a_judged_pair_that_mean_something_else_are_kept(column):
    read = outcome([{"prompt": ASK, "chosen": GOOD, "rejected": BAD, column: "x"}])
    assert not read.reading.questions and read.rows[0].metadata == {column: "x"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_row_of_a_known_shape_is_asked_about(name):
    assert not reading(EXAMPLES[name].rows).questions


@pytest.mark.parametrize(
    ("names", "said", "choices"),
    [
        (("Antwort GPT", "Antwort Mensch"), ("GPT", "Mensch", "tie"), ["a", "b", "tie"]),
        (("gpt_text", "human_text"), ("human", "gpt", "both"), ["b", "a", "tie"]),
        (("replyTuned", "replyBase"), ("tuned", "base", "equally bad"), ["a", "b", "both_bad"]),
        (("reply_0", "reply_1"), (0, 1, 1), ["a", "b", "b"]),
    ],
)
def test_a_winner_is_named_by_the_words_that_tell_the_replies_columns_apart(names, said, choices):
    rows = [
        {"frage": f"{ASK} {i}", names[0]: f"{GOOD} {i}", names[1]: f"{BAD} {i}", "urteil": word}
        for i, word in enumerate(said)
    ]
    told = {"prompt": "frage", "completion_a": names[0], "completion_b": names[1]}
    read = outcome(rows, told | {"winner": "urteil"})
    assert [vote.choice for vote in read.votes] == choices
    if isinstance(said[0], str):
        questions = outcome(rows, told).reading.questions
        assert [(one.column, one.field) for one in questions] == [("urteil", "winner")]


def test_a_text_named_as_a_reply_beside_a_prompt_is_asked_about():
    raw = {"user_prompt": ASK, "model_response": GOOD, "score": 4, "expected_answer": BAD}
    assert asked(raw) == {("user_prompt", "prompt"), ("model_response", "completion")}
    assert asked({"prompt": ASK, "generated_reply": GOOD}) == {("generated_reply", "completion")}
    assert not asked({"prompt": ASK, "expected_output": GOOD, "answer_type": "short and sweet"})


def test_a_word_for_a_tie_that_nobody_knows_is_refused_where_it_stands():
    rows = [
        {"prompt": f"{ASK} {i}", "reply_gpt": f"{GOOD} {i}", "reply_human": f"{BAD} {i}", "x": word}
        for i, word in enumerate(("gpt", "human", "beide"))
    ]
    sides = {"completion_a": "reply_gpt", "completion_b": "reply_human"}
    assert [one.column for one in outcome(rows, sides).reading.questions] == ["x"]
    read = outcome(rows, sides | {"winner": "x"})
    assert len(read.votes) == 2
    assert [str(one) for one in read.refused] == ["x: 'beide' does not say which reply is better"]


def test_columns_of_any_name_are_mapped():
    raw = {"frage": ASK, "besser": GOOD, "schlechter": BAD, "wer": "ann"}
    mapping = {"prompt": "frage", "chosen": "besser", "rejected": "schlechter", "rater": "wer"}
    read = outcome([raw], mapping)
    assert read.winners == [GOOD] and read.votes[0].rater == "ann"
    assert read.reading.mapping == mapping
    assert {name: one.use for name, one in read.reading.columns.items()} == {
        column: field for field, column in mapping.items()
    }


def test_a_long_table_of_any_names_is_mapped():
    rows = [
        {"Q": ASK, "x": GOOD, "y": BAD, "m1": "one", "m2": "two", "who": who, "pick": pick}
        | {"how much": "3", "seen": "b", "when": "2026-01-02T03:04:05Z", "note": "Hm.", "key": "k"}
        for who, pick in (("ann", "y"), ("ben", "one"), ("cem", "tie"))
    ]
    mapping = {
        "prompt": "q",
        "completion_a": "X",
        "completion_b": "Y",
        "winner": "pick",
        "model_a": "m1",
        "model_b": "m2",
        "rater": "who",
        "strength": "how much",
        "left": "seen",
        "time": "when",
        "comment": "note",
        "id": "key",
    }
    read = outcome([row | {"pick": row["pick"].replace("y", "b")} for row in rows], mapping)
    assert [(one.rater, one.choice) for one in read.votes] == [
        *(("ann", "b"), ("ben", "a"), ("cem", "tie")),
    ]
    one = read.votes[0]
    assert (one.strength, one.left, one.comment) == (3, "b", "Hm.")
    assert one.at is not None and one.at.year == 2026


def test_dotted_paths_lead_into_objects():
    raw = {"id": 1, "data": {"prompt": ASK, "more": {"best": GOOD}}, "other": [{"worst": BAD}]}
    mapping = {"prompt": "data.prompt", "chosen": "data.more.best", "rejected": "other.0.worst"}
    read = outcome([raw], mapping)
    assert read.winners == [GOOD]
    assert read.rows[0].metadata["id"] == 1 and "data" not in read.rows[0].metadata
    kept = outcome(
        [raw | {"data": {"prompt": ASK, "topic": "tea", "more": {"best": GOOD}}}], mapping
    )
    assert kept.rows[0].metadata["data"] == {"topic": "tea"}


def test_a_mapped_column_takes_the_place_of_one_of_that_name():
    raw = {"prompt": "p-17", "question": ASK, "chosen": GOOD, "rejected": BAD}
    read = outcome([raw], {"prompt": "question"})
    assert read.rows[0].messages[0]["content"] == ASK
    assert read.rows[0].metadata == {"column prompt": "p-17"}
    assert read.reading.columns["prompt"] == ("kept as metadata", 1)


def test_a_refusal_names_the_column_of_the_file():
    [refused] = outcome([{"q": 7, "a": GOOD, "b": BAD}], {"prompt": "q", "chosen": "a"}).refused
    assert refused.field == "rejected"
    mapping = {"prompt": "q", "chosen": "a", "rejected": "b"}
    [refused] = outcome([{"q": 7, "a": GOOD, "b": BAD}], mapping).refused
    assert refused.field == "q" and "text is expected" in refused.reason


def test_a_mapping_of_an_unknown_field_is_refused_with_those_there_are():
    with pytest.raises(Refused, match=r"question: no field has this name; the fields are prompt,"):
        reading([], {"question": "prompt"})
    assert all(reading([]).fields.values())


def test_questions_are_collected_over_all_rows_not_only_the_sample():
    read = reading([{"prompt": ASK}])
    list(read.rows({"prompt": ASK, "chosen": GOOD, "rejected": BAD}))
    assert not read.questions
    with pytest.raises(Refused):
        read.rows({"prompt": ASK, "choosen": GOOD})
    assert [one.column for one in read.questions] == ["choosen"]


def test_columns_are_told_with_their_use_and_how_many_rows_had_them():
    rows = [
        {"prompt": ASK, "chosen": GOOD, "rejected": BAD, "topic": "tea", "empty": "", "null": None},
        {"prompt": ASK, "chosen": GOOD, "rejected": BAD},
        {"prompt": ASK, "chosen": GOOD, "rejected": 7},
        {"prompt": ASK, "chosen": GOOD, "bogus": 1},
    ]
    assert reading(rows).columns["topic"] == ("kept as metadata", 0)
    told = outcome(rows).reading.columns
    assert told["chosen"] == ("chosen", 4) and told["topic"] == ("kept as metadata", 1)
    assert told["bogus"] == ("not read", 1)
    assert not {"empty", "null"} & told.keys()


def test_a_file_of_ever_new_columns_takes_bounded_memory():
    read = reading([])
    for i in range(3000):
        list(read.rows({"prompt": ASK, f"column{i}": i}))
    told = read.columns
    assert told["prompt"] == ("prompt", 3000) and told["column7"] == ("kept as metadata", 1)


@pytest.mark.parametrize(
    ("columns", "choices"),
    [
        (
            ("WorkerId", "Input.prompt", "Input.response_a", "Input.response_b", "Answer.choice"),
            "AB",
        ),
        (
            ("WorkerId", "Input.question", "Input.answer1", "Input.answer2", "Answer.better"),
            ("answer1", "answer2"),
        ),
        (
            (
                *("ASSIGNMENT:worker_id", "INPUT:prompt", "INPUT:response_a"),
                *("INPUT:response_b", "OUTPUT:result"),
            ),
            "ab",
        ),
    ],
)
def test_tables_of_crowd_work_answered_with_yes_are_pairs_with_each_workers_vote(columns, choices):
    who, ask, first, second, picked = columns
    rows = [
        {"HITId": f"H{i}", "Title": "Which reply is better?", who: f"W{n}", picked: choices[n % 2]}
        | {ask: f"How do I make {i} cups?", first: GOOD, second: BAD}
        for i in range(3)
        for n in range(3)
    ]
    mapping: dict[str, list[str]] = {}
    for _ in range(3):
        read = outcome(rows, mapping)
        for field, named in answers(read.reading.questions).items():
            mapping.setdefault(field, []).extend(named)
    assert not read.refused and not read.reading.questions
    assert len(read.prompts) == 3
    said = [(vote.choice, vote.rater) for vote in read.votes]
    assert said == [("a", "W0"), ("b", "W1"), ("a", "W2")] * 3
