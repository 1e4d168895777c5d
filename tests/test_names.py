"""How the product names and describes its parts."""

from __future__ import annotations

import ast
import functools
import itertools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("annotate", "training", "config")
ASKING = ("What", "Which", "How", "Whether", "Where", "Who", "When")


@functools.cache
def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the product, by its path."""
    paths = [
        path
        for folder in (*OURS, "benchmarks", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    ]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))) for path in paths]


def test_descriptions_begin_with_the_thing_and_not_with_a_question() -> None:
    described = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    assert [
        f"{path}: {text.splitlines()[0]}"
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, described) and (text := ast.get_docstring(node))
        if text.split()[0] in ASKING
    ] == []


def described_values(module: ast.Module) -> list[str]:
    """Descriptions below constants and fields, which Python drops."""
    bodies = [node.body for node in ast.walk(module) if isinstance(node, ast.Module | ast.ClassDef)]
    return [
        after.value.value
        for body in bodies
        for before, after in itertools.pairwise(body)
        if isinstance(before, ast.Assign | ast.AnnAssign)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(after.value.value, str)
    ]


def test_descriptions_of_constants_and_fields_begin_with_the_thing_too() -> None:
    texts = [(path, text) for path, module in modules() for text in described_values(module)]
    assert len(texts) > 500
    assert [f"{path}: {text}" for path, text in texts if text.split()[0] in ASKING] == []


def test_functions_say_what_they_do_and_names_what_they_hold() -> None:
    """`run` may do anything, and whatever is in `found` was found."""
    nameless = []
    for path, module in modules():
        nameless += [
            f"{path}: run"
            for node in module.body
            if isinstance(node, ast.FunctionDef) and node.name == "run"
        ]
        nameless += [
            f"{path}:{node.lineno}: found"
            for node in ast.walk(module)
            if isinstance(node, ast.Name) and node.id == "found"
            if isinstance(node.ctx, ast.Store)
        ]
    assert nameless == []


def test_our_own_modules_are_imported_by_their_names() -> None:
    assert [
        f"{path}:{node.lineno}: {name.name} as {name.asname}"
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS
        for name in node.names
        if name.asname
    ] == []
