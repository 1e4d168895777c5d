"""The server of `make serve` and of the containers: gunicorn with threads.

Threads and not async workers: requests are short, and a pool of async tasks exhausts
PostgreSQL's connections. On SQLite one process is also the fastest: several only wait
for each other's write lock.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

wsgi_app = "config.wsgi:application"
worker_class = "gthread"
bind = f"{os.environ.get('PAIRLOOP_BIND', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("PAIRLOOP_WEB_PROCESSES", "1"))
threads = int(os.environ.get("PAIRLOOP_THREADS", "8"))
timeout = 120
graceful_timeout = 10
keepalive = 5
control_socket_disable = True
accesslog = None
loglevel = "warning"


if workers > 1:
    # Before the first import of prometheus_client, which decides by it where figures are kept.
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="pairloop-metrics-"))


def child_exit(_server: Any, worker: Any) -> None:
    """Drop the gauges of a web process that is gone."""
    if workers > 1:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
