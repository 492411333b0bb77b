"""Leases on a node: counted where it leads, never shorter than the holder does; renewals of a turn go together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peercron.clock import ManualClock
from peercron.core.apply import apply
from peercron.core.commands import Command, ExpireLease, OpenClient
from peercron.core.verdict import Done, Verdict
from peercron.errors import NoLeader, OutcomeUnknown, Refused
from peercron.machine import Machine
from peercron.node.leases import LOOK_S, Leases
from tests.core.builders import cluster
from tests.node.staged import until

TTL_MS = 1_000


class Desk:
    """One node that leads, whose proposals go through, get lost or stay under way, as it is told."""

    def __init__(self) -> None:
        self.clock = ManualClock(monotonic=100.0)
        self.machine = Machine("id-a")
        self.machine.state = cluster("a")
        self.proposed: list[Command] = []
        self.asked: list[Any] = []
        #: None: applied at once; otherwise what becomes of a proposal.
        self.fails: Exception | None = None
        self.holds = False
        self.proves = asyncio.Event()
        self.proves.set()
        self.leases = Leases(self.machine, self.clock, self.propose, self.barrier, self.ask)

    def propose(self, command: Command, _: float) -> asyncio.Future[Verdict]:
        self.proposed.append(command)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        if self.fails is not None:
            future.set_exception(self.fails)
        elif not self.holds:
            future.set_result(apply(self.machine.state, command, 0))
        return future

    async def barrier(self, _: float) -> None:
        await self.proves.wait()

    async def ask(self, errand: str, body: Any, _: float) -> Any:
        self.asked.append((errand, body))
        return await self.leases.serve("id-a", body)

    def open(self) -> int:
        verdict = apply(self.machine.state, OpenClient("x", TTL_MS), 0)
        assert isinstance(verdict, Done)
        return verdict.index

    def pass_s(self, seconds: float) -> None:
        """Time goes by, and the leader looks as often as it should."""
        end_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s:
            self.clock.advance(LOOK_S)
            self.look()

    def look(self) -> None:
        if self.leases._timer is not None:
            self.leases._timer.cancel()
        self.leases._look()


@pytest.fixture
async def desk() -> Any:
    desk = Desk()
    yield desk
    desk.leases.close()


async def test_a_lease_that_nobody_renews_ends_and_not_before_its_time(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    desk.pass_s(TTL_MS / 1_000)
    assert desk.proposed == []
    desk.pass_s(0.2)
    assert desk.proposed == [ExpireLease(lease)]
    assert desk.machine.state.leases == {}


async def test_who_renews_keeps_it(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    for _ in range(10):
        desk.pass_s(0.8)
        assert await desk.leases.renew(lease, 1.0) == TTL_MS
    assert desk.proposed == []


async def test_a_new_leader_counts_anew(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    desk.pass_s(0.9)
    desk.leases.stop()
    desk.clock.advance(5.0)
    desk.leases.lead()
    desk.pass_s(0.9)
    assert desk.proposed == []
    desk.pass_s(0.3)
    assert desk.proposed == [ExpireLease(lease)]


async def test_who_does_not_lead_ends_nothing_and_confirms_nothing(desk: Desk) -> None:
    lease = desk.open()
    desk.look()
    with pytest.raises(NoLeader):
        await desk.leases.renew(lease, 1.0)
    assert desk.proposed == []


async def test_a_lease_that_began_while_we_lead_is_counted(desk: Desk) -> None:
    desk.leases.lead()
    desk.pass_s(3.0)
    lease = desk.open()
    desk.pass_s(0.9)
    assert desk.proposed == []
    desk.pass_s(0.3)
    assert desk.proposed == [ExpireLease(lease)]


async def test_a_doomed_lease_is_never_confirmed_again(desk: Desk) -> None:
    """Its end may be in the log although it seems lost."""
    lease = desk.open()
    desk.leases.lead()
    desk.fails = OutcomeUnknown()
    desk.pass_s(1.2)
    assert desk.proposed == [ExpireLease(lease)]
    assert lease in desk.machine.state.leases
    with pytest.raises(Refused, match="has ended"):
        await desk.leases.renew(lease, 1.0)
    desk.fails = None
    desk.pass_s(2.5)
    assert desk.proposed == [ExpireLease(lease)] * 2
    assert desk.machine.state.leases == {}


async def test_a_renewal_that_came_in_time_and_was_not_proven_yet_keeps_it_from_ending(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    desk.pass_s(0.9)
    desk.proves.clear()
    renewal = asyncio.ensure_future(desk.leases.renew(lease, 1.0))
    await until(lambda: desk.asked)
    desk.pass_s(0.5)
    assert desk.proposed == []
    desk.proves.set()
    assert await renewal == TTL_MS


async def test_a_leader_that_is_deposed_while_it_proves_confirms_nothing(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    desk.proves.clear()
    renewal = asyncio.ensure_future(desk.leases.renew(lease, 1.0))
    await until(lambda: desk.asked)
    desk.leases.stop()
    desk.leases.lead()  # the same member, another term
    desk.proves.set()
    with pytest.raises(NoLeader):
        await renewal


async def test_a_leader_that_stood_still_forgives_the_silence(desk: Desk) -> None:
    lease = desk.open()
    desk.leases.lead()
    desk.pass_s(0.5)
    desk.clock.advance(30.0)  # stopped
    desk.look()
    desk.pass_s(0.4)
    assert desk.proposed == []
    desk.pass_s(0.3)
    assert desk.proposed == [ExpireLease(lease)]


async def test_renewals_of_one_turn_are_one_errand(desk: Desk) -> None:
    leases = [desk.open() for _ in range(5)]
    desk.leases.lead()
    gone = desk.open()
    apply(desk.machine.state, ExpireLease(gone), 0)
    answers = await asyncio.gather(*[desk.leases.renew(n, 1.0) for n in (*leases, gone)], return_exceptions=True)
    assert answers[:5] == [TTL_MS] * 5
    assert isinstance(answers[5], Refused)
    assert desk.asked == [("renew", (*leases, gone))]


async def test_where_nothing_is_lent_nothing_wakes_up(desk: Desk) -> None:
    desk.leases.lead()
    assert desk.leases._timer is None
    lease = desk.open()
    desk.leases.lead()
    assert desk.leases._timer is not None
    desk.pass_s(1.2)
    assert desk.proposed == [ExpireLease(lease)]
    desk.look()
    assert desk.leases._timer is None
