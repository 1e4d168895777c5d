from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from training.rlhf.metrics import intervals
from training.rlhf.pipeline import recipe_report
from training.rlhf.run.run_directory import RunDirectory


def test_phases_of_one_command_stand_side_by_side(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    numbers = {"full": {"loss": 1.0, "weights_mb": 8.0}, "part": {"loss": 1.5}, "other": {"n": 1.0}}
    with run.claim():
        for stage, metrics in numbers.items():
            run.partial(stage)
            command = "save" if stage == "other" else "sft"
            run.publish(stage, run.meta(stage, {}, {}, metrics) | {"recipe": {"command": command}})
    recipe_report.write(run, list(numbers))
    text, page = (tmp_path / "README.md").read_text(), (tmp_path / "report.html").read_text()
    assert "| metric | full | part |\n|---|---|---|\n| loss | 1 | 1.5 |" in text
    assert "| weights_mb | 8 |  |" in text and "save: side by side" not in text
    assert '<th scope="col">full</th><th scope="col">part</th>' in page
    assert "<td>1</td><td>1.5</td>" in page


def test_the_page_shows_losses_accuracies_and_the_way_to_the_comparison(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    accuracy = {"accuracy": 0.75, "pairs_held_out": 40.0, "ece": float("nan")}
    with run.claim():
        for stage, metrics in (("reward_model", accuracy), ("comparison", {"prompts": 8.0})):
            out = run.partial(stage)
            if stage == "comparison":
                (out / "report.html").write_text("<p>Comparison")
            else:
                run.record(stage, 1, {"loss": 0.7})
                run.record(stage, 2, {"loss": 0.4})
            meta = run.meta(stage, {}, {}, metrics) | {"recipe": {"command": "x"}}
            run.publish(stage, meta)
    recipe_report.write(run, ["reward_model", "comparison"])
    page = (tmp_path / "report.html").read_text()
    assert page.count("<polyline") == 1 and page.count("<figure>") == 2
    low, high = intervals.wilson(0.75, 40)
    assert f"0.75 ({low:.4g} to {high:.4g})" in page and "not a number" in page
    assert 'href="comparison/report.html"' in page and "Still to run" not in page
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.append(tag)
            assert tag not in ("script", "img", "link"), "nothing from elsewhere"

    Reader().feed(page)
    assert opened.count("h2") == 2
