"""Lengths of the product's files and functions, printed: they describe the code and decide nothing.

`python -m tests.lengths` prints one line per package, then what is longest in it. A function of 45
lines that reads in one go beats three pieces that do not, so no test asserts any of this.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "annotate": ("annotate", ()),
    "training, web side": ("training", ("rlhf",)),
    "training/rlhf": ("training/rlhf", ()),
    "benchmarks": ("benchmarks", ()),
}
"""Name to folder, and the folders in it that are counted apart. Migrations are left out."""
LONGEST = 3


@dataclass(frozen=True)
class Length:
    """Something of the code and its lines."""

    name: str
    lines: int


def sources(folder: str, apart: tuple[str, ...] = ()) -> Iterator[Path]:
    """The Python files below a folder, in order."""
    left_out = {"migrations", *apart}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not left_out & set(path.relative_to(ROOT / folder).parts):
            yield path


def files(paths: list[Path]) -> list[Length]:
    """The files by their lines, longest first."""
    measured = [
        Length(str(path.relative_to(ROOT)), path.read_text("utf-8").count("\n")) for path in paths
    ]
    return sorted(measured, key=lambda one: -one.lines)


def functions(paths: list[Path]) -> list[Length]:
    """The functions by their lines, docstring included and decorators not, longest first."""
    measured = [
        Length(f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(measured, key=lambda one: -one.lines)


def quantile(lengths: list[Length], share: float) -> int:
    """The length that `share` of `lengths` do not exceed; 0 of none."""
    ordered = sorted(one.lines for one in lengths)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def describe(name: str, lengths: list[Length]) -> str:
    """One line: how many there are, median, 95th percentile and the longest ones."""
    longest = ", ".join(f"{one.name} {one.lines}" for one in lengths[:LONGEST])
    return (
        f"{name:<20} {len(lengths):>5}   median {quantile(lengths, 0.5):>3}   "
        f"p95 {quantile(lengths, 0.95):>3}   longest {longest}"
    )


def main() -> None:
    """Print the lengths of every package."""
    paths = {name: list(sources(*where)) for name, where in PACKAGES.items()}
    for title, measure in (("Files, in lines", files), ("Functions, in lines", functions)):
        print(title)
        for name, of_package in paths.items():
            print(" ", describe(name, measure(of_package)))


if __name__ == "__main__":
    main()
