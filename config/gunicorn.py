"""The server of `make serve` and of the containers: gunicorn with threads.

Threads and not async workers: requests are short, and a pool of async tasks exhausts
PostgreSQL's connections. On SQLite one process is also the fastest: several only wait
for each other's write lock.
"""

from __future__ import annotations

import os

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
