"""`python -m benchmarks [NAME ...]`: run benchmarks and store their figures.

One module per published figure, each with `benchmark(arguments) -> Result`; without names, all but
one that sets up another engine's environment, one that fills the disk, and those of real models.
Each writes var/bench/NAME.json: name, figures, intervals and the environment.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import signal
import sys
from importlib import metadata
from pathlib import Path

import benchmarks
from benchmarks import real_models, trials, under_load
from benchmarks.result import Result

HOME = Path(os.environ.get("PAIRLOOP_HOME", Path(__file__).resolve().parent.parent / "var"))
PACKAGES = ("Django", "torch", "transformers", "trl", "numpy", "psycopg")


BY_NAME_ALONE = {
    "ppo_vs_trl",
    "reward_on_hh",
    "quick_look",
    "upload_memory",
    "gates",
    "active",
    "reward_heads",
    "ai_annotators",
    "live_control",
    "peers",
}
PLACES = (benchmarks, real_models, trials, under_load)


def modules() -> dict[str, str]:
    """The module of each benchmark, by its name."""
    hidden = {"__main__", "result"}
    return {
        module.name: f"{place.__name__}.{module.name}"
        for place in PLACES
        for module in pkgutil.iter_modules(place.__path__)
        if not module.ispkg and module.name not in hidden
    }


def environment() -> dict[str, str]:
    """The things besides the code that figures depend on."""
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
    there = modules()
    unknown = sorted(set(chosen) - set(there))
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(there)}")
        return 2
    # As Ctrl-C: servers and databases that a benchmark started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in chosen or [name for name in there if name not in BY_NAME_ALONE]:
        print(f"running {name} ...", flush=True)
        result = importlib.import_module(there[name]).benchmark(options)
        store(name, result)
        table(name, result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
