"""Driver: a replica on an asyncio loop, with real sockets and a real disk.

A turn is due when something came in, or when the replica's own timer says so; nothing polls. Within a turn the order
is the replica's: early messages, one flush of the journal, late messages, and then everybody who waits is told.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from peercron.clock import Clock
from peercron.consensus.messages import ProtocolError
from peercron.consensus.outbox import Output
from peercron.consensus.port import Above, Carrier
from peercron.consensus.replica import Replica
from peercron.consensus.scribe import SNAPSHOT_JOURNAL_BYTES, Scribe
from peercron.errors import DiskFull, NoLeader, PeercronError
from peercron.meters import Meters

log = logging.getLogger(__name__)

#: A turn that comes this many heartbeats after it was due is late by our own fault.
LATE_BEATS: Final = 2


class Driver:
    """Runs one replica.

    Args:
        replica: the consensus.
        clock: monotonic and wall time.
        above: who is told what came of each turn.
        beat_s: the heartbeat, in seconds.
        journal_bytes_max: the size of the newest segment at which a snapshot is taken.
        meters: where it is counted how long things take.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Clock,
        above: Above,
        beat_s: float,
        journal_bytes_max: int = SNAPSHOT_JOURNAL_BYTES,
        meters: Meters | None = None,
    ) -> None:
        self.replica, self._clock, self._above, self._beat_s = replica, clock, above, beat_s
        self.meters = meters or Meters()
        self.transport: Carrier | None = None
        self.halt_reason: str | None = None
        self.halt_error: Exception | None = None
        #: Set when it halts for want of room on the disk: with room a new start goes on where this one ended.
        self.disk_is_full = asyncio.Event()
        self.connected: set[str] = set()
        self.turns = 0
        self._loop = asyncio.get_running_loop()
        self._turn_pending = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = float("inf")
        self._reads: dict[int, asyncio.Future[int]] = {}
        self._read_tokens = 0
        self._applied_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._scribe = Scribe(replica, clock, above.frozen, journal_bytes_max, self.meters)

    def start(self, transport: Carrier) -> None:
        self.transport = transport
        self._kick()

    async def close(self) -> None:
        """Stop turning; flushes nothing, since all that was acknowledged is flushed."""
        await self._scribe.close()
        self._stop_timer()
        if self.halt_reason is None:
            self.halt_reason = "closed"
        if self.transport is not None:
            await self.transport.close()
        self.replica.journal.close()

    def kick(self) -> None:
        """Something was put in: turn soon."""
        self._kick()

    async def read_barrier(self, deadline_s: float, *, urgent: bool = True) -> None:
        """Wait until the state here has all that was acknowledged, by anybody, before this call.

        Not urgent: a leader takes its proof from the next heartbeat, which costs nothing.

        Raises:
            NoLeader: nobody could say so in time.
        """
        while self.halt_reason is None and self._clock.monotonic() < deadline_s:
            index = await self._read_index(deadline_s, urgent=urgent)
            if index is not None:
                await self._wait_applied(index, deadline_s)
                return
            await asyncio.sleep(self._beat_s / 5)
        raise NoLeader

    # Transport's listener.

    def peer_connected(self, peer: str) -> None:
        if self.halt_reason is None:
            self.connected.add(peer)
            self.replica.connected(peer, self._clock.monotonic())
            self._above.connections_changed()
            self._kick()

    def peer_disconnected(self, peer: str) -> None:
        if self.halt_reason is None:
            self.connected.discard(peer)
            self.replica.disconnected(peer, self._clock.monotonic())
            self._above.connections_changed()
            self._kick()

    def peer_message(self, peer: str, message: Any) -> None:
        if self.halt_reason is not None:
            return
        try:
            if self.replica.receive(peer, message, self._clock.monotonic()):
                self._kick()
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - a wrong log is worse than a stopped node
            self._halt(error)

    # Turning.

    def _kick(self) -> None:
        if not self._turn_pending and self.halt_reason is None:
            self._turn_pending = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_pending = False
        if self.halt_reason is not None or self.transport is None:
            return
        try:
            self._above.turning()
            out = self._step(self.transport)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing after it may be acknowledged
            self._halt(error)
            return
        if out.more:
            self._kick()
        self._arm()
        try:
            self._tell(out)
        except Exception:
            # What is committed stays committed, and the others need our turns: the defect is one of the node's.
            log.exception("turn_not_told")
        self._consider_snapshot()

    def _tell(self, out: Output) -> None:
        self._answer_reads(out)
        self._wake_applied()
        self._above.turned(out)
        for peer, kind, body in out.mail:
            self._above.mail(peer, kind, body)

    def _step(self, transport: Carrier) -> Output:
        now_s = self._clock.monotonic()
        self.turns += 1
        late = now_s - self._timer_due_s > LATE_BEATS * self._beat_s
        out = self.replica.step(now_s, self._clock.wall_ms(), late=late)
        for peer, message in out.early:
            transport.send(peer, message)
        self._flush()
        for peer, message in out.late:
            transport.send(peer, message)
        return out

    def _flush(self) -> None:
        if self.replica.journal.dirty:
            begun_s = self._clock.monotonic()
            self.replica.journal.flush()
            self.meters.flush_s.observe(self._clock.monotonic() - begun_s)

    def _arm(self) -> None:
        due_s = self.replica.next_due_s()
        if self._timer is None or due_s < self._timer_due_s - 0.001 or self._timer_due_s < self._clock.monotonic():
            self._stop_timer()
            self._timer_due_s = due_s
            delay_s = max(0.001, due_s - self._clock.monotonic())
            self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        # The election time-out moves with each heartbeat; the timer follows only when it fires.
        self._timer = None
        self.meters.lag_s.observe(max(0.0, self._clock.monotonic() - self._timer_due_s))
        if self.replica.next_due_s() <= self._clock.monotonic() + 0.001:
            self._kick()
        else:
            self._arm()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _halt(self, error: Exception) -> None:
        if self.halt_reason is not None:
            return
        meant = isinstance(error, PeercronError)  # it says all that there is to say
        self.halt_reason = str(error) if meant else f"{type(error).__name__}: {error}"
        self.halt_error = error
        if isinstance(error, DiskFull):
            self.disk_is_full.set()
        self._stop_timer()
        log.critical("consensus_halted", extra={"reason": self.halt_reason}, exc_info=None if meant else error)
        for future in self._reads.values():
            if not future.done():
                future.set_exception(NoLeader(f"this node has stopped: {self.halt_reason}"))
        if self.transport is not None:
            self._closing = self._loop.create_task(self.transport.close())
        self._above.halted(self.halt_reason)

    # Reads.

    async def _read_index(self, deadline_s: float, *, urgent: bool) -> int | None:
        self._read_tokens += 1
        token = self._read_tokens
        future: asyncio.Future[int] = self._loop.create_future()
        self._reads[token] = future
        self.replica.read(token, urgent=urgent)
        if urgent:
            self._kick()
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic())):
                return await future
        except TimeoutError:
            return None
        except _NoAnswer:
            return None
        finally:
            self._reads.pop(token, None)

    def _answer_reads(self, out: Output) -> None:
        for token, index in out.reads:
            future = self._reads.get(token)
            if future is None or future.done():
                continue
            if index is None:
                future.set_exception(_NoAnswer())
            else:
                future.set_result(index)

    async def _wait_applied(self, index: int, deadline_s: float) -> None:
        if self.replica.kernel.applied >= index:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._applied_waiters.append((index, future))
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic())):
                await future
        except TimeoutError:
            raise NoLeader("this node has not caught up with the leader in time") from None

    def _wake_applied(self) -> None:
        if self._applied_waiters:
            applied = self.replica.kernel.applied
            for index, future in self._applied_waiters:
                if index <= applied and not future.done():
                    future.set_result(None)
            self._applied_waiters = [(i, f) for i, f in self._applied_waiters if not f.done()]

    # Snapshots.

    def _consider_snapshot(self) -> None:
        if self._scribe.is_due:
            try:
                self.take_snapshot()
            except Exception as error:  # noqa: BLE001 - the journal could not begin a segment
                self._halt(error)

    def take_snapshot(self) -> asyncio.Task[None]:
        """Write the state as it is now to the disk, beside everything else.

        Raises:
            NoLeader: this node has stopped, perhaps within an entry: its state may be that of no index.
        """
        if self.halt_reason is not None:
            raise NoLeader(f"this node has stopped: {self.halt_reason}")
        return self._scribe.begin()


class _NoAnswer(Exception):
    """There was no leader to ask."""
