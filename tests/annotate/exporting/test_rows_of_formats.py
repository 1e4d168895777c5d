"""Formats hold what was judged: styles, weights, soft labels, side files, compression, CSV."""

from __future__ import annotations

import gzip
import json
import random
from io import StringIO
from typing import Any

import pytest
import zstandard
from django.contrib.auth.models import User
from django.core.management import call_command
from pyarrow import parquet

from annotate.exporting import FORMATS, freezing
from annotate.exporting.formats import csv_format, parquet_format
from annotate.models import Assignment, Completion, Label, Membership, Pair, Project, Prompt, Rating
from annotate.models.content import messages_sha256, text_sha256
from annotate.quality.reliability import refresh_labels
from tests.annotate.exporting.written import ASKED, CALLED, TOOLS, add_chat, export, judge, rows

DANGEROUS = ["=1+1", "'=1+1", "'", "+x", "-1", "@a", "\tx", "\rx", "\"q\", 'w'", "a,b", "l1\nl2"]


@pytest.fixture
def chats(project: Project, ann: User, ben: User) -> list[Pair]:
    """A pair with tool calls, one of a plain question, and a tie."""
    pairs = [
        add_chat(project, 0, ASKED, [CALLED, "I cannot."], TOOLS),
        add_chat(project, 1, [{"role": "user", "content": "Hi?"}], ["Hello.", "What?"]),
        add_chat(project, 2, [{"role": "user", "content": "Bye?"}], ["Bye.", "So long."]),
    ]
    judge(project, pairs[:2], (ann, "a", 3), (ben, "a", 2))
    judge(project, pairs[2:], (ann, "tie", 0), (ben, "tie", 0))
    return pairs


def test_chats_leave_as_chats_with_their_tools(chats, tmp_path):
    called, hello = rows(export(tmp_path / "x", "trl-conversational"))
    assert (called["prompt"], called["chosen"], called["tools"]) == (ASKED, CALLED, TOOLS)
    assert called["rejected"] == [{"role": "assistant", "content": "I cannot."}]
    assert hello["prompt"] == [{"role": "user", "content": "Hi?"}] and hello["tools"] is None


def test_texts_have_one_style_that_reads_right_when_joined(chats, project, tmp_path):
    called, hello = rows(export(tmp_path / "dialogue", "trl"))
    asked = "\n\nSystem: Be terse.\n\nHuman: Turn on the lights in the hall.\n\nAssistant: "
    assert called["prompt"] + called["rejected"] == f"{asked}I cannot."
    assert called["prompt"] + called["chosen"] == (
        f'{asked}light({{"room": "hall"}})\n\ntool: ok\n\nDone.'
    )
    assert hello["prompt"] + hello["chosen"] == "\n\nHuman: Hi?\n\nAssistant: Hello."
    Assignment.objects.filter(pair=chats[0]).delete()
    [hello] = rows(export(tmp_path / "question", "trl"))
    assert hello["prompt"] + hello["chosen"] == "Hi?\n\nHello."


def test_people_of_weight_zero_decide_no_winner_and_no_label(
    project, make_pairs, ann, ben, cleo, zed, client_for, tmp_path
):
    [pair] = make_pairs(1)
    judge(project, [pair], (ann, "a", 2), (ben, "b", 2), (cleo, "b", 2))
    assert rows(export(tmp_path / "before", "trl"))[0]["chosen_side"] == "b"
    for user in (ben, cleo):
        member = Membership.objects.get(user=user)
        address = f"/projects/desk/annotators/{member.pk}/change/"
        client_for(zed).post(address, {"weigh": "yes", "weight": "0"})
    [row] = rows(export(tmp_path / "after", "trl"))
    assert (row["chosen_side"], row["n_votes"], row["vote_fraction"]) == ("a", 1, 1.0)
    assert Label.objects.get().outcome == "a"
    votes = export(tmp_path / "votes", "votes")
    assert [one["annotator"] for one in rows(votes)] == ["ann-ann"]
    aside = rows(votes.with_name("votes.weightless.jsonl"))
    assert [(one["annotator"], one["weight"]) for one in aside] == [("ann-ben", 0), ("ann-cleo", 0)]
    # What the first version held, it holds.
    assert rows(export(tmp_path / "old", "trl", "--version", "1"))[0]["chosen_side"] == "b"
    address = f"/projects/desk/annotators/{Membership.objects.get(user=ben).pk}/change/"
    client_for(zed).post(address, {"weigh": "yes", "weight": "0.5"})
    assert Label.objects.get().outcome == "split"


def test_soft_labels_are_those_of_the_labels_and_stay_in_their_version(
    project, make_pairs, tmp_path
):
    draw = random.Random(3)
    people = [User.objects.create_user(f"p{n}") for n in range(4)]
    for user in people:
        Membership.objects.create(project=project, user=user)
    pairs = make_pairs(12)
    for pair in pairs:
        for user in draw.sample(people, 2):
            judge(project, [pair], (user, draw.choice(["a", "a", "b", "tie"]), 2))
    refresh_labels(project)
    labels = {label.pair.key: label for label in Label.objects.select_related("pair")}
    out = export(tmp_path / "one", "trl-conversational")
    exported = [*rows(out), *rows(out.with_name("one.ties.jsonl"))]
    told = {row["pair_id"]: (row["p_a"], row["p_tie"], row["p_b"]) for row in exported}
    assert len(labels) > 4
    for key, label in labels.items():
        assert told[key] == pytest.approx((label.p_a, label.p_tie, label.p_b), abs=2e-4)
    assert all(0 < row["reliability"] < 1 for row in exported)
    judge(project, make_pairs(6), (people[0], "b", 1), (people[1], "a", 1))
    refresh_labels(project)
    again = export(tmp_path / "again", "trl-conversational", "--version", "1")
    assert again.read_bytes() == out.read_bytes()


def test_a_side_file_without_rows_is_not_written_and_an_old_one_goes(
    project, make_pairs, ann, ben, tmp_path
):
    tied, won = make_pairs(2)
    judge(project, [tied], (ann, "tie", 0), (ben, "tie", 0))
    out = tmp_path / "trl"
    side = out.with_name("trl.ties.jsonl")
    export(out, "trl")
    assert side.exists() and out.read_bytes() == b""
    Assignment.objects.all().delete()
    judge(project, [won], (ann, "a", 2), (ben, "a", 2))
    for format in FORMATS:
        export(tmp_path / format, format)
    export(out, "trl")
    sizes = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert not side.exists() and all(sizes.values()), sizes


def test_pairs_of_two_equal_texts_are_no_preference_but_are_kept_and_counted(
    project, ann, ben, tmp_path
):
    pair = add_chat(project, 0, ASKED, ["Same.", "Other."])
    judge(project, [pair], (ann, "a", 2), (ben, "a", 2))
    Pair.objects.filter(pk=pair.pk).update(completion_b=pair.completion_a)
    out = export(tmp_path / "x", "trl")
    assert rows(out) == []
    [row] = rows(out.with_name("x.ties.jsonl"))
    assert (row["outcome"], row["equal_texts"]) == ("a", True)
    version = freezing.freeze(project)
    for format in ("trl", "trl-conversational", "sft", "kto", "csv", "parquet", "hf"):
        counts = FORMATS[format].counted(version, include_simulated=False)
        assert counts["equal_texts"] == 1, format


def test_a_margin_is_left_out_of_trainers_files_where_a_strength_is_unknown(
    project, make_pairs, ann, ben, tmp_path
):
    pairs = make_pairs(2)
    judge(project, pairs, (ann, "a", 3), (ben, "a", 3))
    Assignment.objects.filter(pair=pairs[0]).update(imported=True, strength=None)
    Pair.objects.filter(pk=pairs[0].pk).update(source_margin=4.5)
    chats = rows(export(tmp_path / "chats", "trl-conversational"))
    assert [row["source_margin"] for row in chats] == [4.5, None]
    assert not any("margin" in row for row in chats)
    assert [row["margin"] for row in rows(export(tmp_path / "texts", "trl"))] == [None, 1.0]
    with export(tmp_path / "csv", "csv").open(newline="") as file:
        assert [row["margin"] for row in csv_format.read(file)] == [None, 1.0]
    Assignment.objects.update(imported=True, strength=None)
    assert not any("margin" in row for row in rows(export(tmp_path / "none", "trl")))


def test_unpaired_labels_come_out_as_they_came(project, ann, tmp_path):
    asked = [{"role": "user", "content": "How do I descale a kettle?"}]
    prompt = Prompt.objects.create(project=project, messages=asked, sha256=messages_sha256(asked))
    for text, value in (("Vinegar.", 1.0), ("Buy a new one.", 0.0)):
        completion = Completion.objects.create(
            prompt=prompt, text=text, sha256=text_sha256(text), source="import"
        )
        Rating.objects.create(completion=completion, name="label", value=value)
        Rating.objects.create(completion=completion, name="helpfulness", value=3, annotator=ann)
    said = [
        (row["prompt"], row["completion"], row["label"])
        for row in rows(export(tmp_path / "x", "kto"))
    ]
    assert said == [
        ("How do I descale a kettle?", "Vinegar.", True),
        ("How do I descale a kettle?", "Buy a new one.", False),
    ]


def test_winners_and_losers_are_good_and_bad_completions(chats, tmp_path):
    labels = [
        (row["completion"][-1]["content"], row["label"])
        for row in rows(export(tmp_path / "x", "kto"))
    ]
    assert labels == [("Done.", True), ("I cannot.", False), ("Hello.", True), ("What?", False)]
    texts = [row["completion"] for row in rows(export(tmp_path / "y", "kto", "--style", "text"))]
    assert texts[2:] == [" Hello.", " What?"]


def test_a_ranking_puts_the_completion_that_won_most_first(project, ann, ben, tmp_path):
    replies = ["Best.", "Middle.", "Worst."]
    for n, (one, other) in enumerate(((0, 1), (1, 2), (2, 0))):
        pair = add_chat(project, n, ASKED, [replies[one], replies[other]])
        choice = "b" if (one, other) == (2, 0) else "a"
        judge(project, [pair], (ann, choice, 2), (ben, choice, 2))
    [row] = rows(export(tmp_path / "x", "ranked"))
    assert [reply[0]["content"] for reply in row["completions"]] == replies
    assert row["ranks"] == [1, 2, 3] and row["win_shares"] == [1.0, 0.5, 0.0]
    assert row["scores"] == sorted(row["scores"], reverse=True) and row["n_votes"] == 6


def test_a_table_of_formulas_and_quotes_comes_back_as_it_was(
    project, make_pairs, ann, ben, tmp_path
):
    pairs = make_pairs(len(DANGEROUS))
    for pair, text in zip(pairs, DANGEROUS, strict=True):
        Completion.objects.filter(pk=pair.completion_a_id).update(text=text)
        Pair.objects.filter(pk=pair.pk).update(tags=[text], metadata={text: [text, 2.5, None]})
    judge(project, pairs, (ann, "a", 3), (ben, "a", 1))
    Assignment.objects.filter(annotator=ben).update(comment="=HYPERLINK(1)")
    out = export(tmp_path / "x.csv", "csv")
    with out.open(newline="", encoding="utf-8") as file:
        read = list(csv_format.read(file))
    expected = rows(export(tmp_path / "x.jsonl", "trl"))
    assert [{**row} for row in read] == expected and [row["chosen"] for row in read] == DANGEROUS
    for line in out.read_text().replace("\r\n", "\n").split("\n"):
        assert not line.startswith(tuple("=+-@"))
    with out.with_name("x.csv.votes.csv").open(newline="", encoding="utf-8") as file:
        votes = list(csv_format.read(file))
    assert votes == rows(export(tmp_path / "votes", "votes"))


def test_compressed_exports_hold_the_same_bytes_each_time(chats, tmp_path):
    plain = export(tmp_path / "plain", "votes").read_bytes()
    for name, opened in (("gzip", gzip.decompress), ("zstd", _zstd)):
        one, two = (
            export(tmp_path / f"{name}-{n}", "votes", "--compression", name).read_bytes()
            for n in range(2)
        )
        assert one == two and opened(one) == plain


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def test_every_format_gives_the_same_bytes_when_repeated(chats, project):
    version = freezing.freeze(project)
    for name, one in FORMATS.items():
        for part in one.parts:
            first, second = (
                b"".join(one.lines(version, part=part, include_simulated=False)) for _ in range(2)
            )
            assert first == second, (name, part)


def test_votes_say_what_an_imported_vote_does_not_know(project, make_pairs, ann, tmp_path):
    judge(project, make_pairs(1), (ann, "a", 2))
    Assignment.objects.update(
        imported=True, strength=None, left="", stream="", propensity=None, leased_at=None
    )
    Assignment.objects.update(voted_at=None, metadata={"source": "mturk"})
    [vote] = rows(export(tmp_path / "x", "votes"))
    unknown = ("strength", "left", "stream", "propensity", "leased_at", "voted_at")
    assert [vote[name] for name in unknown] == [None] * 6
    assert vote["imported"] is True and vote["metadata"] == {"source": "mturk"}


def test_metadata_tags_and_models_travel_with_their_pair(chats, tmp_path):
    Prompt.objects.filter(pk=chats[1].prompt_id).update(tags=["greeting"], metadata={"lang": "en"})
    Pair.objects.filter(pk=chats[1].pk).update(tags=["short"], metadata={"id": 10**20 + 1})
    Pair.objects.filter(pk=chats[1].pk).update(policy_b="other")
    Completion.objects.filter(pk=chats[1].completion_a_id).update(metadata={"score": 0.5})
    _, row = rows(export(tmp_path / "x", "trl-conversational"))
    assert row["tags"] == ["greeting", "short"]
    assert row["metadata"] == {"lang": "en", "id": 10**20 + 1, "chosen": {"score": 0.5}}
    assert (row["chosen_model"], row["rejected_model"]) == ("m1", "other")


def test_openrlhf_gets_chats_by_split_and_prompts(chats, project, tmp_path):
    Prompt.objects.update(held_out=False)
    Prompt.objects.filter(pk=chats[1].prompt_id).update(held_out=True)
    out = export(tmp_path / "x", "openrlhf")
    [train], [test] = rows(out), rows(out.with_name("x.held_out.jsonl"))
    assert (train["prompt"], train["chosen"]) == (ASKED, CALLED) and 0 < train["margin"] <= 1
    assert test["rejected"] == [{"role": "assistant", "content": "What?"}]
    prompts: list[Any] = rows(out.with_name("x.prompts.jsonl"))
    assert [one["messages"][-1]["content"][:4] for one in prompts] == ["Turn", "Bye?"]


def test_the_printed_counts_add_up(chats, project, tmp_path):
    version = freezing.freeze(project)
    counts = FORMATS["trl"].counted(version, include_simulated=False)
    assert counts == {
        "trl": 2,
        "tie": 1,
        "both_bad": 0,
        "split": 0,
        "equal_texts": 0,
    }
    assert FORMATS["kto"].counted(version, include_simulated=False)["kto"] == 4


def test_votes_import_into_another_project_with_all_that_they_say(chats, project, tmp_path):
    Pair.objects.filter(pk=chats[0].pk).update(tags=["tools"], metadata={"set": 1})
    Pair.objects.filter(pk=chats[0].pk).update(source_margin=2.5)
    Assignment.objects.filter(pair=chats[0]).update(comment="Calls it.", reasons=["Accuracy"])
    out = export(tmp_path / "votes.jsonl", "votes")
    other = Project.objects.create(slug="other", name="Other")
    call_command("import_data", str(out), "--project", "other", stdout=StringIO())
    version = freezing.freeze(other)
    again = [
        json.loads(line)
        for line in FORMATS["votes"].lines(version, part="votes", include_simulated=False)
    ]
    same = (
        *("choice", "strength", "left", "comment", "reasons", "voted_at", "wall_ms", "tags"),
        *("prompt", "tools", "prompt_id", "completion_a", "completion_b", "messages_a"),
        *("messages_b", "completion_a_id", "completion_b_id", "model_a", "model_b"),
        *("source_margin", "split"),
    )
    told = [[{name: row[name] for name in same} for row in file] for file in (again, rows(out))]
    assert sorted(told[0], key=str) == sorted(told[1], key=str)
    assert all(row["imported"] for row in again)
    assert again[0]["pair_metadata"]["set"] == 1


def test_columns_hold_what_the_rows_say(chats, project, tmp_path, ann, ben):
    """Parquet is made in columns, CSV and votes row by row."""
    Pair.objects.filter(pk=chats[0].pk).update(tags=["own"], metadata={"n": 1}, policy_a="named")
    Completion.objects.filter(pk=chats[1].completion_b_id).update(metadata={"score": 0.5})
    Prompt.objects.filter(pk=chats[1].prompt_id).update(metadata={"from": "mail"}, tags=["t"])
    more = [
        add_chat(project, n, [{"role": "user", "content": f"Q{n}"}], ["Yes.", "No."])
        for n in (3, 4)
    ]
    judge(project, more, (ben, "b", 1))
    export(tmp_path / "x", "parquet")
    version = project.dataset_versions.get()
    for part, path in (("parquet", "x"), ("votes", "x.votes.parquet")):
        told = parquet_format.part_rows(version, part, include_simulated=False)
        schema = parquet.read_schema(tmp_path / path)
        expected = parquet_format.table(list(told), schema)
        assert parquet.read_table(tmp_path / path).equals(expected), part
