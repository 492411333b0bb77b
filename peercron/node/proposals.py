"""Proposals: this node's way into the log, and the look at those that have waited too long."""

from __future__ import annotations

import asyncio
from typing import Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.consensus.proposer import Proposer
from peercron.core.commands import Command, Once
from peercron.core.verdict import Verdict
from peercron.errors import NoLeader

#: How often proposals are checked for having run out of time.
CHECK_S: Final = 0.05


class Proposals:
    """A proposer with a timer, which runs only while something waits."""

    def __init__(self, proposer: Proposer, driver: Driver, clock: Clock) -> None:
        self._proposer, self._driver, self._clock = proposer, driver, clock
        self._timer: asyncio.TimerHandle | None = None

    def propose(
        self, command: Command, timeout_s: float, *, here: bool = False, once: Once | None = None
    ) -> asyncio.Future[Verdict]:
        """See `Proposer.propose`. NoLeader: this node's consensus has stopped."""
        if self._driver.halt_reason is not None:
            raise NoLeader(f"this node has stopped: {self._driver.halt_reason}")
        future = self._proposer.propose(command, self._clock.monotonic() + timeout_s, here=here, once=once)
        if self._timer is None:
            self._wake()
        self._driver.kick()
        return future

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _check(self) -> None:
        self._proposer.check(self._clock.monotonic())
        self._timer = None
        if len(self._proposer):
            self._wake()
