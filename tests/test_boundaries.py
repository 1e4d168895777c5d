"""Who may import whom, held against the real imports: packages, doors and rooms."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STACK = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "crowdkit")
# The engine's doors for the Django side; run_directory is reached through round. Small files are
# written atomically, intervals computed, axes divided and model folders read by the same code on
# both sides.
DOORS = (
    *("config", "rows", "round", "acquire"),
    *("run.durable", "metrics.intervals", "metrics.svg_plots", "delivery.round_estimate"),
    *(
        "metrics.sequential_test",
        "metrics.prediction_powered",
        "delivery.licence_context_memory",
        "delivery.model_fingerprint",
        "delivery.model_folder_checks",
    ),
)
TORCH_FREE = (
    *(*DOORS, "run.run_directory", "run.work"),
    *("pipeline.commands", "pipeline.recipe"),
)

ROOMS: dict[str, tuple[str, ...]] = {
    "annotate": (
        *(
            "statements",
            "models",
            "webhooks",
            "text",
            "statistics",
            "votes",
            "exporting",
            "people",
            "audit",
        ),
        *("queue", "gold", "monitoring"),
        *(
            "review",
            "quality",
            "overview",
            "importing/problems",
            "importing/limits",
            "importing/files",
            "importing",
            "jobs",
            "sample",
            "exchange",
            "forms",
            "templatetags",
        ),
        *(
            "api",
            "api/protocol",
            "api/resources",
            "views/joining",
            "views",
            "views/integrations",
            "views/labelling",
            "views/reviewing",
            "page_urls",
            "urls",
        ),
        "management",
    ),
    "training": (
        *("models", "figures", "versions", "plans", "runs", "rounds", "active", "playground"),
        "monitoring",
        *(
            "completions",
            "dashboard",
            "backups",
            "setup",
            "ai_annotators",
            "worker",
            "forms",
            "templatetags",
            "api",
            "views/joining",
            "views",
            "urls",
            "management",
        ),
    ),
    "training/rlhf": (
        *(
            "config",
            "rows",
            "metrics",
            "acquisition",
            "acquire",
            "data",
            "run",
            "round",
            "language",
            "reward",
        ),
        *("completions", "annotation", "ppo", "trainers", "active", "evaluation", "delivery"),
        *("serving", "pipeline", "__main__"),
    ),
}
"""The rooms and doors of each package, lowest first: each imports from those before it."""
MOST_FILES = 14
REPEATED = ("__init__", "__main__", "urls", "apps", "forms")
"""Names that Django or Python asks for. A view or a command has the name of its page or its
command line, which may be that of the rules behind it."""


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Every module a file imports, at any depth; `from a import b` counts as a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what they cross"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offences(
    paths: Iterable[Path], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()
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
    crossed = offences(django_side, ("annotate", "training.rlhf"), allowed=doors)
    # `from annotate import exchange` also shows as `annotate`, the package itself.
    packages = tuple({f" {door.rpartition('.')[0]}" for door in doors})
    assert [line for line in crossed if not line.endswith(packages)] == []


def test_the_composition_root_imports_neither_app() -> None:
    assert offences(sources("config"), ("annotate", "training")) == []


# Rooms


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources("annotate", "training", "config")}


def imported(path: Path) -> set[str]:
    """Our modules that a file imports; of `from a import b` b where that is a module, else a.

    A package that a file is in does not count: its __init__ may offer what the file defines.
    """
    modules = set()
    for name in imports(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        modules.add(name)
    own = module_of(path)
    return {name for name in modules if name and not within(own, name)}


def package_of(path: Path) -> str:
    """The package of ROOMS that a file belongs to; "" of those that have no rooms."""
    of_file = [name for name in ROOMS if path.is_relative_to(ROOT / name)]
    return max(of_file, key=len, default="")


def room_of(path: Path) -> str:
    """The room or door that a file is in; "" of a package's own __init__ and apps.py."""
    package = package_of(path)
    place = path.relative_to(ROOT / package).with_suffix("").as_posix()
    rooms = [room for room in ROOMS[package] if place == room or place.startswith(room + "/")]
    return max(rooms, key=len, default="")


def test_every_file_is_in_a_room_or_is_a_door() -> None:
    assert [
        str(path.relative_to(ROOT))
        for path in sources("annotate", "training")
        if not room_of(path) and path.name not in ("__init__.py", "apps.py")
    ] == []


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_from_a_room_above_it(package: str) -> None:
    order = ROOMS[package]
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        if package_of(path) == package and room_of(path)
        for name in imported(path)
        if package_of(MODULES[name]) == package and room_of(MODULES[name])
        if order.index(room_of(MODULES[name])) > order.index(room_of(path))
    ]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Take away, again and again, what imports none of the rest or is imported by none of it: what
    stays are the circles."""
    needs = {name: imported(path) for name, path in MODULES.items()}
    while True:
        asked_for = set[str]().union(*needs.values())
        free = [name for name in needs if not needs[name] or name not in asked_for]
        if not free:
            break
        needs = {name: needs[name].difference(free) for name in needs if name not in free}
    assert sorted(needs) == []


def test_no_room_holds_more_files_than_the_eye_takes_in() -> None:
    folders = ("annotate", "training", "config", "benchmarks", "tests", "examples")
    rooms = Counter(str(path.parent.relative_to(ROOT)) for path in sources(*folders))
    assert {room: files for room, files in rooms.items() if files > MOST_FILES} == {}


def test_no_two_modules_share_a_name() -> None:
    names: dict[str, list[str]] = {}
    for path in MODULES.values():
        if path.stem not in REPEATED and not {"views", "commands"} & set(path.parts):
            names.setdefault(path.stem, []).append(str(path.relative_to(ROOT)))
    assert [paths for paths in names.values() if len(paths) > 1] == []


def test_every_room_says_in_two_lines_what_it_holds_and_what_it_may_import() -> None:
    folders = {
        path.parent
        for path in sources("annotate", "training")
        if room_of(path) and not {"management", "templatetags"} & set(path.parts)
    } - {ROOT / package for package in ROOMS}
    untold = []
    for folder in sorted(folders):
        told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
        lines = [line for line in told.splitlines() if line]
        if len(lines) < 2 or "import" not in told:
            untold.append(str(folder.relative_to(ROOT)))
    assert untold == []


# Loading


def test_the_web_side_can_use_the_engines_doors_without_torch() -> None:
    """In one process, which names the first door that loads the stack."""
    program = (
        "import importlib, sys\n"
        f"for module in {TORCH_FREE}:\n"
        "    importlib.import_module(f'training.rlhf.{module}')\n"
        "    assert not {'torch', 'transformers', 'trl'} & set(sys.modules), module\n"
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


# Documents


def rooms_and_doors() -> Iterator[Path]:
    """The folders and the single files of ROOMS."""
    for package, rooms in ROOMS.items():
        for room in rooms:
            place = ROOT / package / room
            yield place if place.is_dir() else place.with_suffix(".py")


def test_the_page_on_architecture_lists_every_room_and_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = {path for path in rooms_and_doors() if path.is_dir() and path.parent.name != "views"}
    of_package = re.split(r"^### (.+)$", page.split("## The life of a vote")[0], flags=re.MULTILINE)
    listed = [
        ROOT / package / room
        for package, table in zip(of_package[1::2], of_package[2::2], strict=True)
        for room in re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE)
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == rooms | {ROOT / "training" / "rlhf" / "recipes"}
    order = list(rooms_and_doors())
    assert [order.index(path) for path in listed if path in rooms] == sorted(
        order.index(path) for path in rooms
    ), "rooms stand in the order in which they may import"
    files = re.findall(r"`([\w/]+/\w+\.(?:py|js))`", page.split("## The life of a vote")[1])
    assert len(files) > 30
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_the_tree_in_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    tree = readme.split("## Where things are")[1].split("```")[1]
    parents: list[str] = []
    named = set()
    for line in filter(str.strip, tree.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0].rstrip("/")
        parents[depth:] = [name]
        named.add(ROOT.joinpath(*parents))
        assert len(line.split()) > 1, f"{name}: what is it?"
    assert [str(path) for path in sorted(named) if not path.exists()] == []
    rooms = {path for path in rooms_and_doors() if path.is_dir() and path.parent.name != "views"}
    assert sorted(rooms - named) == []
