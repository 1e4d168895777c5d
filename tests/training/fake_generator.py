"""A generator that keeps the spool's contract and has no model: it replies with the question.

    fake_generator.py SPOOL

Where the last message says "die" it dies, where "killed" by a signal; where it says "hang" it
writes a beginning and waits until the question is taken away, then leaves SPOOL/taken-away.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def main(spool: Path) -> int:
    (spool / "starts.txt").open("a").write("started\n")
    answered: set[str] = set()
    while True:
        for file in sorted((spool / "inbox").glob("*.json")):
            if file.name not in answered:
                answered.add(file.name)
                answer(spool, file)
        time.sleep(0.01)


def answer(spool: Path, file: Path) -> None:
    asked = json.loads(file.read_text())
    text = asked["messages"][-1]["content"]
    if "killed" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "die" in text:
        print("CUDA error: out of luck", flush=True)
        sys.exit(1)
    names = [Path(one.get("path") or one["model"]).name for one in asked["models"]]
    begun = [{"text": name} for name in names]
    tell(spool, file, {"state": "writing", "replies": begun, "error": ""})
    if "hang" in text:
        while file.exists():
            time.sleep(0.01)
        (spool / "taken-away").touch()
        return
    whole = [
        {
            "text": f"{name}: {text}",
            "tokens": 5,
            "finished": True,
            "score": float(place) if asked["reward"] else None,
        }
        for place, name in enumerate(names)
    ]
    tell(spool, file, {"state": "done", "replies": whole, "error": ""})


def tell(spool: Path, file: Path, found: dict[str, Any]) -> None:
    partial = spool / "partial"
    partial.write_text(json.dumps(found))
    partial.rename(spool / "outbox" / file.name)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
