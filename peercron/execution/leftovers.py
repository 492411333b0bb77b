"""leftovers: no process of an earlier boot is alive when a new guardian starts.

The lock file says it: the guardian and its shepherds hold it, and a shepherd goes only when its tree is dead. Only when
shepherds themselves were killed are there commands that nobody holds a lock for; those are found by their records.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterable
from pathlib import Path

from peercron.errors import DataDirError
from peercron.execution import record
from peercron.execution.ending import Pace
from peercron.execution.lease import now
from peercron.execution.limits import LEFTOVER_GRACE_S_MAX, LEFTOVER_KILL_S, SWEEP_S_MIN
from peercron.execution.processes import Process, below, strike, table
from peercron.execution.record import MARK_VARIABLE, Record

LOCK_NAME = "guardian.lock"


def claim(data_dir: Path) -> int:
    """The guardian's lock, taken, once all processes of earlier guardians are dead. Waits: call it in a thread.

    Raises DataDirError when some of them cannot be killed.
    """
    lock = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not take(lock, _grace_s(data_dir) + LEFTOVER_KILL_S):
            _kill_holder(lock)
            kill_recorded(data_dir / "attempts")
            if not take(lock, LEFTOVER_KILL_S):
                raise DataDirError(f"{data_dir}: a process of an earlier start holds {LOCK_NAME} and cannot be killed")
        kill_recorded(data_dir / "attempts")
    except BaseException:
        os.close(lock)
        raise
    return lock


def take(lock: int, patience_s: float) -> bool:
    """Lock an open file, waiting so long for its holder; False: it is still held."""
    deadline = now() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if now() >= deadline:
                return False
            _pause(SWEEP_S_MIN)
        else:
            return True


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _grace_s(data_dir: Path) -> float:
    """How long the attempts of an earlier boot may take to end in good order."""
    wanted = max((found.grace_s for found in _records(data_dir / "attempts").values() if found), default=0.0)
    return min(wanted, LEFTOVER_GRACE_S_MAX)


def _kill_holder(lock: int) -> None:
    """KILL the guardian that wrote its name into the lock file, if it is still that process."""
    try:
        pid, start, boot = os.pread(lock, 256, 0).decode().split()
        holder = record.find((int(pid), int(start)))
    except ValueError:
        return
    if holder and boot == record.boot_id():
        strike([holder], signal.SIGKILL)


def kill_recorded(attempts: Path) -> None:
    """KILL everything that the records in this folder name, until none of it is left; then remove the records."""
    records = _records(attempts)
    deadline, pace = now() + LEFTOVER_KILL_S, Pace()
    while left := _left(records.values()):
        strike(left, signal.SIGKILL)
        if now() > deadline:
            pids = ", ".join(str(process.pid) for process in left)
            raise DataDirError(f"{attempts}: processes of an earlier start cannot be killed: {pids}")
        pace.tried(now())
        _pause(pace.at - now())
    for path in records:
        path.unlink(missing_ok=True)


def _records(attempts: Path) -> dict[Path, Record | None]:
    return {path: record.read(path) for path in attempts.glob("*.json")}


def _left(records: Iterable[Record | None]) -> list[Process]:
    """The living processes of these attempts: by name, by descent from a name, by mark, by descent from a mark."""
    boot = record.boot_id()
    mine = [found for found in records if found and found.boot == boot]
    if not mine:
        return []
    everybody = table()
    marks = {f"{MARK_VARIABLE}={found.mark}".encode() for found in mine}
    named = [process for found in mine for process in map(record.find, (found.command, found.shepherd)) if process]
    marked = [process for process in everybody.values() if not marks.isdisjoint(_environment(process.pid))]
    roots = {process.pid: process for process in (*named, *marked)}
    family = {process.pid: process for root in roots for process in below(root, everybody)}
    return [process for process in (roots | family).values() if process.alive]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it is gone, or another user's
        return []
