"""Planning: the leader's duty on the loop: wake when something is due, propose it, and look at what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from peercron.core.commands import Command
from peercron.core.planner import Planner
from peercron.core.verdict import Verdict
from peercron.errors import Busy
from peercron.machine import Machine

log = logging.getLogger(__name__)

#: How long a plan may be under way before it is planned anew.
PLAN_TIMEOUT_S: Final = 5.0
#: Longest sleep between two looks, so that a wall clock that steps is noticed.
LOOK_S_MAX: Final = 1.0
BUSY_PAUSE_S: Final = 0.05

Propose = Callable[[Command, float], "asyncio.Future[Verdict]"]


class Planning:
    """Runs a Planner while this member leads.

    Args:
        machine: whose state is planned for.
        propose: takes a command and a time-out in seconds.
        now_ms: the time that the log is stamped with decides what is due.
        is_right: is that time to be trusted at this very moment?
    """

    def __init__(
        self, machine: Machine, propose: Propose, now_ms: Callable[[], int], is_right: Callable[[], bool]
    ) -> None:
        self._machine, self._propose, self._now_ms, self._is_right = machine, propose, now_ms, is_right
        self._planner: Planner | None = None
        self._generation = self._seen_index = -1
        #: When we began to lead, UTC: slots from before had no leader, which is why they were not fired.
        self._leading_since_ms: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def lead(self) -> None:
        """We lead, and our state is the cluster's. Does nothing when we did already."""
        if self._planner is not None and self._generation == self._machine.generation:
            return
        if self._leading_since_ms is None or self._planner is not None:
            # Another state while we lead is a snapshot that was restored: nobody led it until now.
            self._leading_since_ms = self._now_ms()
        self._put_away()
        self._planner = Planner(self._machine.state, leading_since_ms=self._leading_since_ms)
        self._generation = self._machine.generation
        self._seen_index = -1

    def stop(self) -> None:
        """Somebody else leads."""
        self._leading_since_ms = None
        self._put_away()

    def _put_away(self) -> None:
        if self._planner is not None:
            self._planner.close()
            self._planner = None
        self._cancel_timer()

    @property
    def due_ms(self) -> int | None:
        """When the first thing is due, UTC; None: nothing is, or somebody else leads."""
        return self._planner.next_due_ms() if self._planner is not None else None

    def turn(self) -> None:
        """A turn is over: if the state has moved, something else may be due."""
        if self._machine.state.index != self._seen_index:
            self._look()

    def _look(self) -> None:
        """Propose what is due, and sleep until the next."""
        planner = self._planner
        if planner is None or not self._is_right():
            self._seen_index = -1  # the next turn stops us, or looks again
            return
        self._seen_index = self._machine.state.index
        self._cancel_timer()
        due_ms = planner.next_due_ms()
        if due_ms is not None and due_ms <= self._now_ms() and not self._propose_all(planner):
            self._wake_in(BUSY_PAUSE_S)
            return
        due_ms = planner.next_due_ms()
        if due_ms is not None:
            self._wake_in(min(max(0.0, (due_ms - self._now_ms()) / 1000), LOOK_S_MAX))

    def _propose_all(self, planner: Planner) -> bool:
        room = True
        for command in planner.plan(self._now_ms()):
            if not room:
                planner.settle(command, None)
                continue
            try:
                future = self._propose(command, PLAN_TIMEOUT_S)
            except Busy:
                room = False
                planner.settle(command, None)
                continue
            future.add_done_callback(lambda f, c=command: self._settle(planner, c, f))  # type: ignore[misc]
        return room

    def _settle(self, planner: Planner, command: Command, future: asyncio.Future[Verdict]) -> None:
        failed = future.cancelled() or future.exception() is not None
        planner.settle(command, None if failed else future.result())
        if planner is self._planner:
            self._look()

    def _wake_in(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
