"""lease: until when this node's attempts may live, in a page of memory that the guardian shares with its shepherds.

The node says it in its monotonic time. Here it is kept in boot time, which also counts while the host is suspended:
a laptop that wakes after an hour finds its lease ended.
"""

from __future__ import annotations

import math
import mmap
import struct
import time

_PAIR = struct.Struct("dd")
_ONE = struct.Struct("d")


def now() -> float:
    """Seconds since the host's boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def from_monotonic(instant: float) -> float:
    """An instant of CLOCK_MONOTONIC as one of `now`."""
    return instant + now() - time.clock_gettime(time.CLOCK_MONOTONIC)


class Lease:
    """Two instants: TERM at `stop_at`, KILL at `kill_at`. Before it is first set it has ended.

    >>> lease = Lease()
    >>> lease.stop_at < now()
    True
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.set(stop_at=-math.inf, kill_at=-math.inf)

    def set(self, *, stop_at: float, kill_at: float) -> None:
        # Aligned doubles: a reader sees each of them old or new, never half.
        _PAIR.pack_into(self._page, 0, stop_at, max(stop_at, kill_at))

    @property
    def stop_at(self) -> float:
        return float(_ONE.unpack_from(self._page, 0)[0])

    @property
    def kill_at(self) -> float:
        return float(_ONE.unpack_from(self._page, _ONE.size)[0])
