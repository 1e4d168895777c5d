"""Who may import whom, held against the real imports; and the length budget."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STACK = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "crowdkit")
TORCH_FREE = (
    "config",
    "rows",
    "run.run_directory",
    "run.durable",
    "metrics.intervals",
    "round",
    "acquire",
)
# The engine's doors for the Django side; run_directory is reached through round. Small files are
# written atomically, and intervals computed, by the same code on both sides.
DOORS = ("config", "rows", "round", "acquire", "run.durable", "metrics.intervals")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module a file imports, at any depth; `from a import b` counts as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what they cross"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offences(
    paths: Iterator[Path], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()
) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if any(within(name, package) for package in forbidden)
        and not any(within(name, package) for package in allowed)
    ]


def test_annotate_never_imports_training_or_the_training_stack() -> None:
    assert offences(sources("annotate"), ("training", *STACK)) == []


def test_the_engine_never_imports_the_web_side() -> None:
    forbidden = ("django", "rest_framework", "huey", "annotate", "training", "config")
    assert offences(sources("training/rlhf"), forbidden, allowed=("training.rlhf",)) == []


def test_the_training_app_enters_annotate_and_the_engine_only_by_their_doors() -> None:
    django_side = (path for path in sources("training") if "rlhf" not in path.parts)
    doors = ("annotate.exchange", *(f"training.rlhf.{name}" for name in DOORS))
    found = offences(django_side, ("annotate", "training.rlhf"), allowed=doors)
    # `from annotate import exchange` also shows as `annotate`, the package itself.
    packages = tuple({f" {door.rpartition('.')[0]}" for door in doors})
    assert [line for line in found if not line.endswith(packages)] == []


def test_the_composition_root_imports_neither_app() -> None:
    assert offences(sources("config"), ("annotate", "training")) == []


@pytest.mark.parametrize("module", TORCH_FREE)
def test_the_web_side_can_use_the_engines_doors_without_torch(module: str) -> None:
    program = (
        f"import sys, training.rlhf.{module}; "
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_web_process_with_all_urls_loaded_has_not_imported_torch() -> None:
    program = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; "
        "import config.wsgi; from django.urls import get_resolver; "
        "get_resolver()._populate(); get_resolver().url_patterns; "
        "loaded = {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def functions() -> Iterator[tuple[str, int, int]]:
    """Every function of the product: where it is, its length and its budget."""
    for path in sources("annotate", "training", "config", "benchmarks"):
        if "migrations" in path.parts:
            continue
        budget = 60 if "rlhf" in path.parts or "benchmarks" in path.parts else 40
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(ROOT)}:{node.name}", length, budget


def test_functions_stay_short_enough_to_read() -> None:
    assert [
        f"{where} has {length} lines" for where, length, most in functions() if length > most
    ] == []


def test_files_stay_short_enough_to_read() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n")
        for path in sources("annotate", "training", "config", "benchmarks")
        if "migrations" not in path.parts
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
