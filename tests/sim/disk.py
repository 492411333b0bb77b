"""A disk that forgets what was not synced, tears what was being written, and can be full or die in any operation."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable


class Crash(BaseException):
    """The process dies here, in the middle of what it was doing."""


class SimDisk:
    """Implements `peercron.consensus.disk.Disk` in memory."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.files: dict[str, bytearray] = {}
        self.synced: dict[str, int] = {}
        self.full = False
        #: Called before each operation that changes something; may raise Crash.
        self.before: Callable[[str], None] = lambda _: None

    def names(self) -> list[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name])

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        end = None if length < 0 else offset + length
        return bytes(self.files[name][offset:end])

    def append(self, name: str, data: bytes) -> None:
        if self.full:
            self.files.setdefault(name, bytearray()).extend(data[: self._rng.randint(0, len(data) - 1)])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.before("append")
        self.files.setdefault(name, bytearray()).extend(data)
        self.before("appended")

    def sync(self, name: str) -> None:
        self.before("sync")
        self.synced[name] = len(self.files[name])

    def truncate(self, name: str, size: int) -> None:
        self.before("truncate")
        del self.files[name][size:]
        self.synced[name] = size

    def publish(self, name: str, final: str) -> None:
        self.before("publish")
        self.files[final] = self.files.pop(name)
        self.synced[final] = self.synced.pop(name, 0)
        self.before("published")

    def remove(self, name: str) -> None:
        self.before("remove")
        del self.files[name]
        self.synced.pop(name, None)

    def close(self) -> None:
        """Nothing is held."""

    def lose_power(self) -> None:
        """Of each file any part of what was not synced is gone, and the last of what is left may be torn."""
        for name, content in list(self.files.items()):
            synced = self.synced.get(name, 0)
            if len(content) > synced:
                del content[self._rng.randint(synced, len(content)) :]
                if len(content) > synced and self._rng.random() < 0.5:
                    content[-1] ^= 0xFF
            if not content:
                del self.files[name]
