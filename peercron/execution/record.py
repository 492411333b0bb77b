"""record: an attempt's processes written to disk before its command runs, for the boot that comes after a disaster.

Not synced: what a power failure would take from the disk, it takes from the process table too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from peercron.execution.processes import Process, look

#: In the environment of a command and, unless it takes it away, of all that it starts. Its value is random.
MARK_VARIABLE = "PEERCRON_MARK"


class Record(NamedTuple):
    """Who belongs to an attempt. Processes as (pid, start); they are named only together with the boot of the host."""

    mark: str
    boot: str
    shepherd: tuple[int, int]
    command: tuple[int, int]
    grace_s: float


def boot_id() -> str:
    """Names the time since the host was started; after the next start all pids mean something else."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def name_of(process: Process | None) -> tuple[int, int]:
    """What a record says of a process; (0, 0), which is nobody, for one that is gone already."""
    return (process.pid, process.start) if process else (0, 0)


def find(name: tuple[int, int]) -> Process | None:
    """The process of that name, if it is still there."""
    process = look(name[0])
    return process if process and process.start == name[1] else None


def write(path: str, record: Record) -> None:
    """Raises OSError when the disk does not take it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(record._asdict()).encode()
        if os.write(descriptor, data) != len(data):
            raise OSError("the disk took only a part of it")
    finally:
        os.close(descriptor)


def read(path: Path) -> Record | None:
    """None: it is torn, so the command that it was written for never ran."""
    try:
        found = json.loads(path.read_bytes())
        shepherd, command = ((int(pid), int(start)) for pid, start in (found["shepherd"], found["command"]))
        return Record(str(found["mark"]), str(found["boot"]), shepherd, command, float(found["grace_s"]))
    except (ValueError, KeyError, TypeError):
        return None


def identify(lock: int) -> None:
    """Write who holds the lock, for the boot that finds it held."""
    own = look(os.getpid())
    assert own is not None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{own.pid} {own.start} {boot_id()}\n".encode(), 0)
