"""docs/extending.md: every example of the page, put into a copy of the project and used there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
PRODUCT = ("annotate", "training", "config", "templates", "static", "tests/extending")
FILES = (
    "manage.py",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/training/__init__.py",
    "tests/training/history.py",
    "tests/training/rlhf/__init__.py",
    "tests/training/rlhf/tiny.py",
    "tests/training/rlhf/world.py",
)
KINDS = (
    *("a stage", "a command", "an optimiser", "an acquisition", "a reward", "a metric"),
    *("a vote scale", "an import format", "a file format", "an export format", "a gate", "a page"),
)
LONGEST = 15
"""Lines of an example, all its blocks together; the lines that tell the place do not count."""


class Block(NamedTuple):
    """A piece of an example: where it goes, and its lines."""

    file: str
    where: str
    """above, in, or nothing: the end of the file."""
    table: str
    lines: list[str]


def sections() -> dict[str, str]:
    """Text of every section by its heading."""
    _, *parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(text: str) -> Iterator[Block]:
    for code in re.findall(r"^```(?:python|html)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        first, *lines = code.splitlines()
        place = re.fullmatch(r"(?:# |\{# )([\w./]+)(?:, (above|in) (\w+))?(?: #\})?", first)
        assert place, f"{first!r} names no place"
        yield Block(place[1], place[2] or "", place[3] or "", lines)


def put(block: Block, copy: Path) -> None:
    """Write a block to its place."""
    path = copy / block.file
    before = path.read_text("utf-8").splitlines() if path.exists() else []
    if not block.where:
        gap = ["", ""] if before and path.suffix == ".py" else []
        after = [*before, *gap, *block.lines]
    else:
        node = definition(path, block.table)
        if block.where == "above":
            line = node.lineno - 1
            while before[line - 1].startswith("#"):  # the comment belongs to the table
                line -= 1
            added = [*block.lines, "", ""]
        else:
            assert node.end_lineno
            line = node.end_lineno
            added = [f"    {text}".rstrip() for text in block.lines]
            if not isinstance(node, ast.ClassDef):
                line -= 1
                assert before[line] in (")", "]", "}"), f"{block.file}: {block.table} is one line"
                added[-1] += ","
        after = [*before[:line], *added, *before[line:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(after) + "\n", "utf-8")


def definition(path: Path, name: str) -> ast.stmt:
    """The statement of a module that defines a table or a class."""
    for node in ast.parse(path.read_text("utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        names = {getattr(target, "id", getattr(target, "name", "")) for target in targets}
        if name in names:
            return node
    raise AssertionError(f"{path} has no {name}")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with every example of the page."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in PRODUCT:
        # With times and compiled files: only what an example changes is compiled again.
        shutil.copytree(ROOT / folder, copy / folder)
    for file in FILES:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    for block in blocks(PAGE):
        put(block, copy)
    return copy


def use(code: str, copy: Path, home: Path) -> None:
    """Run Python code in the copy, where nothing of this project can be imported."""
    dropped = ("PYTHONPATH", "SECRET_KEY", "DJANGO_ALLOW_ASYNC_UNSAFE")
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    environment |= {"PAIRLOOP_HOME": str(home), "DATABASE_URL": "", "HF_HUB_OFFLINE": "1"}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", code]
    assert in_copy(command, copy, environment).returncode == 0


def in_copy(
    command: list[str], copy: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the copy; pytest shows what it writes."""
    return subprocess.run(command, cwd=copy, env=environment, check=False)


def test_every_kind_has_a_section_with_an_example_of_few_lines() -> None:
    assert [title.lower() for title in sections()] == list(KINDS)
    for title, text in sections().items():
        lengths = [len(block.lines) for block in blocks(text)]
        assert lengths and sum(lengths) <= LONGEST, f"{title}: {lengths}"
        assert "By itself:" in text


def test_the_examples_are_formatted_like_the_project(copy: Path) -> None:
    touched = sorted({block.file for block in blocks(PAGE) if block.file.endswith(".py")})
    for how in (["check", "--quiet"], ["format", "--diff", "--quiet"]):
        assert in_copy([sys.executable, "-m", "ruff", *how, *touched], copy).returncode == 0


def test_the_examples_of_the_engine_work(copy: Path, tmp_path: Path) -> None:
    use("from tests.extending import engine_examples as e; e.use_all()", copy, tmp_path)


def test_the_examples_of_the_web_side_work(
    copy: Path, tmp_path: Path, transactional_db: None
) -> None:
    if connection.vendor == "sqlite":  # migrated already, which takes seconds
        with closing(sqlite3.connect(connection.settings_dict["NAME"])) as migrated:
            migrated.execute("VACUUM INTO ?", [str(tmp_path / "db.sqlite3")])
    set_up = "import django; django.setup(); "
    use(set_up + "from tests.extending import web_examples as e; e.use_all()", copy, tmp_path)
