"""kernel: the few calls of Linux that Python has no name for. Each is a wish: a refusal is told by the return value."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
MCL_CURRENT = 1

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphans among this process's descendants become its children, not init's. Not inherited by a fork."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


def die_with_parent() -> bool:
    """KILL comes when the parent dies. A later change of user clears it: call it after that."""
    return int(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)) == 0


def set_name(name: str) -> bool:
    """The name that `ps -o comm` and `top` show (15 bytes)."""
    return int(_libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)) == 0


def lock_memory() -> bool:
    """Who kills in time must not wait for its own code to be read from a disk that hangs. Needs a privilege."""
    return int(_libc.mlockall(MCL_CURRENT)) == 0


def set_oom_score(score: str) -> str | None:
    """Tell the kernel how gladly this process may be killed when memory runs out; returns the old score if it changed.

    Lowering needs a privilege, going back to the old one does not.
    """
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        old = os.read(descriptor, 16).decode().strip()
        os.pwrite(descriptor, score.encode(), 0)
    except OSError:
        return None
    else:
        return old
    finally:
        os.close(descriptor)


def close_all_but(*kept: int) -> None:
    """Close what belongs to the guardian: an end held here would hide its death from the others."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)
