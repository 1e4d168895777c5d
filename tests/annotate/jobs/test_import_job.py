from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from annotate import exchange
from annotate.importing import two_passes
from annotate.jobs import import_actions, import_job, job_runner, upload_files
from annotate.jobs.import_actions import stage
from annotate.jobs.job_states import Heartbeat
from annotate.jobs.upload_files import Refusal
from annotate.models import Assignment, Import, Pair, Project, Prompt
from annotate.models.job import SILENCE, Job
from tests.annotate.jobs.files import checked, imported, judged, lines, pair, sent, work_off
from tests.conftest import at_once


def problems(import_: Import) -> list[dict[str, Any]]:
    path = upload_files.problems_path(import_)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_file_is_checked_and_written_only_once_its_owner_says_so(project, zed):
    import_ = checked(project, zed, *(pair(i) for i in range(7)))
    assert stage(import_) == "ready" and not Prompt.objects.exists()
    check = import_.report["check"]
    assert check["report"]["added"]["pairs"] == 7
    assert len(check["preview"]) == 5
    assert check["preview"][0]["messages"] == [{"role": "user", "content": "Q0"}]
    assert [reply["text"] for reply in check["preview"][0]["replies"]] == ["one 0", "two 0"]
    import_actions.begin(import_)
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "done" and import_.report["written"]["added"]["pairs"] == 7
    assert project.pairs.count() == 7 and import_.share == 1.0


def test_five_pairs_are_looked_at_where_every_vote_has_a_row_of_its_own(project, zed):
    swapped = {"prompt": "Q0", "completion_a": "two 0", "completion_b": "one 0"}
    rows = [
        *(pair(i, rater=rater, winner="a") for i in range(6) for rater in ("u1", "u2")),
        swapped | {"rater": "u3", "winner": "a"},
        pair(4, rater="u1", winner="tie"),
    ]
    seen = checked(project, zed, *rows).report["check"]["preview"]
    assert [one["messages"][0]["content"] for one in seen] == [f"Q{i}" for i in range(5)]
    votes = [[(vote["rater"], vote["choice"]) for vote in one["votes"]] for one in seen]
    assert votes[0] == [("u1", "a"), ("u2", "a"), ("u3", "b")]
    assert votes[3] == [("u1", "a"), ("u2", "a")]
    assert votes[4] == [("u2", "a"), ("u1", "tie")], "the later vote of a person counts"


def test_the_file_is_removed_once_it_is_imported_and_the_report_stays(project, zed):
    import_ = imported(project, zed, pair(), b"{broken")
    assert not upload_files.sent_path(import_).exists() and import_.path == ""
    assert [one["line"] for one in problems(import_)] == [2]


def test_the_columns_are_told_with_examples_and_how_many_rows_have_them(project, zed):
    import_ = checked(project, zed, judged(1, note="x"), judged(2))
    columns = {one["name"]: one for one in import_.report["check"]["columns"]}
    assert columns["chosen"] == {"name": "chosen", "use": "chosen", "rows": 2, "example": "one 1"}
    assert columns["note"]["rows"] == 1 and columns["note"]["example"] == "x"


def test_a_near_miss_is_a_question_and_nothing_starts_before_it_is_answered(project, zed):
    row = {"prompt": "Q", "choosen": "x", "rejected": "y"}
    import_ = checked(project, zed, row)
    assert stage(import_) == "asking"
    with pytest.raises(Refusal, match="choosen"):
        import_actions.begin(import_)
    assert import_actions.choose_columns(import_, {}, {("choosen", "chosen"): True})
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "ready"
    import_actions.begin(import_)
    work_off()
    assert project.pairs.get().completion_a.text in ("x", "y")


def test_a_near_miss_may_be_none(project, zed):
    import_ = checked(project, zed, pair(refrence="x"), pair(1))
    assert stage(import_) == "asking"
    shown = import_.report["check"]["mapping"]
    assert import_actions.choose_columns(import_, shown, {("refrence", "reference"): False})
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "ready" and import_.mapping == {"metadata": ["refrence"]}


def test_columns_of_any_name_are_read_as_somebody_says(project, zed):
    rows = [{"question": f"Q{i}", "better": "x", "worse": f"y{i}"} for i in range(3)]
    import_ = checked(project, zed, *rows)
    assert stage(import_) == "asking"
    mapping = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    import_actions.map_columns(import_, mapping)
    work_off()
    import_.refresh_from_db()
    assert import_.report["check"]["report"]["added"]["pairs"] == 3
    import_actions.begin(import_)
    work_off()
    assert project.pairs.count() == 3


def test_a_choice_of_columns_is_remembered_for_the_projects_next_file_with_the_same_ones(
    project, zed
):
    rows = [{"question": f"Q{i}", "better": "x", "worse": f"y{i}"} for i in range(3)]
    first = checked(project, zed, *rows)
    mapping = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    import_actions.map_columns(first, mapping)
    work_off()
    first.refresh_from_db()
    import_actions.begin(first)
    work_off()
    project.refresh_from_db()
    second = checked(project, zed, {"question": "New", "better": "x", "worse": "z"})
    assert stage(second) == "ready" and second.mapping == mapping
    assert second.report["remembered"]
    other = checked(project, zed, {"question": "New", "better": "x", "worst": "z"})
    assert other.mapping == {}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [({"promt": "prompt"}, "no field 'promt'"), ({"prompt": "nowhere"}, "no column 'nowhere'")],
)
def test_a_mapping_to_what_is_not_there_is_refused(project, zed, mapping, said):
    import_ = checked(project, zed, pair())
    with pytest.raises(Refusal, match=said):
        import_actions.map_columns(import_, mapping)


def test_refused_rows_are_told_with_line_field_reason_and_value(project, zed):
    rows = [pair(0), pair(1, tags="x" * 500), b'{"broken', pair(2)]
    import_ = imported(project, zed, *rows)
    kept = import_.report["written"]
    assert (kept["rows"], kept["accepted"], kept["refused"]) == (4, 2, 2)
    first, second = kept["problems"]
    assert (first["line"], first["field"]) == (2, "tags") and "list" in first["reason"]
    assert len(first["value"]) == 200 and first["value"].startswith("xxx")
    assert second["line"] == 3 and "JSON" in second["reason"]
    assert [one["reason"] for one in problems(import_)] == [
        one["reason"] for one in kept["problems"]
    ]


def test_the_row_keeps_a_thousand_problems_and_the_report_has_all(project, zed):
    import_ = imported(project, zed, pair(), *([{"prompt": ""}] * 1500))
    assert len(import_.report["written"]["problems"]) == 1000
    assert len(problems(import_)) == import_.report["written"]["refused"] == 1500


def test_strict_starts_nothing_when_a_row_is_refused(project, zed):
    import_ = checked(project, zed, pair(), {"prompt": ""})
    import_actions.choose_options(import_, strict=True)
    with pytest.raises(Refusal, match="1 row is refused"):
        import_actions.begin(import_)
    import_actions.choose_options(import_, strict=False)
    import_actions.begin(import_)
    work_off()
    assert project.pairs.count() == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "no rows"), (b"%PDF-1.4 x", "PDF"), (b"\x1f\x8b\x08broken", "gzip")],
)
def test_a_file_that_cannot_be_read_ends_with_a_sentence(project, zed, body, said):
    import_ = checked(project, zed, body)
    assert stage(import_) == "failed" and said in import_.error
    assert "Traceback" not in import_.error


def test_auto_goes_on_by_itself_when_nothing_is_asked(project, zed):
    import_ = checked(project, zed, pair(), auto=True)
    assert stage(import_) == "done" and project.pairs.count() == 1
    asked = checked(project, zed, pair(1, refrence="x"), auto=True)
    assert stage(asked) == "asking" and project.pairs.count() == 1


def test_the_same_file_again_adds_nothing(project, zed):
    rows = [pair(i, votes={"u1": "a"}) for i in range(5)]
    imported(project, zed, *rows)
    again = imported(project, zed, *rows)
    assert set(again.report["written"]["added"].values()) <= {0, 5}
    assert again.report["written"]["added"]["pairs"] == 0
    assert project.pairs.count() == 5 and Assignment.objects.count() == 5


def test_rows_that_wait_for_others_in_vain_are_refused_and_do_not_start(project, zed):
    choice = {"preference": {"selection": "A"}}
    import_ = checked(
        project, zed, {"user_id": "anna", "instance_id": "1", "label_annotations": choice}
    )
    counted = import_.report["check"]["report"]
    assert (counted["rows"], counted["accepted"], counted["refused"]) == (1, 0, 1)
    assert stage(import_) == "asking" and "input file" in counted["problems"][0]["reason"]


def test_tool_calls_thinking_and_replies_of_several_turns_are_in_the_preview(project, zed):
    call = {"function": {"name": "look_up", "arguments": '{"q": 1}'}}
    said = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "7"},
        {"role": "assistant", "content": "It is 7."},
    ]
    asked = [{"role": "user", "content": "How many?"}]
    plain = [{"role": "assistant", "content": "No idea."}]
    import_ = checked(project, zed, {"prompt": asked, "chosen": said, "rejected": plain})
    (shown,) = import_.report["check"]["preview"]
    turns = next(reply["messages"] for reply in shown["replies"] if reply["messages"])
    assert [turn["role"] for turn in turns] == ["assistant", "tool", "assistant"]
    assert turns[0]["tool_calls"][0]["function"]["name"] == "look_up"


# Cancelling, killing, taking over


class Interrupted(Heartbeat):
    """A heartbeat at which something happens once so many rows were read."""

    def __init__(self, job: Job, after: int, happens: Any) -> None:
        super().__init__(job)
        self._after, self._happens = after, happens

    def beat(self, done: int, share: float) -> None:
        if done >= self._after:
            self._after = 10**9
            self._happens()
        super().beat(done, share)


def started(project: Project, by: Any, *rows: Any) -> Import:
    """An import whose rows a worker has begun to write."""
    import_ = checked(project, by, *rows)
    import_actions.begin(import_)
    held = Import.objects.claim(import_.pk)
    assert held is not None
    return held


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(two_passes, "BATCH", 10)


def test_cancelling_stops_between_two_batches_and_says_what_was_added(project, zed, small_batches):
    held = started(project, zed, *(pair(i) for i in range(100)))
    cancel = Interrupted(held, 30, lambda: import_actions.cancel(Import.objects.get(pk=held.pk)))
    job_runner.work(held, import_job.perform, cancel)
    held.refresh_from_db()
    assert stage(held) == "cancelled"
    added = held.report["written"]["added"]["pairs"]
    assert 0 < added == project.pairs.count() < 100


def test_an_import_that_nobody_has_taken_is_cancelled_at_once_and_its_file_is_removed(project, zed):
    import_ = checked(project, zed, pair())
    import_actions.cancel(import_)
    assert stage(import_) == "cancelled" and not upload_files.sent_path(import_).exists()
    with pytest.raises(Refusal):
        import_actions.begin(import_)
    with pytest.raises(Refusal, match="nothing to cancel"):
        import_actions.cancel(import_)


def test_a_silent_import_is_taken_over_and_adds_every_row_once(project, zed, small_batches):
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    rows = [pair(i, votes={"u1": "a", "u2": "b"}) for i in range(100)]
    held = started(project, zed, *rows)
    with pytest.raises(Killed):
        job_runner.work(held, import_job.perform, Interrupted(held, 30, kill))
    assert 0 < project.pairs.count() < 100 and exchange.waiting_jobs() == []
    Import.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    assert exchange.waiting_jobs() == [str(held.uuid)]
    work_off()
    held.refresh_from_db()
    assert stage(held) == "done"
    assert (project.pairs.count(), Assignment.objects.count()) == (100, 200)


def test_a_holder_that_was_taken_for_dead_stops_and_writes_nothing_more(
    project, zed, small_batches
):
    held = started(project, zed, *(pair(i) for i in range(100)))

    def pause() -> None:
        raise KeyError("asleep")

    slow = Interrupted(held, 30, pause)
    with pytest.raises(KeyError):
        import_job.perform(held, slow)
    Import.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    assert Import.objects.claim(held.pk) is not None
    count = project.pairs.count()
    job_runner.work(held, import_job.perform, slow)
    assert 0 < project.pairs.count() == count < 100
    held.refresh_from_db()
    assert held.state == Job.State.RUNNING and held.error == ""


def test_a_worker_that_ends_gives_its_job_back(project, zed, small_batches):
    import_ = checked(project, zed, *(pair(i) for i in range(100)))
    import_actions.begin(import_)
    asked = iter([False] * 3 + [True] * 1000)
    assert exchange.run_job(str(import_.uuid), stopping=lambda: next(asked))
    import_.refresh_from_db()
    assert import_.state == Job.State.WAITING
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "done" and project.pairs.count() == 100


def test_a_job_that_ends_its_worker_every_time_is_given_up(project, zed):
    import_ = sent(project, zed, pair())
    for _ in range(job_runner.MOST_ATTEMPTS):
        assert Import.objects.claim(import_.pk) is not None
        Import.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "failed" and "Given up" in import_.error


def test_what_nobody_foresaw_ends_in_a_sentence_without_a_traceback(
    project, zed, monkeypatch, caplog
):
    import_ = sent(project, zed, pair())
    monkeypatch.setattr(two_passes.Preview, "look_at", lambda self, rows: 1 / 0)
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "failed" and "logged" in import_.error
    assert "ZeroDivisionError" in caplog.text and "Zero" not in import_.error


def test_an_absent_database_leaves_the_job_to_be_taken_up_again(project, zed, monkeypatch, caplog):
    def gone(self: Any, rows: Any) -> None:
        raise OperationalError("server closed the connection")

    import_ = sent(project, zed, pair())
    with monkeypatch.context() as patched:
        patched.setattr(two_passes.Preview, "look_at", gone)
        work_off()
    import_.refresh_from_db()
    assert import_.state == Job.State.RUNNING
    Import.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "ready"


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_the_same_rows_at_once_add_them_once(project, zed, small_batches):
    rows = [pair(i, votes={"u1": "a"}) for i in range(60)]
    both = [checked(project, zed, *rows) for _ in range(2)]
    for import_ in both:
        import_actions.begin(import_)
    done = at_once(*(lambda uuid=str(one.uuid): exchange.run_job(uuid) for one in both))
    assert done == [True, True]
    assert [stage(Import.objects.get(pk=one.pk)) for one in both] == ["done", "done"]
    assert (project.pairs.count(), Assignment.objects.count()) == (60, 60)


@pytest.mark.django_db(transaction=True)
def test_one_of_two_workers_gets_a_job(project, zed):
    import_ = sent(project, zed, *(pair(i) for i in range(20)))
    took = at_once(*[lambda: exchange.run_job(str(import_.uuid))] * 4)
    assert sorted(took) == [False, False, False, True]


@pytest.mark.django_db(transaction=True)
def test_people_vote_while_an_import_runs(project, zed, ann, make_pairs):
    from annotate import queue

    make_pairs(30)
    import_ = checked(project, zed, *(pair(i) for i in range(400)))
    import_actions.begin(import_)
    over = threading.Event()

    def work() -> int:
        try:
            exchange.run_job(str(import_.uuid))
        finally:
            over.set()
        return 0

    def vote() -> int:
        cast = 0
        while cast < 20:
            lease = queue.next_pair(project, ann)
            assert lease is not None
            queue.vote(ann, lease.token, choice="a")
            cast += 1
        return cast

    assert at_once(work, vote) == [0, 20]
    assert Pair.objects.count() == 430


# Leaving things lying


def test_what_its_owner_forgot_is_closed_after_a_week_and_its_file_removed(project, zed):
    old, new = checked(project, zed, pair()), checked(project, zed, pair(1))
    Import.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    exchange.tidy_jobs()
    old.refresh_from_db()
    assert stage(old) == "cancelled" and not upload_files.sent_path(old).exists()
    new.refresh_from_db()
    assert stage(new) == "ready" and upload_files.sent_path(new).exists()


def test_a_command_that_was_ended_leaves_a_failed_import_that_no_worker_goes_on_with(project, zed):
    import_ = checked(project, zed, pair())
    long_ago = timezone.now() - SILENCE - timedelta(seconds=1)
    Import.objects.update(state=Job.State.RUNNING, foreground=True, heartbeat_at=long_ago)
    assert exchange.waiting_jobs() == []
    exchange.tidy_jobs()
    import_.refresh_from_db()
    assert stage(import_) == "failed" and "command" in import_.error


# Names and files


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\rows.csv", "rows.csv"),
        ("a\x00b\n\u202ec.csv", "abc.csv"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("\ud800.csv", ".csv"),
        ("..", "file"),
        ("", "file"),
        ("x" * 900, "x" * 255),
    ],
)
def test_a_files_name_is_only_shown_and_reaches_no_folder(project, zed, home, given, shown):
    import_ = sent(project, zed, pair(), name=given)
    assert import_.file_name == shown
    assert upload_files.sent_path(import_).is_relative_to(home / "imports")
    assert upload_files.sent_path(import_).read_bytes() == lines(pair())


def test_a_file_on_the_server_is_taken_from_the_roots_alone(project, zed, settings, tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside.jsonl"
    root.mkdir()
    for path in (root / "rows.jsonl", outside):
        path.write_bytes(lines(pair()))
    (root / "link.jsonl").symlink_to(outside)
    settings.IMPORT_ROOTS = [str(root)]
    for given in ("../outside.jsonl", str(outside), "link.jsonl", "nothing", "", ".", "a\x00b"):
        with pytest.raises(Refusal, match="no such file"):
            import_actions.take_from_server(project, zed, given)
    import_ = import_actions.take_from_server(project, zed, "rows.jsonl")
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "ready"
    import_actions.begin(import_)
    work_off()
    assert project.pairs.count() == 1 and (root / "rows.jsonl").exists()


def test_a_link_that_is_turned_round_after_the_check_is_not_followed(
    project, zed, settings, tmp_path: Path
):
    root, outside = tmp_path / "root", tmp_path / "outside.jsonl"
    root.mkdir()
    (root / "rows.jsonl").write_bytes(lines(pair()))
    outside.write_bytes(lines(pair(1)))
    settings.IMPORT_ROOTS = [str(root)]
    import_ = import_actions.take_from_server(project, zed, "rows.jsonl")
    (root / "rows.jsonl").unlink()
    (root / "rows.jsonl").symlink_to(outside)
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "failed" and "no such file" in import_.error


def test_without_roots_nothing_on_the_server_is_to_be_had(project, zed, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes(lines(pair()))
    with pytest.raises(Refusal, match="no such file"):
        import_actions.take_from_server(project, zed, str(tmp_path / "rows.jsonl"))
