"""What becomes of a node's proposals is counted, and how long their verdicts took."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from peercron.clock import ManualClock
from peercron.consensus.driver import Driver
from peercron.consensus.proposer import PENDING_MAX, Proposer
from peercron.core.commands import RunJob
from peercron.core.verdict import Done, Refusal, Refused
from peercron.errors import Busy, NoLeader, OutcomeUnknown
from peercron.meters import Meters
from peercron.node.proposals import Proposals

COMMAND = RunJob("default/x")


class Desk:
    def __init__(self) -> None:
        self.clock, self.meters = ManualClock(), Meters()
        self.driver = SimpleNamespace(halt_reason=None, meters=self.meters, kick=lambda: None)
        self.proposer = Proposer("m", lambda _: None, lambda _: None)
        self.proposals = Proposals(self.proposer, cast("Driver", self.driver), self.clock)

    def propose(self) -> Any:
        future = self.proposals.propose(COMMAND, 5.0)
        self.proposer.send(self.clock.monotonic())
        return future


async def test_a_verdict_is_counted_with_its_time() -> None:
    desk = Desk()
    first, second = desk.propose(), desk.propose()
    desk.clock.advance(0.02)
    desk.proposer.decided(0, 1, Done(1))
    desk.proposer.decided(0, 2, Refused(2, Refusal.CONFLICT, "no"))
    await asyncio.gather(first, second)
    await asyncio.sleep(0)
    assert dict(desk.meters.proposals) == {"done": 1, "refused": 1}
    assert (desk.meters.proposal_s.count, round(desk.meters.proposal_s.sum, 3)) == (2, 0.04)
    desk.proposals.close()


async def test_an_unknown_outcome_is_counted_as_such() -> None:
    desk = Desk()
    future = desk.propose()
    desk.proposer.give_up()
    with pytest.raises(OutcomeUnknown):
        await future
    await asyncio.sleep(0)
    assert dict(desk.meters.proposals) == {"unknown_outcome": 1}
    assert desk.meters.proposal_s.count == 0
    desk.proposals.close()


async def test_what_is_turned_away_is_counted() -> None:
    desk = Desk()
    for _ in range(PENDING_MAX):
        desk.proposals.propose(COMMAND, 5.0)
    with pytest.raises(Busy):
        desk.proposals.propose(COMMAND, 5.0)
    desk.driver.halt_reason = "a broken disk"
    with pytest.raises(NoLeader):
        desk.proposals.propose(COMMAND, 5.0)
    assert dict(desk.meters.proposals) == {"busy": 1, "no_leader": 1}
    desk.proposals.close()
