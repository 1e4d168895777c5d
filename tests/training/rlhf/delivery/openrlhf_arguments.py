"""The arguments of a release of OpenRLHF, read from its source without importing it.

    pip download --no-deps openrlhf==0.11.2
    python -m tests.training.rlhf.delivery.openrlhf_arguments openrlhf-0.11.2-*.whl

writes openrlhf_arguments.json beside this file, which a test holds our commands against.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".json")
PROGRAMS = ("train_rm", "train_ppo_ray")
KEPT = ("type", "default", "action", "nargs", "choices", "required")


def arguments(source: str) -> dict[str, dict[str, Any]]:
    """What each `add_argument` of a program says, by the option's name."""
    return {
        _text(call.args[0], known).removeprefix("--"): {
            word.arg: _value(word.value) for word in call.keywords if word.arg in KEPT
        }
        for call, known in _calls(ast.parse(source), {})
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
    }


def _calls(node: ast.AST, known: dict[str, str]) -> Iterator[tuple[ast.Call, dict[str, str]]]:
    """Every call, once for each turn of the loops over texts that it stands in, with their
    variables."""
    if isinstance(node, ast.Call):
        yield node, known
    turns = [known]
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
        turns = [{**known, ast.unparse(node.target): text} for text in _value(node.iter)]
    for turn in turns:
        for child in ast.iter_child_nodes(node):
            yield from _calls(child, turn)


def _text(node: ast.expr, known: dict[str, str]) -> str:
    if not isinstance(node, ast.JoinedStr):
        return str(ast.literal_eval(node))
    parts = (
        known[ast.unparse(part.value)] if isinstance(part, ast.FormattedValue) else _value(part)
        for part in node.values
    )
    return "".join(parts)


def _value(node: ast.expr) -> Any:
    """A literal as it is, else how it is written: `int` of a type, a call of a default."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def table(wheel: Path) -> dict[str, Any]:
    archive = zipfile.ZipFile(wheel)
    read: dict[str, Any] = {"release": "-".join(wheel.name.split("-")[:2])}
    for program in PROGRAMS:
        (name,) = (one for one in archive.namelist() if one.endswith(f"openrlhf/cli/{program}.py"))
        read[program] = arguments(archive.read(name).decode())
    return read


if __name__ == "__main__":
    written = table(Path(sys.argv[1]))
    TABLE.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{TABLE.name}: {written['release']}, {[len(written[name]) for name in PROGRAMS]}")
