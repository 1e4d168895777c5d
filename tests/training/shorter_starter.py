"""A launcher (PAIRLOOP_LAUNCHER) that trains the sample's starter on a quarter of its texts.

The command behind it is started as it is, with the same run directory; only the number of passes in
its settings is another.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PASSES = 0.5
"""Instead of two."""


def main(command: list[str]) -> None:
    """Shorten the job of a fine-tuning, and become the command."""
    if "sft" in command:
        file = Path(command[command.index("--config") + 1])
        job = json.loads(file.read_text("utf-8"))
        job["sft"]["epochs"] = PASSES
        file.write_text(json.dumps(job), "utf-8")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
