"""SIGTERM and Ctrl-C as a request to stop, honoured at the edge of a step. Torch-free."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals(request_stop: Callable[[], None]) -> Iterator[None]:
    """Call `request_stop` on SIGTERM and Ctrl-C while the block runs.

    A second Ctrl-C interrupts at once. In a thread it does nothing: whoever owns the process
    handles its signals.
    """

    def request(number: int, _frame: FrameType | None) -> None:
        request_stop()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
