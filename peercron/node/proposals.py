"""Proposals: this node's way into the log, and the look at those that have waited too long."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.consensus.proposer import Proposer
from peercron.core.commands import Command, Once
from peercron.core.verdict import Done, Verdict
from peercron.errors import Busy, NoLeader, OutcomeUnknown, ProposalError

#: How often proposals are checked for having run out of time.
CHECK_S: Final = 0.05


class Proposals:
    """A proposer with a timer, which runs only while something waits."""

    def __init__(self, proposer: Proposer, driver: Driver, clock: Clock) -> None:
        self._proposer, self._driver, self._clock = proposer, driver, clock
        self._timer: asyncio.TimerHandle | None = None
        self._meters = driver.meters

    def __len__(self) -> int:
        return len(self._proposer)

    def propose(
        self, command: Command, timeout_s: float, *, here: bool = False, once: Once | None = None
    ) -> asyncio.Future[Verdict]:
        """See `Proposer.propose`. NoLeader: this node's consensus has stopped."""
        if self._driver.halt_reason is not None:
            self._meters.proposals[NoLeader.code] += 1
            raise NoLeader(f"this node has stopped: {self._driver.halt_reason}")
        begun_s = self._clock.monotonic()
        try:
            future = self._proposer.propose(command, begun_s + timeout_s, here=here, once=once)
        except ProposalError as error:
            self._meters.proposals[_word_for(error)] += 1
            raise
        future.add_done_callback(partial(self._decided, begun_s))
        if self._timer is None:
            self._wake()
        self._driver.kick()
        return future

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _decided(self, begun_s: float, future: asyncio.Future[Verdict]) -> None:
        if future.cancelled():
            self._meters.proposals["cancelled"] += 1
        elif error := future.exception():
            self._meters.proposals[_word_for(error)] += 1
        else:
            self._meters.proposals["done" if isinstance(future.result(), Done) else "refused"] += 1
            self._meters.proposal_s.observe(self._clock.monotonic() - begun_s)

    def _wake(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _check(self) -> None:
        self._proposer.check(self._clock.monotonic())
        self._timer = None
        if len(self._proposer):
            self._wake()


def _word_for(error: BaseException) -> str:
    """By what a proposal without a verdict is counted; what was refused at the door is refused."""
    return error.code if isinstance(error, NoLeader | Busy | OutcomeUnknown) else "refused"
