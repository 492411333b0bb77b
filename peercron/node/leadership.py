"""Leadership: who leads, what follows from it here, and how it is handed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.consensus.proposer import Proposer
from peercron.core.member import Role
from peercron.errors import NoLeader, Refused
from peercron.node.leases import Leases
from peercron.node.planning import Planning
from peercron.node.renewal import Renewal
from peercron.node.roster import Roster
from peercron.timers import Timers

log = logging.getLogger(__name__)

#: How long a leader that hands over holds proposals back, and how long an orderly end waits for another leader.
HANDOVER_S: Final = 1.0
#: A node without a leader says so after the first, and again after each second of these.
COMPLAIN_AFTER_S: Final = 3.0
COMPLAIN_EVERY_S: Final = 30.0


class Leadership:
    """Watches the consensus for changes of leader and term.

    A member plans and counts sessions only in a term of which it has committed an entry; with a wrong clock it plans
    nothing and hands over.
    """

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        timers: Timers,
        proposer: Proposer,
        planning: Planning,
        renewal: Renewal,
        leases: Leases,
        roster: Roster,
    ) -> None:
        self._driver, self._clock, self._proposer = driver, clock, proposer
        self._planning, self._renewal, self._leases, self._roster = planning, renewal, leases, roster
        #: The term in which we lead and have committed an entry; None: we do not.
        self._term: int | None = None
        self._wait_s = 2 * timers.election_max_ms / 1000
        #: Since when nobody leads, in monotonic seconds, and when that was last logged.
        self._leaderless_s = clock.monotonic()
        self._complained_s = float("-inf")
        self._clock_suspect = self._over = False
        self._moved = asyncio.Event()
        #: Whom we reached as leader, and who of them had answered, when the others were last told.
        self._reached: dict[str, bool] = {}
        self.leader: str | None = None
        #: How often another one led, or nobody any more.
        self.changes = 0

    def turn(self) -> None:
        """A turn is over: does somebody else lead, or we in another term?"""
        kernel = self._driver.replica.kernel
        if kernel.leader != self.leader:
            self._change_leader(kernel.leader)
        term = kernel.term if kernel.noop_applied else None
        began = term is not None and term != self._term
        if term != self._term:
            self.resign()
            self._term = term
        if term is None:
            return
        self._renewal.lead()
        self._leases.lead()
        if self._driver.replica.clocks.suspect:
            self._planning.stop()
        else:
            self._planning.lead()
        if began or self._reached != self._roster.reached():
            self._reached = self._roster.reached()
            self._roster.send()

    def resign(self) -> None:
        """Nothing of what we did as leader goes on."""
        self._term = None
        self._planning.stop()
        self._leases.stop()
        self._renewal.follow()

    def stop(self) -> None:
        """This node does not belong to the cluster any more: nobody need wait here for a leader."""
        self._over = True
        self._moved.set()

    def mind_the_clock(self) -> None:
        """Once in a while: a member with a wrong clock does not lead where another can."""
        replica = self._driver.replica
        if replica.clocks.suspect != self._clock_suspect:
            self._clock_suspect = replica.clocks.suspect
            level = logging.ERROR if self._clock_suspect else logging.INFO
            event = "clock_wrong" if self._clock_suspect else "clock_right"
            log.log(level, event, extra={"off_ms": replica.clocks.deviation_ms()})
        if self._clock_suspect and replica.kernel.is_leader:
            self.begin_hand_over(None)

    def mind_the_void(self) -> None:
        """Once in a while: with no leader for long, say who is missing."""
        now_s = self._clock.monotonic()
        if self.leader is not None:
            self._leaderless_s = now_s
        elif now_s - max(self._leaderless_s + COMPLAIN_AFTER_S, self._complained_s + COMPLAIN_EVERY_S) > 0:
            self._complained_s = now_s
            log.warning("no_leader", extra={"reason": self._roster.reach()})

    def begin_hand_over(self, to: str | None) -> None:
        """Make this member the leader, or the best one, as soon as it has the whole log. Only where we lead."""
        self._driver.replica.hand_over(to, self._clock.monotonic() + HANDOVER_S)
        self._driver.kick()

    async def hand_over(self) -> None:
        """Where we lead and are not alone: wait until somebody else does, for a while."""
        replica = self._driver.replica
        if replica.kernel.is_leader and self._driver.connected:
            self.begin_hand_over(None)
            await self._until(lambda: self.leader != replica.me, HANDOVER_S)

    async def known(self, timeout_s: float) -> None:
        """Wait until somebody leads, but not longer than an election takes: whoever asks can ask another node then.

        Raises:
            NoLeader: nobody leads, as far as this node knows.
        """
        if self.leader is None:
            await self._until(lambda: self.leader is not None or self._over, min(timeout_s, self._wait_s))
        if self.leader is None:
            raise NoLeader(f"no leader is known to this node: {self._roster.reach()}")

    async def transfer(self, name: str | None) -> None:
        """Hand leadership, from whoever has it, to the member of this name, or to the one that has the most of the log.

        Raises:
            NoLeader: nobody has it.
            Refused: there is no such member, or it did not take it.
        """
        to = self._heir(name) if name is not None else None
        before = self._driver.replica.kernel.leader
        if before is None:
            raise NoLeader
        if to == before:
            return
        if before == self._driver.replica.me:
            self.begin_hand_over(to)
        else:
            self._driver.replica.mail(before, "transfer", to)
            self._driver.kick()
        if not await self._until(lambda: self.leader not in {before, None}, 2 * HANDOVER_S):
            raise Refused("not_ready", f"{name or 'nobody'} did not take over; is it reachable and caught up?")

    def _heir(self, name: str) -> str:
        seats = {self._roster.name_of(seat.id): seat for seat in self._roster.seats}
        seat = seats.get(name)
        if seat is None:
            raise Refused("not_found", f"there is no member {name}; there are {', '.join(sorted(map(str, seats)))}")
        if seat.role is not Role.VOTER:
            raise Refused("not_ready", f"{name} is a {seat.role}, and only voters lead")
        return seat.id

    def _change_leader(self, leader: str | None) -> None:
        self.leader = leader
        self.changes += 1
        self._moved.set()
        term = self._driver.replica.kernel.term
        log.info("leader_changed", extra={"leader": self._roster.name_of(leader), "term": term})
        if leader is not None:
            self._proposer.resend(self._clock.monotonic())
            self._driver.kick()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that comes with a change of leader."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True
