from __future__ import annotations

import os
import signal
import threading

import pytest

from training.rlhf.round import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop_and_interrupts_nothing(number: signal.Signals) -> None:
    asked = threading.Event()
    before = signal.getsignal(number)
    with stop_on_signals(asked.set):
        os.kill(os.getpid(), number)
        assert asked.is_set()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with stop_on_signals(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_leaves_the_signals_to_its_process() -> None:
    handlers: list[object] = []

    def inside() -> None:
        with stop_on_signals(lambda: None):
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert handlers == [before]
