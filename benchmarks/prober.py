"""prober: writes to nodes at a steady pace, and when each was sent and accepted, in the prober's own process.

The load is open: a new write leaves at its time whether or not the last was answered, on a connection of its own if
need be. A write that hangs in a dying cluster thus never hides that others are accepted again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.http1 import Connection

#: While a gap lasts, the pace slows down to this share of its length so far: its length is known to that much.
RESOLUTION = 0.02
#: A connection that could not be opened is tried again after this.
REDIAL_S = 0.005


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted write: when it left and when its answer came, in time.monotonic_ns()."""

    sent_ns: int
    answered_ns: int


class Prober:
    """Writes to several nodes until it is closed.

    >>> prober = Prober([("127.0.0.1", 8400)], b"PUT …", pace_s=0.002)     # doctest: +SKIP
    >>> prober.start(); await asyncio.sleep(1); await prober.close()       # doctest: +SKIP
    >>> len(prober.accepted)                                               # doctest: +SKIP
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], raw: bytes, *, pace_s: float) -> None:
        self.accepted: list[Accepted] = []
        #: Answers that were no acceptance, and connections that broke.
        self.refused = 0
        self._addresses = addresses
        self._raw = raw
        self._pace_s = pace_s
        self._idle: dict[tuple[str, int], list[Connection]] = {address: [] for address in addresses}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for address in self._addresses:
            self._keep(self._send_on_and_on(address))

    async def first_sent_after(self, signal_ns: int, timeout: float) -> Accepted | None:
        """The first acceptance of a write that left after `signal_ns`."""
        seen = 0
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for write in self.accepted[seen:]:
                if write.sent_ns > signal_ns:
                    return write
            seen = len(self.accepted)
            await asyncio.sleep(0.002)
        return None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in (c for pool in self._idle.values() for c in pool):
            connection.close()

    def _keep(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_on_and_on(self, address: tuple[str, int]) -> None:
        while True:
            self._keep(self._write(address))
            last_ns = self.accepted[-1].answered_ns if self.accepted else time.monotonic_ns()
            silence_s = (time.monotonic_ns() - last_ns) / 1e9
            await asyncio.sleep(max(self._pace_s, silence_s * RESOLUTION))

    async def _write(self, address: tuple[str, int]) -> None:
        pool = self._idle[address]
        connection = pool.pop() if pool else None
        try:
            if connection is None or not connection.usable:
                connection = await Connection.open(address)
            sent_ns = time.monotonic_ns()
            status, _ = await connection.call(self._raw)
        except (OSError, TimeoutError):
            self.refused += 1
            await asyncio.sleep(REDIAL_S)
            return
        except asyncio.CancelledError:
            if connection is not None:
                connection.close()
            raise
        if status < 300:
            self.accepted.append(Accepted(sent_ns, time.monotonic_ns()))
        else:
            self.refused += 1
        pool.append(connection)
