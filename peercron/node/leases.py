"""Leases: where we lead, how long each lease has not been renewed; on every member, the way to renew one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from peercron.clock import Clock
from peercron.consensus.session import CLOCK_RATE_SHARE
from peercron.core.agenda import Agenda
from peercron.core.commands import Command, ExpireLease
from peercron.core.verdict import Verdict
from peercron.errors import Busy, NoLeader, Refused
from peercron.machine import Machine

log = logging.getLogger(__name__)

EXPIRE_TIMEOUT_S: Final = 2.0
#: How often a leader looks for leases that have ended, and how many of them it ends in one look.
LOOK_S: Final = 0.05
ENDED_PER_LOOK_MAX: Final = 512
#: Leases of before its election that a new leader begins to count in one look.
SEEN_PER_LOOK_MAX: Final = 5_000
#: Leases in one errand.
RENEWED_AT_ONCE_MAX: Final = 1_000

Propose = Callable[[Command, float], "asyncio.Future[Verdict]"]
#: Takes an errand, its body and seconds; see `Errands.ask`.
Ask = Callable[[str, Any, float], Awaitable[Any]]


class Leases:
    """Both ends of all leases of this cluster.

    The leader counts from when it heard of a lease, a renewal of it, or its own election, on its monotonic clock and
    a little longer than the holder does; it ends a lease in its own log or not at all. A renewal is confirmed when a
    majority has told after it came that we lead. A lease whose end was proposed is doomed: it is not confirmed again,
    whatever becomes of the proposal, since an entry that seems lost may yet be committed.

    Args:
        machine: whose state knows the leases.
        clock: monotonic time.
        propose_here: takes a command and a time-out in seconds; only while this member leads.
        barrier: returns when this member leads for certain and has applied what was committed; takes a deadline in
            monotonic seconds, and raises NoLeader.
        ask: puts an errand to whoever leads.
    """

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        propose_here: Propose,
        barrier: Callable[[float], Awaitable[None]],
        ask: Ask,
    ) -> None:
        self._machine, self._clock = machine, clock
        self._propose_here, self._barrier, self._ask = propose_here, barrier, ask
        #: What is counted, where we lead.
        self._count: _Count | None = None
        self._generation = -1
        self._timer: asyncio.TimerHandle | None = None
        #: Leases whose end is on its way into the log.
        self._ending: set[int] = set()
        #: Renewals of this turn, asked of the leader together.
        self._batch: _Batch | None = None

    # The leader's end.

    def lead(self) -> None:
        """We lead, and our state is the cluster's; to be called each turn. Where nothing is lent nothing wakes up."""
        if self._count is None or self._generation != self._machine.generation:
            self._generation = self._machine.generation
            self._count = _Count(self._machine, self._clock.monotonic())
        self._wake()

    def stop(self) -> None:
        """Somebody else leads: whatever we counted means nothing."""
        self._count = None
        self._machine.state.changed_leases = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def serve(self, _: str, body: Any) -> tuple[int, ...]:
        """The errand "renew": for each of these leases, how many ms it lives from when we were asked; 0: it has ended.

        Raises NoLeader.
        """
        count, now_s = self._count, self._clock.monotonic()
        if count is None:
            raise NoLeader
        leases = [int(lease) for lease in body[:RENEWED_AT_ONCE_MAX]]
        for lease in leases:
            count.heard(lease, now_s)
        await self._barrier(now_s + EXPIRE_TIMEOUT_S)
        if self._count is not count:
            raise NoLeader
        return tuple([count.left_ms(lease) for lease in leases])

    def _wake(self) -> None:
        if self._timer is None and self._count is not None and self._count.has_any:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        count = self._count
        if count is None:
            return
        for lease in count.ended(self._clock.monotonic()):
            if lease not in self._ending and not self._end(lease):
                break
        self._wake()

    def _end(self, lease: int) -> bool:
        """False: there is no room for it now."""
        try:
            future = self._propose_here(ExpireLease(lease), EXPIRE_TIMEOUT_S)
        except (Busy, NoLeader):
            return False
        self._ending.add(lease)
        future.add_done_callback(lambda done: self._ended(lease, done))
        return True

    def _ended(self, lease: int, future: asyncio.Future[Verdict]) -> None:
        self._ending.discard(lease)
        if future.cancelled() or future.exception() is not None:
            log.info("lease_not_ended_yet", extra={"lease": lease})

    # Every member's end.

    async def renew(self, lease: int, timeout_s: float) -> int:
        """How many ms it lives, counted from this call.

        Raises:
            Refused: it has ended (stale_token).
            NoLeader, OutcomeUnknown: nobody could tell; it may have been renewed.
        """
        if self._batch is None:
            self._batch = batch = _Batch()
            batch.task = asyncio.get_running_loop().create_task(self._send(batch))
        batch = self._batch
        place = len(batch.leases)
        batch.leases.append(lease)
        batch.timeout_s = max(batch.timeout_s, timeout_s)
        if len(batch.leases) >= RENEWED_AT_ONCE_MAX:
            self._batch = None
        assert batch.task is not None
        ttl_ms = (await asyncio.shield(batch.task))[place]
        if ttl_ms == 0:
            raise Refused("stale_token", f"lease {lease} has ended")
        return ttl_ms

    async def _send(self, batch: _Batch) -> tuple[int, ...]:
        await asyncio.sleep(0)  # whoever asks in this turn comes along
        if self._batch is batch:
            self._batch = None
        answer: tuple[int, ...] = await self._ask("renew", tuple(batch.leases), batch.timeout_s)
        return answer

    def close(self) -> None:
        self.stop()


class _Batch:
    """Leases to be renewed with one errand."""

    def __init__(self) -> None:
        self.leases: list[int] = []
        self.timeout_s = 0.0
        self.task: asyncio.Task[tuple[int, ...]] | None = None


class _Count:
    """The leader's count of one term: when each lease ends, in monotonic ms, and which ones are doomed."""

    def __init__(self, machine: Machine, now_s: float) -> None:
        self._state = machine.state
        self._state.changed_leases = {}
        self._looked_s = now_s
        self._unseen = deque(self._state.leases)
        self._ends_ms = Agenda()
        self._doomed: set[int] = set()

    @property
    def has_any(self) -> bool:
        return bool(self._state.changed_leases or self._unseen or self._ends_ms)

    def heard(self, lease: int, now_s: float) -> None:
        """It begins, or its holder has renewed it; or it has ended."""
        row = self._state.leases.get(lease)
        if row is None:
            self._ends_ms.drop(str(lease))
            self._doomed.discard(lease)
        elif lease not in self._doomed:
            self._ends_ms.put(str(lease), _end_ms(now_s, row.ttl_ms))

    def left_ms(self, lease: int) -> int:
        """What may be said to who renews it; 0: that it has ended."""
        row = self._state.leases.get(lease)
        return 0 if row is None or lease in self._doomed else row.ttl_ms

    def ended(self, now_s: float) -> list[int]:
        """The leases whose count is over, doomed from now on; each is named again until it is gone.

        To be asked every LOOK_S. If we were held up ourselves, who spoke meanwhile spoke to deaf ears.
        """
        if self._ends_ms and now_s - self._looked_s > 4 * LOOK_S:
            self._ends_ms.delay(int((now_s - self._looked_s) * 1_000))
        self._looked_s = now_s
        changed, self._state.changed_leases = self._state.changed_leases, {}
        for lease in changed or ():
            self.heard(lease, now_s)
        for _ in range(min(SEEN_PER_LOOK_MAX, len(self._unseen))):
            lease = self._unseen.popleft()
            if str(lease) not in self._ends_ms:
                self.heard(lease, now_s)
        return self._due(now_s)

    def _due(self, now_s: float) -> list[int]:
        due: list[int] = []
        while len(due) < ENDED_PER_LOOK_MAX and (key := self._ends_ms.pop(int(now_s * 1_000))) is not None:
            if int(key) in self._state.leases:
                due.append(int(key))
        self._doomed.update(due)
        for lease in due:  # once more in a while, if its end should get lost
            self._ends_ms.put(str(lease), int((now_s + EXPIRE_TIMEOUT_S) * 1_000))
        return due


def _end_ms(now_s: float, ttl_ms: int) -> int:
    return int(now_s * 1_000 + ttl_ms * (1 + CLOCK_RATE_SHARE)) + 1
