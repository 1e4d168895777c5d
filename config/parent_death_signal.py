"""Start a program that ends with its supervisor.

Call: `parent_death_signal.py PARENT_PID SIGNAL PROGRAM [ARGS...]`.

The kernel sends SIGNAL to this process when the *thread* that started it ends (Linux,
PR_SET_PDEATHSIG), so a supervisor starts it from a thread that lives as long as the supervision
itself. A wrapper instead of `preexec_fn`, which may deadlock in a process with threads. Run as a
file: importing the package would load Django.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Bind this process to its parent, then become the program."""
    parent, number, program = int(arguments[0]), int(arguments[1]), arguments[2:]
    # Kept over exec, so it holds for the program that this process becomes.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    # The parent may have died before the call above; then nobody would ever send the signal.
    if os.getppid() != parent:
        return NOT_STARTED
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"cannot start {program[0]}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
