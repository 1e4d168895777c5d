"""Everything at once, on one machine: what `make demo` starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

# By path and not by import: it must run without Django, and belongs to the other app.
LAUNCHER = settings.BASE_DIR / "config" / "parent_death_signal.py"
PROCESSES = {
    "web": ["-m", "gunicorn", "--config", "config/gunicorn.py"],
    "worker": ["manage.py", "worker"],
    "worker-gpu": ["manage.py", "worker", "--gpu"],
}
GRACE = 25.0


class Stop(Exception):
    """SIGINT or SIGTERM arrived."""


class Command(BaseCommand):
    help = "Set up the sample project if needed, then run web and workers until Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = (
            os.environ.get("PAIRLOOP_BIND", "127.0.0.1"),
            int(os.environ.get("PORT") or 8000),
        )
        require_free(host, port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        children: dict[str, subprocess.Popen[bytes]] = {}
        try:
            call_command("quickstart", stdout=self.stdout)
            for name in PROCESSES:
                children[name] = start(name)
            wait_until_live(children["web"], f"http://{host}:{port}/livez")
            self.welcome(f"http://{host}:{port}")
            self.watch(children)
        except (Stop, KeyboardInterrupt):
            self.stdout.write("\nStopping ...")
        finally:
            stop(children)
            self.stdout.write("Stopped.")

    def welcome(self, address: str) -> None:
        from annotate.people.joining import sign_in_link

        user = User.objects.filter(is_superuser=True, is_active=True).order_by("id").first()
        self.stdout.write(self.style.SUCCESS(f"\nPairloop runs on {address}"))
        if user is not None:
            self.stdout.write(f"Sign in as {user.username} (once, within 15 minutes):")
            self.stdout.write(f"  {address}{sign_in_link.path_of(user)}")
        self.stdout.write("Ctrl-C stops everything.")
        self.stdout.flush()

    def watch(self, children: dict[str, subprocess.Popen[bytes]]) -> None:
        """Start again what ends by itself: a killed worker resumes where it was."""
        while True:
            time.sleep(0.5)
            for name, child in children.items():
                if child.poll() is not None:
                    self.stderr.write(f"{name} ended with {child.returncode}; starting it again")
                    time.sleep(1)
                    children[name] = start(name)


def interrupt(number: int, frame: FrameType | None) -> None:
    # A second Ctrl-C must not cut the orderly stop short.
    for also in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(also, signal.SIG_IGN)
    raise Stop


def require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"{host}:{port} is taken ({error.strerror}). Choose another: PORT=8001 make demo"
            ) from error


def start(name: str) -> subprocess.Popen[bytes]:
    """Start one process that ends with this one, in a session of its own.

    The terminal's Ctrl-C then reaches only this process, which stops the others in order.
    """
    program = [sys.executable, *PROCESSES[name]]
    return subprocess.Popen(
        [sys.executable, str(LAUNCHER), str(os.getpid()), str(int(signal.SIGTERM)), *program],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until_live(web: subprocess.Popen[bytes], url: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and web.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise CommandError("the web server did not start; its messages are above")


def stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """End every child: SIGTERM, time for a training checkpoint, then SIGKILL to its group."""
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + GRACE
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
