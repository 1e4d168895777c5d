"""A file on its way into a project in a browser: dropped, asked about, mapped, imported, undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect
from pytest_django import Settings

from annotate.jobs import upload_files
from annotate.models import Import, Pair, Project
from tests.annotate.jobs.files import lines, pair, work_off
from tests.browser.accessibility import violations_in_both_schemes

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]
URL = "/projects/desk/import/"
BROKEN = "Failed to load resource: net::ERR_FAILED"
DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const place = document.querySelector(".drop");
  for (const kind of ["dragover", "drop"]) {
    const options = { dataTransfer: data, bubbles: true, cancelable: true };
    place.dispatchEvent(new DragEvent(kind, options));
  }
}"""


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    settings.MIN_FREE_GB = 0.0
    return tmp_path


def checks(page: Page) -> list[str]:
    """What is wrong with the page in either scheme, and whether it is wider than a phone."""
    problems = violations_in_both_schemes(page)
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": 360, "height": 740})
    if page.evaluate("document.documentElement.scrollWidth") > 360:
        problems.append("it scrolls sideways")
    page.set_viewport_size(size)
    return problems


def worked_off(page: Page) -> None:
    """The page after a worker has done what waits; it goes on by itself."""
    expect(page.locator("#progress")).to_be_visible()
    work_off()
    expect(page.locator("#progress")).to_have_count(0)


def test_a_file_is_dropped_asked_about_mapped_imported_and_taken_back(
    browse: Browse, project: Project, zed: User
) -> None:
    rows: list[dict[str, Any]] = [
        {"ask": f"What is {i}?", "choosen": f"It is {i}.", "poor": f"No {i}.", "who": "u1"}
        for i in range(9)
    ]
    page = browse(zed)
    page.goto(URL)
    assert checks(page) == []
    page.evaluate(DROP, ["answers.jsonl", lines(*rows).decode()])
    page.wait_for_url("**/import/*-*/")
    expect(page.get_by_role("heading", name="answers.jsonl")).to_be_visible()
    worked_off(page)
    expect(page.get_by_text("0 pairs.")).to_be_visible()
    assert checks(page) == []
    question = page.get_by_role("group", name="the field chosen?")
    question.get_by_label("Yes").check()
    expect(page.get_by_role("button", name="Import ")).to_be_disabled()
    page.get_by_role("group", name="the field prompt?").get_by_label("Yes").check()
    page.get_by_label("rejected", exact=True).select_option("poor")
    page.get_by_label("rater", exact=True).select_option("who")
    page.get_by_role("button", name="Answer").click()
    worked_off(page)
    expect(page.get_by_role("article", name="Pair 5")).to_contain_text("What is 4?")
    expect(page.get_by_role("article")).to_have_count(5)
    assert checks(page) == []
    page.get_by_role("button", name="Import 9 pairs").click()
    expect(page.locator("#progress")).to_contain_text("Waiting for a worker")
    assert checks(page) == []
    worked_off(page)
    expect(page.get_by_role("status")).to_contain_text("9 pairs, 9 votes")
    assert Pair.objects.count() == 9
    assert checks(page) == []
    page.get_by_text("Undo this import").click()
    page.get_by_role("button", name="Remove 9 pairs").click()
    worked_off(page)
    expect(page.get_by_role("status")).to_contain_text("Taken back")
    assert not Pair.objects.exists()
    page.goto(URL)
    expect(page.get_by_role("row", name="answers.jsonl")).to_contain_text("taken back")
    assert checks(page) == []


def test_sending_goes_on_where_it_broke_off_also_after_the_page_was_loaded_again(
    browse: Browse, project: Project, zed: User, tmp_path: Path, console: list[str]
) -> None:
    body = lines(*(pair(i) for i in range(2000)))
    path = tmp_path / "big.jsonl"
    path.write_bytes(body)
    page = browse(zed)
    sent: list[str | None] = []
    gone = [True]

    def breaking(route: Route) -> None:
        sent.append(route.request.headers.get("upload-offset"))
        if gone[0] and len(sent) >= 3:
            route.abort()
        else:
            route.continue_()

    def chosen() -> None:
        page.locator(".drop").evaluate("form => { form.dataset.piece = 20000; }")
        page.locator("#file").set_input_files(path)

    page.route("**/uploads/*-*/", breaking)
    page.goto(URL)
    chosen()
    expect(page.get_by_text("The connection broke")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    assert upload_files.offset(Import.objects.get()) == 40000
    gone[0] = False
    page.goto(URL)
    expect(page.get_by_text("Choose the file again to go on")).to_be_visible()
    chosen()
    page.wait_for_url("**/import/*-*/")
    work_off()
    import_ = Import.objects.get()
    assert import_.report["check"]["report"]["added"]["pairs"] == 2000
    assert sent[:3] == ["0", "20000", "40000"] and sent.count("0") == 1
    console[:] = [line for line in console if line != BROKEN]


def test_what_the_server_refuses_is_said_and_not_tried_again(
    browse: Browse, project: Project, zed: User, settings: Settings, console: list[str]
) -> None:
    settings.MIN_FREE_GB = 1e9
    page = browse(zed)
    page.goto(URL)
    page.evaluate(DROP, ["nothing.jsonl", ""])
    expect(page.get_by_text("nothing.jsonl is empty")).to_be_visible()
    page.evaluate(DROP, ["x.jsonl", "{}"])
    expect(page.get_by_text("not enough room")).to_be_visible()
    expect(page.get_by_role("button", name="Go on")).to_have_count(0)
    assert len(console) == 1 and "400" in console.pop()


def test_only_one_file_is_sent_and_what_else_is_dropped_is_told_what_to_do(
    browse: Browse, project: Project, zed: User, tmp_path: Path
) -> None:
    paths = [str(tmp_path / name) for name in ("one.jsonl", "two.jsonl", "folder")]
    for path in paths[:2]:
        Path(path).write_bytes(lines(pair()))
    Path(paths[2]).mkdir()
    page = browse(zed)
    page.goto(URL)
    box = page.locator(".drop").bounding_box()
    assert box is not None
    for files, said in (
        (paths[:2], "These are 2 files, and one is imported at a time"),
        (paths[2:], "This is a folder. Pack it into a ZIP archive"),
    ):
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            page.context.new_cdp_session(page).send(
                "Input.dispatchDragEvent",
                {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20, "data": data},
            )
        expect(page.get_by_text(said)).to_be_visible()
    assert not Import.objects.exists()


def test_who_sent_too_many_files_is_told_when_the_next_one_is_taken(
    browse: Browse, project: Project, zed: User, console: list[str]
) -> None:
    page = browse(zed)
    page.goto(URL)
    page.route(
        "**/uploads/",
        lambda route: route.fulfill(status=429, headers={"Retry-After": "3000"}, body="{}"),
    )
    page.evaluate(DROP, ["x.jsonl", "{}"])
    expect(page.get_by_text("the server takes the next one in 50 minutes")).to_be_visible()
    assert len(console) == 1 and "429" in console.pop()


def test_everything_works_without_scripts(
    browse: Browse, project: Project, zed: User, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(pair(i)) for i in range(3)))
    page = browse(zed, java_script_enabled=False)
    page.goto(URL)
    page.locator("#file").set_input_files(path)
    page.get_by_role("button", name="Send and check").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    work_off()
    page.reload()
    page.get_by_role("button", name="Import 3 pairs").click()
    work_off()
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("3 pairs")
    assert Pair.objects.count() == 3


def test_a_file_is_chosen_and_imported_by_keys_alone(
    browse: Browse, project: Project, zed: User, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(pair()))
    page = browse(zed)
    # From the start: asked for with the key alone, choosers are caught too late now and then.
    page.on("filechooser", lambda _: None)
    page.goto(URL)
    page.locator("#file").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(path)
    page.wait_for_url("**/import/*-*/")
    worked_off(page)
    button = page.get_by_role("button", name="Import 1 pair")
    for _ in range(40):
        if button.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    worked_off(page)
    assert Pair.objects.count() == 1


def test_a_file_that_is_chosen_before_the_page_listens_is_sent(
    browse: Browse, project: Project, zed: User, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(pair()))
    page, held = browse(zed), list[Route]()
    page.route("**/js/uploading*.js", lambda route: held.append(route))
    page.goto(URL, wait_until="commit")
    page.locator("#file").set_input_files(path)
    page.wait_for_timeout(100)
    held[0].continue_()
    page.wait_for_url("**/import/*-*/")
