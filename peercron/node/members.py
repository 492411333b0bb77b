"""Members: everything of a node that is about who belongs to the cluster, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.core.state import ClusterState
from peercron.identity import Identity
from peercron.node.attendance import Attendance
from peercron.node.errands import Errands
from peercron.node.membership import Membership
from peercron.node.remembered import incarnations
from peercron.node.steward import Answer, Steward
from peercron.node.undertaker import Undertaker
from peercron.settings import Settings

#: How long the leader tries to remove a member that is long dead; it tries again.
REMOVE_S: Final = 5.0
MAIL: Final = frozenset({"ask", "told"})


class Members:
    """The member's own end, the leader's end, and the way between them.

    Args:
        settings, identity: what this node was told, and what its data directory remembers.
        driver: its consensus.
        clock: monotonic time.
        state: what was applied here.
        resign: begins to hand leadership to somebody else.
        errands: name -> who answers it where this node leads; beside those about members.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        driver: Driver,
        clock: Clock,
        state: Callable[[], ClusterState],
        resign: Callable[[], None],
        errands: Mapping[str, Answer],
    ) -> None:
        self._driver, self._clock = driver, clock
        self._steward = Steward(driver, state, resign, errands)
        self._errands = Errands(driver, clock, self._steward.serve)
        replica = driver.replica
        unapplied = replica.journal[replica.kernel.applied + 1 - replica.journal.base[0] :]
        known = incarnations(unapplied, state().recoveries)
        self.mine = Membership(settings, identity, driver, self._errands, state, self._steward.moved, known)
        self.attendance = Attendance()
        after_ms = settings.remove_dead_after_ms
        self._undertaker = Undertaker(
            None if after_ms is None else after_ms / 1000,
            driver,
            self.attendance,
            lambda member: self.mine.remove(member, REMOVE_S),
        )

    def look(self) -> None:
        """Every other second: who is there, and who has been away for too long?"""
        replica, now_s = self._driver.replica, self._clock.monotonic()
        members = [seat.id for seat in replica.configuration.seats]
        self.attendance.look(members, (replica.me, *self._driver.connected), now_s)
        self.attendance.lead(now_s, leading=replica.kernel.noop_applied)
        self._undertaker.look(now_s)

    async def ask(self, errand: str, body: Any, seconds: float) -> Any:
        """See `Errands.ask`."""
        return await self._errands.ask(errand, body, seconds)

    def on_mail(self, peer: str, kind: str, body: Any) -> None:
        self._errands.on_mail(peer, kind, body)

    def close(self) -> None:
        self._undertaker.close()
        self._errands.close()
