"""Renewals: a new leader hears of every session at once, so that a lease that ran out meanwhile holds no work up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from peercron.clock import SystemClock
from peercron.core.member import Member, MemberInfo, Role
from peercron.identity import Identity
from peercron.machine import Machine
from peercron.node.renewal import Renewal
from peercron.timers import Timers
from tests.node.staged import Driver, driver, until

#: Nothing here waits for a renewal that is due by time: it would take longer than `until` waits.
TIMERS = Timers(1, 300, 600, lease_ms=600_000, renew_ms=100_000, stop_ms=300_000, kill_ms=500_000)


class Asked(Driver):
    """Proves at once that its replica leads, and notes whether that was urgent."""

    def __init__(self, staged: Driver) -> None:
        super().__init__(staged.replica, staged.connected)
        self.urgent: list[bool] = []

    async def read_barrier(self, deadline_s: float, *, urgent: bool) -> None:
        self.urgent.append(urgent)


class Desk:
    """One node's renewal; `me` and `peer` have open sessions of number 1."""

    def __init__(self, me: str, peer: str) -> None:
        self.driver = Asked(driver("a", "b", "c"))
        self.driver.replica.me = me
        self.leases: list[tuple[float, float]] = []
        machine = Machine(me)
        for name in (me, peer):
            info = MemberInfo(name, name, f"{name}:7400", f"{name}:8400", role=Role.VOTER)
            machine.state.members[name] = Member(info, 1, open=True, opened_ms=0)
        nothing: Any = None
        self.renewal = Renewal(
            nothing, Identity("c", me, "i", f"{me}:7400", (), 1), nothing, machine, TIMERS, SystemClock(), nothing,
            nothing, lambda *lease: self.leases.append(lease), nothing, nothing, nothing,
        )  # fmt: skip
        self.renewal.driver = self.driver  # type: ignore[assignment]

    def led_by(self, leader: str | None) -> None:
        self.driver.replica.kernel.leader = leader
        self.renewal.turn()

    def sent_to(self, peer: str) -> list[Any]:
        return [body for to, kind, body in self.driver.replica.mails if (to, kind) == (peer, "renew")]

    def confirm(self, peer: str) -> None:
        _, number, _, _ = self.sent_to(peer)[-1]
        self.renewal.on_mail(peer, "renewed", (number, 0.0, 0))


@asynccontextmanager
async def keeping(desk: Desk) -> AsyncIterator[None]:
    task = asyncio.create_task(desk.renewal.keep())
    try:
        yield
    finally:
        task.cancel()
        desk.renewal.close()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_new_leader_is_told_at_once() -> None:
    desk = Desk("b", "a")
    desk.led_by("a")
    async with keeping(desk):
        await until(lambda: desk.sent_to("a"))
        desk.confirm("a")
        assert len(desk.leases) == 1
        desk.led_by(None)
        desk.led_by("c")
        await until(lambda: desk.sent_to("c"))


async def test_a_leader_that_is_still_deaf_is_told_again() -> None:
    desk = Desk("b", "a")
    desk.led_by("a")
    async with keeping(desk):
        await until(lambda: len(desk.sent_to("a")) > 3)
        desk.confirm("a")


async def test_the_first_renewal_that_a_leader_hears_is_confirmed_without_delay() -> None:
    """It asks for its proof at once; later ones ride on heartbeats, which cost nothing."""
    desk = Desk("a", "b")
    desk.led_by("a")
    desk.renewal.lead()
    for number in (1, 2, 3):
        desk.renewal.on_mail("b", "renew", (1, number, None, None))
        await until(lambda number=number: len(desk.driver.replica.mails) == number)  # type: ignore[misc]
    assert desk.driver.urgent == [True, False, False]
    desk.renewal.follow()
    desk.renewal.lead()
    desk.renewal.on_mail("b", "renew", (1, 4, None, None))
    await until(lambda: len(desk.driver.replica.mails) == 4)
    assert desk.driver.urgent == [True, False, False, True]
