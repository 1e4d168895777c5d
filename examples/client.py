"""Label pairs, start a round and export, by a client that is generated from the API's schema.

    python examples/client.py SERVER PROJECT OUT [VOTES]

SERVER is an address as http://127.0.0.1:8000, PROJECT the slug of a project that you administer;
PAIRLOOP_TOKEN holds your token. VOTES (10) pairs are voted on, the longer reply each time. Then a
round starts if the project is ready for one, and OUT gets its preferences (JSON lines for TRL).
It needs `pip install aiopenapi3` and nothing of Pairloop.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aiopenapi3 import OpenAPI
from aiopenapi3.errors import HTTPStatusIndicatedError
from aiopenapi3.extra import Reduce


def main(server: str, project: str, out: str, votes: str = "10") -> None:
    calls = Reduce("next", "vote", "start_round", "export")  # of the schema; all of it takes longer
    api = OpenAPI.load_sync(f"{server}/api/v1/schema/", plugins=[calls])
    api.authenticate(token=f"Token {os.environ['PAIRLOOP_TOKEN']}")
    slug = {"slug": project}

    for _ in range(int(votes)):
        pair = api._.next(parameters=slug, data={})
        if pair is None:
            break  # there is nothing for you just now
        longer = "left" if len(pair.left.text) > len(pair.right.text) else "right"
        vote = api._.vote(parameters={"token": str(pair.assignment)}, data={"choice": longer})
        print(f"pair {pair.pair}: {longer}, {vote.status}")

    try:
        started = api._.start_round(parameters=slug, data={})
        print(f"round {started.number} is {started.state}")
    except HTTPStatusIndicatedError as refused:
        print(json.loads(refused.data)["detail"])

    _, lines, answer = api._.export.request(parameters=slug | {"format": "trl"})
    Path(out).write_bytes(lines)
    print(f"version {answer.headers['X-Pairloop-Version']} is in {out}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (4, 5) else sys.exit(__doc__)
