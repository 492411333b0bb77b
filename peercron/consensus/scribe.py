"""Scribe: this node's own snapshots, written beside everything else that the loop and the disk have to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from peercron.clock import Clock
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotWriter
from peercron.meters import Meters

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The newest segment has grown to this: time for a snapshot, so that restarts stay short.
SNAPSHOT_JOURNAL_BYTES: Final = 16 << 20
#: Where a snapshot is larger than so many of those, the segment may grow to this part of it: otherwise writing what
#: did not change would be most of what the disk does. (What it holds is applied anew by whoever restarts.)
SNAPSHOT_PER_JOURNAL: Final = 16
#: Who has so many entries still to apply, since it was away, first does that: what is not applied would be written
#: again, behind the snapshot. But not for ever: the segment may become this many times as long.
BEHIND_MAX: Final = 16
PATIENCE: Final = 4
#: Members come to one size at one time, and on a machine or a disk that they share they would all write at once. Who
#: leads lets the others be first: its segment may become longer by this part.
LEADER_WAITS: Final = 2
#: A snapshot is made for so long, or until so much more of it is there, before others have the loop.
SLICE_S: Final = 0.002
SLICE_BYTES: Final = 256 << 10


class Scribe:
    """Writes one snapshot at a time.

    Args:
        replica: whose state and log are meant.
        frozen: the state as it is now, as blocks of a snapshot.
        journal_bytes_max: the size of the newest segment at which a small state is written.
        meters: where it is counted how long that takes.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Clock,
        frozen: Callable[[], Iterator[bytes]],
        journal_bytes_max: int,
        meters: Meters | None = None,
    ) -> None:
        self._replica, self._clock, self._frozen = replica, clock, frozen
        self._journal_bytes_max = journal_bytes_max
        there = replica.store.all()
        self._size = max((info.size for info in there), default=0)
        self._meters = meters or Meters()
        self._meters.snapshot_bytes = there[0].size if there else 0
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_due(self) -> bool:
        """Is it time for a snapshot?"""
        replica, kernel = self._replica, self._replica.kernel
        if self._task is not None or kernel.applied <= replica.snapshot_index:
            return False
        bytes_max = max(self._journal_bytes_max, self._size // SNAPSHOT_PER_JOURNAL)
        if kernel.commit - kernel.applied > BEHIND_MAX:
            bytes_max *= PATIENCE
        if kernel.is_leader and kernel.followers:
            bytes_max += bytes_max // LEADER_WAITS
        return replica.journal.bytes > bytes_max or replica.snapshot_wanted

    def begin(self) -> asyncio.Task[None]:
        """Write the state as it is now, or go on with what is being written. OSError: the journal has no room."""
        if self._task is None:
            writer = self._replica.begin_snapshot()
            self._task = self._loop.create_task(self._write(writer, self._frozen()))
            self._task.add_done_callback(self._over)
        return self._task

    async def close(self) -> None:
        """Leave what is being written; when this returns nothing is written any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self, writer: SnapshotWriter, blocks: Iterator[bytes]) -> None:
        """The loop makes the bytes, some milliseconds at a time; to hash and write them is a thread's work."""
        begun_s = self._clock.monotonic()
        try:
            while piece := self._piece(blocks):
                await self._beside(partial(writer.write, piece))
            info = await self._beside(writer.finish)
        except OSError:
            with suppress(OSError):
                writer.discard()  # what has no room must not take what there is
            raise
        self._size = self._meters.snapshot_bytes = info.size
        self._meters.snapshot_s.observe(self._clock.monotonic() - begun_s)
        self._meters.snapshots["written"] += 1
        self._replica.snapshot_published(info.index)
        log.info("snapshot_written", extra={"index": info.index, "bytes": info.size})

    def _piece(self, blocks: Iterator[bytes]) -> bytes:
        """As much as can be made without keeping others waiting; empty: there is no more."""
        pieces: list[bytes] = []
        size, until_s = 0, self._clock.monotonic() + SLICE_S
        while size < SLICE_BYTES and self._clock.monotonic() <= until_s and (block := next(blocks, b"")):
            pieces.append(block)
            size += len(block)
        return b"".join(pieces)

    async def _beside(self, work: Callable[[], T]) -> T:
        """Do it in a thread. It has files open: who is cancelled waits for its end too."""
        future = self._loop.run_in_executor(None, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def _over(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._meters.snapshots["failed"] += 1
            log.error("snapshot_failed", extra={"reason": str(task.exception())})
