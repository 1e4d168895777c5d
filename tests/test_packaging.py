"""The wheel: the engine alone, usable from any folder without the web side and its packages."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WEB = ("django", "rest_framework", "huey", "annotate", "config")
BASE = {"numpy", "pyyaml", "rich"}
"""What comes with a plain `pip install .`, beside what these need."""
WITH_BASE = BASE | {"markdown-it-py", "mdurl", "pygments"}
BLOCKER = """
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
"""A sitecustomize.py under which packages cannot be imported, installed or not."""
OPTIONAL = {"bitsandbytes", "mlflow", "trackio", "wandb", "torch.utils.tensorboard"}
TYPES = {"django_stubs_ext"}
"""Imported for the type checker alone."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip does it, from a copy: setuptools leaves its own folders in the source tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in ("pyproject.toml", "README.md", "LICENSE", *ROOT.glob("requirements*.txt")):
        shutil.copy(ROOT / path, source)
    for package in ("annotate", "config", "training", "templates", "static"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, and with BLOCKER."""
    target = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    (target / "sitecustomize.py").write_text(BLOCKER)
    return target


@pytest.fixture(scope="module")
def beyond_base() -> tuple[str, ...]:
    """Every package that a plain `pip install .` does not bring."""
    known = packages_distributions().items()
    return WEB + tuple(name for name, of in known if not set(map(plain, of)) & WITH_BASE)


def python(
    installed: Path, *arguments: str, cwd: Path, blocked: tuple[str, ...] = WEB
) -> subprocess.CompletedProcess[str]:
    """Run Python in another folder, with the installed engine and without `blocked`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed), "BLOCKED": " ".join(blocked)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_every_file_of_the_engine_and_nothing_else(wheel: Path) -> None:
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    engine = ROOT / "training" / "rlhf"
    expected = (path for path in engine.rglob("*") if path.suffix in (".py", ".yaml", ".typed"))
    assert files == {path.relative_to(ROOT).as_posix() for path in expected}


def test_the_extras_are_the_requirements_files(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
    lines = re.findall(r"^Requires-Dist: (.*)$", archive.read(name).decode(), re.MULTILINE)
    extras: dict[str, set[str]] = {}
    for line in lines:
        package, _, extra = line.partition("; extra == ")
        extras.setdefault(extra.strip('"'), set()).add(re.sub(r"\[.*\]", "", package).lower())
    web, engine = (pins(f"requirements-{part}.txt") for part in ("web", "engine"))
    assert extras == {
        "": BASE,
        "web": web,
        "engine": engine,
        "all": web | engine,
    }
    assert not any(line.startswith("django") for line in engine)


def pins(file: str) -> set[str]:
    text = (ROOT / file).read_text("utf-8")
    return {f"{name}=={pin}".lower() for name, pin in re.findall(r"(?m)^([\w.-]+)\S*==(\S+)", text)}


def test_the_list_of_commands_is_shown_in_any_folder_with_the_base_alone(
    installed: Path, beyond_base: tuple[str, ...], tmp_path: Path
) -> None:
    done = python(installed, "-m", "training.rlhf", "--help", cwd=tmp_path, blocked=beyond_base)
    assert done.returncode == 0, done.stderr
    assert "improve a policy against a reward model" in done.stdout


def test_the_doors_of_the_engine_need_the_base_alone(
    installed: Path, beyond_base: tuple[str, ...], tmp_path: Path
) -> None:
    program = (
        "import training.rlhf; from training.rlhf import acquire, config, round, rows; "
        "print(training.rlhf.__file__)"
    )
    done = python(installed, "-c", program, cwd=tmp_path, blocked=beyond_base)
    assert done.stdout.startswith(str(installed)), done.stderr


def test_a_recipe_that_comes_along_is_found_by_its_name(installed: Path, tmp_path: Path) -> None:
    command = ("-m", "training.rlhf", "recipe", "textbook", "--out", "runs")
    done = python(installed, *command, cwd=tmp_path)
    assert done.returncode == 2
    assert "pairs.json" in done.stderr, "the recipe was read, and says which of its files is gone"


def test_a_command_without_its_packages_says_what_to_install(
    installed: Path, beyond_base: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "chats.jsonl").write_text('{"prompt": "Hello?", "completion": "Hello."}\n')
    (tmp_path / "sft.yaml").write_text("sft: {data: chats.jsonl}\n")
    command = ("-m", "training.rlhf", "sft", "--config", "sft.yaml", "--out", "starter")
    done = python(installed, *command, cwd=tmp_path, blocked=beyond_base)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("is not installed: pip install -r requirements-engine.txt")
    assert last.startswith("error: ") and "Traceback" not in done.stderr


def test_the_web_side_without_django_says_what_to_install(installed: Path) -> None:
    done = python(installed, "manage.py", "check", cwd=ROOT, blocked=("django",))
    assert done.returncode == 1
    assert done.stderr == "Django is not installed: pip install -r requirements-web.txt\n"


def third_party(*paths: Path) -> Iterator[tuple[str, str]]:
    """Every package that files import from, with the file."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                ours = top in ("annotate", "config", "training", "manage")
                if not ours and top not in sys.stdlib_module_names and name not in OPTIONAL | TYPES:
                    yield top, str(path.relative_to(ROOT))


def test_each_part_lists_the_packages_that_it_imports() -> None:
    engine = set((ROOT / "training" / "rlhf").rglob("*.py"))
    every = {
        path for name in ("annotate", "config", "training") for path in (ROOT / name).rglob("*.py")
    }
    distributions = packages_distributions()
    for part, files in (("engine", engine), ("web", every - engine)):
        listed = {plain(pin.partition("==")[0]) for pin in pins(f"requirements-{part}.txt")}
        for package, file in third_party(*files):
            names = {plain(name) for name in distributions.get(package, [package])}
            assert names & listed, f"{file} imports {package}"


def plain(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
