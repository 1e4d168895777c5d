"""docs/engine.md: signatures, fields and errors are those of the engine, and its snippets run."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.training.rlhf import tiny, world
from training.rlhf import rows

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "engine.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DECLARED = [block for block in BLOCKS if block.startswith("# training.rlhf.")]
SNIPPETS = [block for block in BLOCKS if block not in DECLARED]


@pytest.mark.parametrize("block", DECLARED, ids=lambda block: block.splitlines()[0][2:])
def test_what_the_page_declares_is_what_the_module_has(block: str, tmp_path: Path) -> None:
    module = importlib.import_module(block.splitlines()[0].removeprefix("# "))
    page = executed(block, tmp_path)
    names = [name for name, value in page.items() if inspect.isclass(value) or callable(value)]
    assert names
    for name in names:
        assert_alike(page[name], getattr(module, name), f"{module.__name__}.{name}")


def executed(code: str, folder: Path) -> dict[str, Any]:
    """Run code of the page as a program; the names that it leaves."""
    file = folder / "page.py"
    file.write_text(f"from __future__ import annotations\n{code}", "utf-8")
    names = runpy.run_path(str(file))
    return {name: value for name, value in names.items() if not name.startswith("__")}


def assert_alike(page: Any, program: Any, where: str) -> None:
    if not inspect.isclass(page):
        assert inspect.signature(page) == inspect.signature(program), where
        return
    for name, kind in inspect.get_annotations(page).items():
        assert inspect.get_annotations(program)[name] == kind, f"{where}.{name}"
        assert getattr(program, name, None) == getattr(page, name, None), f"{where}.{name}"
    methods = [name for name, value in vars(page).items() if inspect.isroutine(getattr(page, name))]
    for name in methods:
        if name.startswith("__") and name != "__init__":
            continue
        assert_alike(getattr(page, name), getattr(program, name), f"{where}.{name}")


def test_every_error_on_the_page_is_in_its_table_and_exists() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", PAGE, re.MULTILINE))
    for name, module in table.items():
        assert issubclass(getattr(importlib.import_module(module), name), Exception)
    raised = re.findall(r"^Raises: (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert len(raised) == 9
    assert {name for line in raised for name in re.findall(r"`(\w+)`", line)} == set(table)


def test_the_snippets_of_the_page_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer updates and smaller batches, on a tiny model."""
    monkeypatch.chdir(tmp_path)
    tiny.brief(tmp_path / "model")
    rows.write("pairs.jsonl", world.chosen_and_rejected(32))
    rows.write("prompts.jsonl", world.prompts(8))
    program = "\n".join(SNIPPETS).replace("updates=50", "updates=1")
    executed(program, tmp_path)
    for folder in ("starter", "reward", "ppo", "dpo"):
        assert list((tmp_path / "runs" / folder / "model").glob("*.safetensors"))
    assert (tmp_path / "runs" / "compared" / "report.html").exists()
