"""processes: who is alive on this host and descends from whom, and signals that hit only the process that is meant.

Only `stat` and `children` are read: unlike `environ` or `cmdline` they never wait for a process that hangs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from peercron.execution.limits import SWEEP_ROUNDS_MAX

_DEAD = (b"Z", b"X", b"x")


class Process(NamedTuple):
    """A row of the process table. Pid and start (clock ticks since boot) together name a process for ever."""

    pid: int
    parent: int
    start: int
    alive: bool


def look(pid: int) -> Process | None:
    """The process with this pid; None: there is none. A zombie is there, and not alive."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except OSError:  # it ended between open and read
        return None
    finally:
        os.close(descriptor)
    return _parse(pid, line)


def _parse(pid: int, line: bytes) -> Process | None:
    # The command's name stands in parentheses and may itself contain any of them, and blanks.
    fields = line[line.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    # A leading thread that ended while others run looks like a zombie.
    alive = fields[0] not in _DEAD or int(fields[17]) > 1
    return Process(pid, parent=int(fields[1]), start=int(fields[19]), alive=alive)


def table() -> dict[int, Process]:
    """All processes of the host (that this one may see)."""
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def tasks() -> int | None:
    """Processes and threads of the host, as the kernel counts them anyway; None: it does not say."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return None


def below(root: int, processes: dict[int, Process]) -> list[Process]:
    """The living descendants of a process, itself not among them."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    return [process for process in _descend(root, children) if process.alive]


def _descend(root: int, children: dict[int, list[Process]]) -> Iterator[Process]:
    waiting = [root]
    # pop() takes each list away, so that a table that was read while it changed cannot lead in a circle.
    while waiting:
        for child in children.pop(waiting.pop(), ()):
            yield child
            waiting.append(child.pid)


def family(root: int) -> list[Process]:
    """As `below`, at the cost of that family alone.

    It may overlook a child whose sibling ends at that moment, so it is for signals that are sent again.
    """
    if not _LISTS_CHILDREN:
        return below(root, table())
    found: dict[int, Process] = {}
    waiting = [root]
    while waiting:
        for pid in _children(waiting.pop()):
            process = None if pid in found else look(pid)
            if process is not None:
                found[pid] = process
                waiting.append(pid)
    return [process for process in found.values() if process.alive]


#: Not every kernel is built with these lists (CONFIG_PROC_CHILDREN); those of the distributions are.
_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children(pid: int) -> list[int]:
    """Every thread has its own children."""
    pids: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                pids.extend(map(int, children.read().split()))
    except OSError:  # the process or a thread of it has ended
        pass
    return pids


def send(process: Process, signum: int) -> bool:
    """Send a signal to exactly this process; False: it is gone already, or may not be signalled."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:  # an old kernel or a sandbox has none; then a moment remains between the look and the signal
        return _is(process) and _told(os.kill, process.pid, signum)
    try:
        # It is looked at after the pidfd was opened: from then on that means the one that we see.
        return _is(process) and _told(signal.pidfd_send_signal, descriptor, signum)
    finally:
        os.close(descriptor)


def _is(process: Process) -> bool:
    now = look(process.pid)
    return now is not None and now.start == process.start


def _told(tell: Callable[[int, int], None], whom: int, signum: int) -> bool:
    try:
        tell(whom, signum)
    except OSError:
        return False
    return True


def kill_family(root: int) -> None:
    """KILL all below a process, and at once what it has forked meanwhile, a few times over.

    Who multiplies while he is killed must not gain on who kills.
    """
    struck: set[tuple[int, int]] = set()
    for _ in range(SWEEP_ROUNDS_MAX):
        fresh = [process for process in family(root) if (process.pid, process.start) not in struck]
        if not fresh:
            return
        strike(fresh, signal.SIGKILL)
        struck |= {(process.pid, process.start) for process in fresh}


def strike(processes: Iterable[Process], signum: int) -> None:
    """Send a signal to each; a stopped one is woken to hear it."""
    for process in processes:
        if send(process, signum) and signum != signal.SIGKILL:
            send(process, signal.SIGCONT)
