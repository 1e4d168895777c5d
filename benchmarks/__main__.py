"""`python -m benchmarks [NAME ...]`: run benchmarks and store their figures.

One module per published figure, each with `run(arguments) -> Result`; without names, all but
one that sets up another engine's environment and one that fills the disk.
Each writes var/bench/NAME.json: name, figures, intervals and the environment.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
from importlib import metadata
from pathlib import Path

import benchmarks
from benchmarks.result import Result

HOME = Path(os.environ.get("PAIRLOOP_HOME", Path(__file__).resolve().parent.parent / "var"))
PACKAGES = ("Django", "torch", "transformers", "trl", "numpy", "psycopg")


BY_NAME_ALONE = {"ppo_vs_trl", "upload_memory"}


IN_ROOMS = {"active": "benchmarks.learning.active"}


def names() -> list[str]:
    hidden = {"__main__", "result"}
    modules = pkgutil.iter_modules(benchmarks.__path__)
    plain = [m.name for m in modules if not m.ispkg and m.name not in hidden]
    return sorted([*plain, *IN_ROOMS])


def environment() -> dict[str, str]:
    """What the figures depend on besides the code."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        **versions,
    }


def store(name: str, result: Result) -> None:
    folder = HOME / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"name": name, **result.as_dict(), "environment": environment()}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def table(name: str, result: Result) -> None:
    print(f"\n{name}")
    for key, value in result.figures.items():
        interval = result.intervals.get(key)
        spread = f"   [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else ""
        print(f"  {key:<48} {value:>12.5g}{spread}")


def main(arguments: list[str]) -> int:
    chosen = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(names())}")
        return 2
    for name in chosen or [name for name in names() if name not in BY_NAME_ALONE]:
        print(f"running {name} ...", flush=True)
        result = importlib.import_module(IN_ROOMS.get(name, f"benchmarks.{name}")).run(options)
        store(name, result)
        table(name, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
