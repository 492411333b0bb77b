"""space: what is said where a disk has no room left, so that it can be told from a disk that is broken."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from peercron.errors import DiskFull

#: What the system calls no room: on the disk, or for this user.
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def disk_full(error: OSError, folder: Path) -> DiskFull | None:
    """What to tell people where the error says that there is no room below `folder`; None: it says something else."""
    if isinstance(error, DiskFull):
        return error
    if error.errno not in NO_ROOM:
        return None
    return DiskFull(f"no room left in {folder}: {error.strerror} ({free_of(folder)}); make room there")


def free_of(folder: Path) -> str:
    """How much is free on the disk of a folder, for people: "0 of 6 MiB free", and whether it has no room for names."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        disk = os.statvfs(there)
    except OSError as error:
        return f"how much is free cannot be seen: {error.strerror}"
    free, all_ = (blocks * disk.f_frsize >> 20 for blocks in (disk.f_bavail, disk.f_blocks))
    names = "; it takes no more files" if disk.f_files and not disk.f_favail else ""
    return f"{free} of {all_} MiB free{names}"


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Whatever is written inside raises DiskFull where there is no room for it."""
    try:
        yield
    except OSError as error:
        full = disk_full(error, folder)
        if full is None or full is error:
            raise
        raise full from error
