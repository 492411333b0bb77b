"""Snapshots: files that stand for the log up to an index; two generations, checksummed, never half there.

A file holds what the state machine wrote, then a BLAKE2b digest of it. It is written under another name, synced, and
renamed, so a file under its own name is whole, or damaged by somebody else, which the digest tells.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from peercron.consensus.disk import Disk

GENERATIONS: Final = 2
DIGEST_BYTES: Final = 32
READ_BYTES: Final = 1 << 20
#: Written and not yet synced, at most.
SYNC_BYTES: Final = 1 << 20
_HEADER_LENGTH: Final = struct.Struct(">I")
_NAME: Final = re.compile(r"snapshot-(\d{16})-(\d{10})\.pcs")


class SnapshotDamaged(Exception):
    """A snapshot cannot be read: {detail}."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """Which snapshot: the last index and term it covers, its size in bytes and its digest."""

    index: int
    term: int
    size: int
    digest: bytes

    @property
    def name(self) -> str:
        return f"snapshot-{self.index:016d}-{self.term:010d}.pcs"


def with_header(header: bytes) -> bytes:
    """How a snapshot begins that tells something before what the state machine wrote."""
    return _HEADER_LENGTH.pack(len(header)) + header


def split_header(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """(the header, what the state machine wrote) of a snapshot's contents.

    Raises:
        SnapshotDamaged: it ends in its header.
    """
    rest = iter(chunks)
    begun = b""
    for chunk in rest:
        begun += chunk
        end = header_end(begun)
        if end is not None:
            return begun[_HEADER_LENGTH.size : end], chain([begun[end:]], rest)
    raise SnapshotDamaged("it ends in its header")


def header_end(begun: bytes) -> int | None:
    """Where the header ends of a snapshot that begins like this; None: not yet."""
    if len(begun) < _HEADER_LENGTH.size:
        return None
    end: int = _HEADER_LENGTH.size + _HEADER_LENGTH.unpack_from(begun)[0]
    return end if len(begun) >= end else None


class SnapshotWriter:
    """One snapshot on its way to the disk, from our own state or from the leader, in order.

    Its methods may run in a thread, one at a time. It syncs as it goes: the journal's own syncs would wait, and the
    loop with them, until all that others have written to the file system is on the disk.
    """

    def __init__(self, disk: Disk, index: int, term: int) -> None:
        self._disk = disk
        self.index, self.term = index, term
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.written = 0
        self._unsynced = 0
        #: Told of all that is written, in order.
        self.echo: Callable[[bytes], None] | None = None
        self._name = f"snapshot-{index:016d}-{term:010d}.pcs.new"
        if self._name in disk.names():
            disk.remove(self._name)

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._disk.append(self._name, data)
        self.written += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            self.sync()
        if self.echo is not None:
            self.echo(data)

    def sync(self) -> None:
        """Wait for the disk."""
        self._unsynced = 0
        self._disk.sync(self._name)

    def seal(self) -> None:
        self._disk.append(self._name, self._digest.digest())

    def publish(self) -> SnapshotInfo:
        """Give the sealed and synced file its name."""
        info = SnapshotInfo(self.index, self.term, self.written + DIGEST_BYTES, self._digest.digest())
        self._disk.publish(self._name, info.name)
        return info

    def finish(self) -> SnapshotInfo:
        """All is written: make it durable and give it its name."""
        self.seal()
        self.sync()
        return self.publish()

    def matches(self, info: SnapshotInfo) -> bool:
        return self.written + DIGEST_BYTES == info.size and self._digest.digest() == info.digest

    def discard(self) -> None:
        if self._name in self._disk.names():
            self._disk.remove(self._name)


class SnapshotStore:
    """The snapshots in one folder.

    Raises:
        SnapshotDamaged: by `contents`, when a file is not what it was.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._known: dict[str, SnapshotInfo] = {}
        for name in disk.names():
            if name.endswith(".pcs.new"):
                disk.remove(name)

    def all(self) -> list[SnapshotInfo]:
        """Newest first. The digest is what the file says of itself."""
        found = []
        for name in self._disk.names():
            match = _NAME.fullmatch(name)
            if match and name not in self._known:
                size = self._disk.size(name)
                digest = self._disk.read(name, max(0, size - DIGEST_BYTES))
                self._known[name] = SnapshotInfo(int(match[1]), int(match[2]), size, digest)
            if match:
                found.append(self._known[name])
        return sorted(found, key=lambda info: -info.index)

    def verify(self, info: SnapshotInfo) -> None:
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for chunk in self.contents(info):
            digest.update(chunk)
        if info.size < DIGEST_BYTES or digest.digest() != info.digest:
            raise SnapshotDamaged(f"{info.name} does not have the digest it was written with")

    def contents(self, info: SnapshotInfo) -> Iterator[bytes]:
        end = info.size - DIGEST_BYTES
        for offset in range(0, end, READ_BYTES):
            yield self._disk.read(info.name, offset, min(READ_BYTES, end - offset))

    def chunk(self, info: SnapshotInfo, offset: int, length: int) -> bytes:
        return self._disk.read(info.name, offset, max(0, min(length, info.size - DIGEST_BYTES - offset)))

    def writer(self, index: int, term: int) -> SnapshotWriter:
        return SnapshotWriter(self._disk, index, term)

    def prune(self) -> None:
        for info in self.all()[GENERATIONS:]:
            self.remove(info)

    def remove(self, info: SnapshotInfo) -> None:
        self._disk.remove(info.name)
        self._known.pop(info.name, None)
