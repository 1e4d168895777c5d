from __future__ import annotations

import random
import threading

import pytest
from django.db import OperationalError, connection

from annotate import queue
from annotate.exporting import freezing, seal
from annotate.exporting.formats import votes_format
from annotate.models import DatasetVersion


@pytest.mark.django_db(transaction=True)
def test_versions_frozen_while_people_vote_and_undo_never_change(project, make_pairs, ann, ben):
    make_pairs(12)
    frozen: dict[int, bytes] = {}
    stop = threading.Event()
    failures: list[Exception] = []

    def annotate(user, seed):
        rng = random.Random(seed)
        while not stop.is_set():
            lease = queue.next_pair(project, user)
            if lease is not None and rng.random() < 0.7:
                queue.vote(user, lease.token, choice=rng.choice("ab"))
            else:
                queue.undo(user, project)

    def guarded(work, *arguments):
        try:
            work(*arguments)
        except OperationalError as error:
            if "lock" not in str(error):
                failures.append(error)
        except Exception as error:  # noqa: BLE001 (the test reports it)
            failures.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=guarded, args=(annotate, user, seed))
        for seed, user in enumerate((ann, ben))
    ]
    for thread in threads:
        thread.start()
    while len(frozen) < 6 and any(thread.is_alive() for thread in threads):
        version = freezing.freeze(project)
        frozen[version.number] = b"".join(votes_format.lines(version, include_simulated=True))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == [] and len(frozen) > 2
    for version in DatasetVersion.objects.all():
        again = b"".join(votes_format.lines(version, include_simulated=True))
        assert again.splitlines() == frozen[version.number].splitlines()
        assert again.count(b"\n") == version.n_votes
        assert version.sha256 == seal.sha256(version)
