"""Disk: the few file operations that the journal and the snapshots are built on; the simulator has its own."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Final, Protocol

from peercron.space import room_in

#: Bytes of a file that are freed in one go, and the pause before the next.
FREED_AT_ONCE: Final = 4 << 20
FREE_PAUSE_S: Final = 0.005


class Disk(Protocol):
    """Files by name in one folder. Every OSError means: this node can no longer keep its word (fail-stop)."""

    def names(self) -> list[str]: ...
    def size(self, name: str) -> int: ...
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes: ...
    def append(self, name: str, data: bytes) -> None:
        """Add to the end; durable after `sync`."""

    def sync(self, name: str) -> None: ...
    def truncate(self, name: str, size: int) -> None:
        """Cut, durably."""

    def publish(self, name: str, final: str) -> None:
        """Make a synced file appear under its final name, durably and all at once."""

    def remove(self, name: str) -> None: ...
    def close(self) -> None: ...


class FolderDisk:
    """A folder of the file system. `durable=False` (--durability memory) leaves out the waiting for the disk.

    DiskFull, which is an OSError, says where there is no room.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable
        self._open: dict[str, int] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file())

    def size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        with open(self._folder / name, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def append(self, name: str, data: bytes) -> None:
        with room_in(self._folder):
            fd = self._fd(name)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

    def sync(self, name: str) -> None:
        fd = self._fd(name)
        if os.fstat(fd).st_nlink == 0:  # the disk takes it, and nobody will ever read it again
            raise FileNotFoundError(errno.ENOENT, "the file was removed while this node wrote it", name)
        if self._durable:
            with room_in(self._folder):
                os.fdatasync(fd)

    def truncate(self, name: str, size: int) -> None:
        fd = self._fd(name)
        os.ftruncate(fd, size)
        if self._durable:
            os.fsync(fd)

    def publish(self, name: str, final: str) -> None:
        with room_in(self._folder):
            os.rename(self._folder / name, self._folder / final)
        replaced = self._open.pop(final, None)
        if replaced is not None:
            os.close(replaced)
        fd = self._open.pop(name, None)
        if fd is not None:
            self._open[final] = fd
        if self._durable:
            self._sync_folder()

    def remove(self, name: str) -> None:
        """Its name is gone at once; the room that a large file took is given back beside, and in steps, since the file
        system stands still for everybody while it frees much.
        """
        fd = self._open.pop(name, None)
        if fd is None:
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_CLOEXEC)
        os.unlink(self._folder / name)
        if os.fstat(fd).st_size <= FREED_AT_ONCE:
            os.close(fd)
        else:
            threading.Thread(target=_free, args=(fd,), name="free", daemon=True).start()

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def _fd(self, name: str) -> int:
        fd = self._open.get(name)
        if fd is None:
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open[name] = fd
        return fd

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _free(fd: int) -> None:
    """Shorten a file that has no name any more until nothing is left of it."""
    size, pause = os.fstat(fd).st_size, threading.Event()
    while size > 0:
        size = max(0, size - FREED_AT_ONCE)
        os.ftruncate(fd, size)
        pause.wait(FREE_PAUSE_S)
    os.close(fd)
