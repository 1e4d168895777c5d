"""A whole project leaves as a file and comes back as it was."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate import queue
from annotate.exporting import seal
from annotate.exporting.freezing import freeze
from annotate.exporting.project.project_file_writer import Content, project_lines
from annotate.importing import import_rows
from annotate.importing.project import project_writer
from annotate.jobs import import_actions, import_job, job_runner
from annotate.jobs.import_actions import stage
from annotate.jobs.job_states import Heartbeat, Stopping
from annotate.models import Assignment, Import, Membership, Pair, Project, Prompt
from annotate.models.roles import Role
from annotate.votes.export_values import line as json_line
from tests.annotate.importing.project.everything import exported, imported, live_through
from tests.annotate.jobs.files import checked, work_off
from tests.annotate.jobs.files import imported as imported_by_a_worker

OLD_FILE = Path(__file__).parent / "project_of_format_1.jsonl"
"""As the first release with this format wrote it, on SQLite."""


@pytest.fixture
def lived(project, ann, ben, cleo, olga, zed) -> Project:
    live_through(project, ann, ben, cleo, olga, zed)
    return project


@pytest.fixture
def other(zed) -> Project:
    """An empty project of the same admin, who has the same pseudonym in it."""
    made = Project.objects.create(slug="other", name="Another desk", guidelines="None yet.")
    Membership.objects.create(project=made, user=zed, role=Role.ADMIN, pseudonym="ann-zed")
    return made


def lines_of(project: Project) -> list[bytes]:
    return list(project_lines(project.dataset_versions.latest("number")))


def old_lines() -> list[bytes]:
    return OLD_FILE.read_bytes().splitlines(keepends=True)


def test_a_project_comes_back_with_the_same_hash_and_leaves_again_as_the_same_file(
    lived, other, tmp_path
):
    before = exported(lived, tmp_path / "project.jsonl")
    kinds = Counter(line["type"] for line in before)
    assert {"pair", "assignment", "answer", "guideline", "version_decisions"} <= kinds.keys()
    acts = [line for line in before if line["type"] == "assignment"]
    assert {act["state"] for act in acts} == {"voted", "skipped", "released"}
    assert any("frozen_from" not in act for act in acts if act["state"] == "voted")
    output = imported(other, tmp_path / "project.jsonl")
    assert "a whole project" in output
    after = exported(other, tmp_path / "again.jsonl")
    assert after[1:] == before[1:]
    changed = {name for name in before[0] if before[0][name] != after[0][name]}
    assert changed == {"project", "name"}
    versions = list(other.dataset_versions.order_by("number"))
    assert [seal.sha256(one) for one in versions] == list(
        lived.dataset_versions.order_by("number").values_list("sha256", flat=True)
    )


def test_a_project_of_many_people_comes_back_and_goes_again(project, other, zed, tmp_path):
    people = 3 * project_writer.PEOPLE
    judged_row = {"prompt": "Q", "completion_a": "x", "completion_b": "y"}
    rows = [judged_row | {"votes": {f"rater {i}": "a" for i in range(people)}}]
    import_rows(project, BytesIO(b"".join(map(json_line, rows))))
    freeze(project, by=zed)
    before = exported(project, tmp_path / "project.jsonl")
    imported(other, tmp_path / "project.jsonl")
    assert exported(other, tmp_path / "again.jsonl")[1:] == before[1:]
    assert other.memberships.filter(active=False).count() == people + 1, "who froze the version"
    call_command("import_data", project="other", undo=str(Import.objects.get(project=other).uuid))
    assert list(other.memberships.values_list("user", flat=True)) == [zed.pk]


def test_a_file_of_an_earlier_release_and_another_database_leaves_as_it_came(other, tmp_path):
    imported(other, OLD_FILE)
    assert lines_of(other)[2:] == old_lines()[1:]


def test_what_came_back_goes_on(other, ann):
    """Open pairs are offered, votes are counted, and an unchanged state needs no new version."""
    imported(other, OLD_FILE)
    other.refresh_from_db()
    versions = other.dataset_versions.count()
    assert not other.archived and other.guidelines == "Be *kind* and short."
    for pair in other.pairs.filter(state=Pair.State.OPEN):
        assert pair.open_slots == pair.asked - pair.votes
    Membership.objects.create(project=other, user=ann, role=Role.ANNOTATOR)
    freeze(other)
    held = other.dataset_versions.count()
    assert held == versions + 1, "one vote was in no version yet"
    freeze(other)
    assert other.dataset_versions.count() == held
    Project.objects.update(gold_share=0.0, retest_share=0.0)
    other.refresh_from_db()
    lease = queue.next_pair(other, ann)
    assert lease is not None
    assert queue.vote(ann, lease.token, choice="a").status == "stored"


def test_people_come_as_accounts_that_nobody_can_sign_in_to(other, zed):
    imported(other, OLD_FILE)
    came = other.memberships.exclude(user=zed)
    assert {one.pseudonym for one in came} >= {"ann-ann", "ann-zed", "ann-olga"}
    assert not any(one.active or one.user.has_usable_password() for one in came)
    assert other.memberships.get(user=zed).pseudonym != "ann-zed"
    assert came.get(pseudonym="ann-ben").weight == 0.0


def test_the_page_says_what_a_project_holds_before_it_is_imported(client_for, other, zed):
    import_ = checked(other, zed, *old_lines())
    page = client_for(zed).get(f"/projects/other/import/{import_.uuid}/").text
    end = json.loads(old_lines()[-1])
    for said in ("a whole project", "Support desk", end["sha256"], "Import the project", "1 skip,"):
        assert said in page
    assert "Which column" not in page and "Use their votes as labels" not in page
    assert not Prompt.objects.exists()


def test_an_import_by_a_worker_is_taken_back_as_long_as_nobody_builds_on_it(other, zed, ann):
    before = Project.objects.filter(pk=other.pk).values().get()
    import_ = imported_by_a_worker(other, zed, *old_lines())
    assert stage(import_) == "done"
    import_actions.take_back(import_)
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "undone"
    assert Project.objects.filter(pk=other.pk).values().get() == before
    assert not Prompt.objects.exists() and not other.dataset_versions.exists()
    assert list(other.memberships.values_list("user", flat=True)) == [zed.pk]
    again = imported_by_a_worker(other, zed, *old_lines())
    Membership.objects.create(project=other, user=ann, role=Role.ANNOTATOR)
    other.refresh_from_db()
    assert queue.next_pair(other, ann)
    assert "on the screen" in import_actions.undo_refusal(again)


class Interrupted(Heartbeat):
    """A heartbeat that ends the work at its n-th beat."""

    def __init__(self, job: Import, n: int, end: Any) -> None:
        super().__init__(job)
        self._left, self._end = n, end

    def beat(self, done: int, share: float) -> None:
        self._left -= 1
        if self._left == 0:
            self._end()
        super().beat(done, share)


def begun(project: Project, zed: Any) -> Import:
    import_ = checked(project, zed, *old_lines())
    import_actions.begin(import_)
    held = Import.objects.claim(import_.pk)
    assert held is not None
    return held


def test_a_cancelled_import_leaves_nothing(other, zed):
    held = begun(other, zed)
    cancel = Interrupted(held, 5, lambda: import_actions.cancel(Import.objects.get(pk=held.pk)))
    job_runner.work(held, import_job.perform, cancel)
    held.refresh_from_db()
    other.refresh_from_db()
    assert stage(held) == "cancelled"
    assert not Prompt.objects.exists() and not Assignment.objects.exists()
    assert (other.archived, other.guidelines) == (False, "None yet.")


def test_an_import_that_was_broken_off_begins_anew(other, zed):
    def stop() -> None:
        raise Stopping

    held = begun(other, zed)
    job_runner.work(held, import_job.perform, Interrupted(held, 5, stop))
    other.refresh_from_db()
    assert other.archived and other.prompts.exists()
    work_off()
    other.refresh_from_db()
    assert not other.archived and lines_of(other)[2:] == old_lines()[1:]


def test_an_import_that_no_worker_came_to_the_end_of_is_taken_back_on_its_page(
    other, zed, client_for
):
    def stop() -> None:
        raise Stopping

    held = begun(other, zed)
    job_runner.work(held, import_job.perform, Interrupted(held, 5, stop))
    Import.objects.filter(pk=held.pk).update(attempts=job_runner.MOST_ATTEMPTS)
    work_off()
    held.refresh_from_db()
    assert stage(held) == "failed" and other.prompts.exists()
    page, browser = f"/projects/other/import/{held.uuid}/", client_for(zed)
    assert "Remove what was written" in browser.get(page).text
    browser.post(f"{page}undo/")
    work_off()
    assert "Taken back" in browser.get(page).text
    other.refresh_from_db()
    assert not Prompt.objects.exists() and not Assignment.objects.exists()
    assert (other.archived, other.guidelines) == (False, "None yet.")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_import_that_breaks_leaves_nothing(other, zed, interruption):
    def break_off() -> None:
        raise interruption

    held = begun(other, zed)
    job_runner.work(held, import_job.perform, Interrupted(held, 5, break_off))
    held.refresh_from_db()
    other.refresh_from_db()
    assert held.finished and not Prompt.objects.exists()
    assert (other.archived, other.guidelines) == (False, "None yet.")


def test_votes_of_a_project_that_was_opened_outlive_the_death_of_the_worker(other, ann, zed):
    """It dies after people were let in and before the job is done."""
    imported_by_a_worker(other, zed, *old_lines())
    Membership.objects.create(project=other, user=ann, role=Role.ANNOTATOR)
    lease = queue.next_pair(other, ann)
    assert lease is not None
    queue.vote_side(ann, lease.token, "left")
    counts = Import.objects.get().report["written"]
    Import.objects.update(state="waiting", finished_at=None, path="gone")
    work_off()
    again = Import.objects.get()
    assert stage(again) == "done" and again.report["written"] == counts
    assert Assignment.objects.filter(annotator=ann, state="voted").exists()


def test_what_changes_meanwhile_is_found_by_the_hash_and_all_of_it_goes(other, zed):
    held = begun(other, zed)
    change = Interrupted(held, 6, lambda: Prompt.objects.update(reference="Changed."))
    job_runner.work(held, import_job.perform, change)
    held.refresh_from_db()
    assert stage(held) == "failed" and "Nothing was imported" in held.error
    assert not Prompt.objects.exists()


@pytest.mark.parametrize("what", ["prompts", "dataset versions"])
def test_a_project_goes_into_an_empty_one_only(project, make_pairs, what):
    if what == "prompts":
        make_pairs(1)
    else:
        freeze(project)
    with pytest.raises(CommandError, match=rf"an empty one, and this one holds 1 {what}"):
        imported(project, OLD_FILE)


def without(*names: str) -> Any:
    return lambda line: {name: one for name, one in line.items() if name not in names}


def changed(**more: Any) -> Any:
    return lambda line: line | more


def sealed(lines: list[bytes]) -> list[bytes]:
    """The lines with the hash that they have now: a forger knows how to make one."""
    content = Content()
    for one in lines[1:-1]:
        content.add(json_line(json.loads(one)))
    end = {"type": "end", "lines": content.lines, "sha256": content.sha256}
    return [*lines[:-1], json_line(end)]


FORGED: dict[str, tuple[str, Any, str]] = {
    "other text": ("completion", changed(text="Forged."), "not the hash of the completion"),
    "unknown column": ("pair", changed(colour="red"), "colour: no such thing is known"),
    "unknown kind": ("pair", changed(kind="fancy"), "kind: 'fancy' is not known"),
    "unknown side": ("pair", changed(a="0" * 64), "names a completion that no line before"),
    "unknown person": ("assignment", changed(annotator="eve"), "names a person, 'eve'"),
    "a lease": ("assignment", changed(state="reserved"), "a lease does not stand"),
    "huge number": ("assignment", changed(seq=2**40), "seq: a number from 0 to"),
    "no time": ("assignment", changed(acted_at="yesterday"), "acted_at: yesterday is none"),
    "no setting": ("settings", changed(scale="eleven"), "no scale 'eleven' is known"),
    "share": ("settings", changed(gold_share=7.5), "gold_share: Ensure this value"),
    "text for list": ("prompt", changed(tags="red"), "tags: red is none"),
    "no messages": ("prompt", changed(messages=[{"role": "user"}]), "a role and a content"),
    "missing": ("pair", without("created_at"), "created_at: it is missing"),
    "weight": ("person", changed(weight=-1), "a weight that is not below 0"),
    "decision on nothing": (
        "version_decisions",
        changed(decisions=[["nowhere", "a", 1]]),
        "names a pair that no line",
    ),
    "unknown type": ("model_note", changed(type="surprise"), "no 'surprise' is known"),
    "out of order": ("version", changed(type="prompt"), "a prompt does not stand here"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_is_refused_with_its_line_and_nothing_is_written(other, tmp_path, name):
    kind, change, sentence = FORGED[name]
    lines = old_lines()
    place = next(i for i, line in enumerate(lines) if json.loads(line)["type"] == kind)
    lines[place] = json.dumps(change(json.loads(lines[place]))).encode() + b"\n"
    path = tmp_path / "forged.jsonl"
    path.write_bytes(b"".join(sealed(lines)))
    with pytest.raises(CommandError) as refused:
        imported(other, path)
    assert f"Line {place + 1}" in str(refused.value) and sentence in str(refused.value)
    assert not Prompt.objects.exists() and not Import.objects.exists()


BROKEN = {
    "cut off": (lambda lines: b"".join(lines[:-5]), "was cut off"),
    "cut within a line": (lambda lines: b"".join(lines)[:-400], "not valid JSON"),
    "only its first line": (lambda lines: lines[0] + lines[1], "was cut off"),
    "a line too few": (lambda lines: b"".join([*lines[:5], *lines[6:]]), "no line before it has"),
    "longer": (lambda lines: b"".join([*lines, lines[1]]), "lines behind the end"),
    "edited": (
        lambda lines: b"".join(lines).replace(b'"priority":', b'"margin":1.5,"priority":', 1),
        "another hash",
    ),
    "later": (
        lambda lines: b"".join(lines).replace(b'"format_version":1', b'"format_version":3'),
        "A later release wrote this project",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_not_as_it_was_written_is_refused(other, tmp_path, name):
    change, sentence = BROKEN[name]
    path = tmp_path / "broken.jsonl"
    path.write_bytes(change(old_lines()))
    with pytest.raises(CommandError, match=sentence):
        imported(other, path)
    assert not Prompt.objects.exists() and not Import.objects.exists()


def test_an_older_version_does_not_leave_as_a_project(lived, zed, api_for, client_for, tmp_path):
    sentence = "Choose the newest, version 3"
    with pytest.raises(CommandError, match=sentence):
        call_command(
            "export_data",
            *("--project", "desk", "--format", "project", "--version", "1"),
            *("--out", str(tmp_path / "x.jsonl")),
        )
    api, url = api_for(zed), "/api/v1/projects/desk/"
    answer = api.get(f"{url}export/?format=project&version=1")
    assert answer.status_code == 400 and sentence in answer.content.decode()
    answer = api.post(f"{url}exports/", {"format": "project", "version": 1}, format="json")
    assert answer.status_code == 400 and sentence in answer.content.decode()
    page = client_for(zed).get("/projects/desk/export/?format=project&version=1").text
    assert sentence in page


def test_a_project_leaves_by_rest_packed_and_comes_back_by_rest(lived, other, zed, api_for):
    api = api_for(zed)
    answer = api.get("/api/v1/projects/desk/export/?format=project&compression=gzip&version=3")
    packed = b"".join(answer.streaming_content)
    assert gzip.decompress(packed) == b"".join(lines_of(lived))
    assert answer["X-Pairloop-Pairs"] == str(lived.pairs.count())
    sent = api.post(
        "/api/v1/projects/other/imports/?name=desk.jsonl.gz&auto=1",
        packed,
        content_type="application/octet-stream",
    )
    assert sent.status_code == 202, sent.content
    work_off()
    assert lines_of(other)[1:] == lines_of(lived)[1:]
    at_once = api.post(
        "/api/v1/projects/other/import/", packed, content_type="application/x-ndjson"
    )
    assert at_once.status_code == 400 and "a whole project" in at_once.content.decode()
