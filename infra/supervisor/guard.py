"""Become another program that dies with its parent: `python -I -S guard.py PARENT_PID PROGRAM [ARGUMENT...]`.

The kernel's death signal (prctl PR_SET_PDEATHSIG, Linux) outlives exec, so no code runs between fork and exec of the
supervisor and no thread watches afterwards. Standard library only: it is started without site-packages.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        return 1
    try:
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
