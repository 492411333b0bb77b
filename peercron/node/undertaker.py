"""Undertaker: where it was asked for, the leader removes members that are long dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from peercron.consensus.driver import Driver
from peercron.core.member import VOTING, Seat
from peercron.errors import ProposalError
from peercron.node.attendance import Attendance

log = logging.getLogger(__name__)

#: Never leave fewer voters than this. With three of which one is dead, and with two, the next death stops the cluster:
#: removing the dead one wins nothing, and loses that it may come back.
VOTERS_LEFT_MIN: Final = 3


class Undertaker:
    """Looks at the members every other second.

    Args:
        after_s: how long one must have been silent; None: nobody is ever removed.
        remove: has a member removed.
    """

    def __init__(
        self, after_s: float | None, driver: Driver, attendance: Attendance, remove: Callable[[str], Awaitable[None]]
    ) -> None:
        self._after_s, self._driver, self._attendance, self._remove = after_s, driver, attendance, remove
        self._task: asyncio.Task[None] | None = None
        #: Dead members that have to stay; said once each.
        self._kept: dict[str, None] = {}

    def look(self, now_s: float) -> None:
        """Where we lead: is there one to be removed?"""
        replica = self._driver.replica
        if self._after_s is None or not replica.kernel.noop_applied or self._task is not None:
            return
        dead = [seat for seat in replica.configuration.seats if self._is_dead(seat, now_s)]
        self._kept = {seat.id: None for seat in dead if seat.id in self._kept}
        for seat in dead:
            if self._may_go(seat):
                self._task = asyncio.get_running_loop().create_task(self._bury(seat))
                return
            if seat.id not in self._kept:
                self._kept[seat.id] = None
                reason = f"fewer than {VOTERS_LEFT_MIN} voters would be left, or no majority of them is there"
                log.warning("dead_member_kept", extra={"member": seat.name, "reason": reason})

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _is_dead(self, seat: Seat, now_s: float) -> bool:
        there = seat.id == self._driver.replica.me or seat.id in self._driver.connected
        return not there and self._attendance.missed_s(seat.id, now_s) >= (self._after_s or 0.0)

    def _may_go(self, seat: Seat) -> bool:
        if seat.role not in VOTING:
            return True
        there = {self._driver.replica.me, *self._driver.connected}
        left = [id_ for id_ in self._driver.replica.configuration.voters if id_ != seat.id]
        return len(left) >= VOTERS_LEFT_MIN and len(there.intersection(left)) >= len(left) // 2 + 1

    async def _bury(self, seat: Seat) -> None:
        try:
            await self._remove(seat.id)
            log.warning("dead_member_removed", extra={"member": seat.name, "id": seat.id})
        except ProposalError as error:
            log.warning("dead_member_not_removed", extra={"member": seat.name, "reason": str(error)})
        finally:
            self._task = None
