"""Long dead members: counted, told of, and removed only where that was asked for and harms nobody."""

from __future__ import annotations

import asyncio

import pytest

from peercron.core.member import Role
from peercron.errors import NoLeader
from peercron.node.attendance import Attendance
from peercron.node.undertaker import Undertaker
from tests.node.staged import Driver, driver


def attended(at: Driver, *, silent_s: float) -> Attendance:
    """All were there at second 0, and those that are not there now have not been since."""
    attendance = Attendance()
    members = [seat.id for seat in at.replica.configuration.seats]
    attendance.look(members, members, 0.0)
    attendance.lead(0.0, leading=True)
    for now_s in range(2, int(silent_s), 2):
        attendance.look(members, at.connected, now_s)
    attendance.look(members, at.connected, silent_s)
    return attendance


async def buried(at: Driver, after_s: float | None = 60.0, silent_s: float = 61.0) -> list[str]:
    gone: list[str] = []

    async def remove(member: str) -> None:
        gone.append(member)

    undertaker = Undertaker(after_s, at, attended(at, silent_s=silent_s), remove)  # type: ignore[arg-type]
    undertaker.look(silent_s)
    await asyncio.sleep(0)
    undertaker.close()
    return gone


@pytest.mark.parametrize(
    "at",
    [
        driver("a", "b", "c", "d", there="abc"),
        driver("a", "b", "c", d=Role.WITNESS, there="abc"),
        driver("a", d=Role.LEARNER, there="a"),
    ],
)
async def test_a_dead_member_is_removed_on_request(at: Driver) -> None:
    assert await buried(at) == ["d"]
    assert await buried(at, after_s=None) == []
    assert await buried(at, silent_s=59.0) == []


@pytest.mark.parametrize(
    "at",
    [
        driver("a", "b", "c", there="ab"),  # two would be left, which bear no death either
        driver("a", "b", "c", "d", "e", "f", there="ab"),  # most are away: perhaps it is we who are
        driver("a", "b", "c", "d", there="abcd"),
    ],
)
async def test_who_may_be_needed_again_stays(at: Driver) -> None:
    assert await buried(at) == []


async def test_only_the_leader_removes() -> None:
    at = driver("a", "b", "c", "d", there="abc")
    at.replica.kernel.noop_applied = False
    assert await buried(at) == []


async def test_one_at_a_time() -> None:
    assert await buried(driver("a", "b", "c", "d", "e", there="abc")) == ["d"]


async def test_a_removal_that_fails_is_tried_again() -> None:
    at, tries = driver("a", "b", "c", "d", there="abc"), 0

    async def remove(_: str) -> None:
        nonlocal tries
        tries += 1
        raise NoLeader

    undertaker = Undertaker(60.0, at, attended(at, silent_s=61.0), remove)  # type: ignore[arg-type]
    for _ in range(2):
        undertaker.look(61.0)
        undertaker.look(61.0)
        for _ in range(3):
            await asyncio.sleep(0)
    assert tries == 2


def test_silence_counts_from_the_last_word() -> None:
    attendance = Attendance()
    attendance.look("ab", "a", 10.0)
    assert (attendance.silent_s("a", 12.0), attendance.silent_s("b", 12.0)) == (2.0, 2.0)
    attendance.look("ab", "b", 20.0)
    assert (attendance.silent_s("a", 21.0), attendance.silent_s("b", 21.0)) == (11.0, 1.0)
    attendance.look("b", "", 30.0)
    attendance.look("ab", "", 40.0)
    assert attendance.silent_s("a", 41.0) == 1.0, "who was no member in between is new"
    assert attendance.silent_s("z", 41.0) == 0.0


def test_who_stood_still_itself_counts_anew() -> None:
    """All machines of a cluster may have been stopped together: who is not back at once is not dead for a day."""
    attendance = Attendance()
    attendance.look("ab", "ab", 0.0)
    attendance.lead(0.0, leading=True)
    attendance.look("ab", "a", 86_400.0)
    attendance.lead(86_400.0, leading=True)
    assert attendance.missed_s("b", 86_400.0) == 0.0
    attendance.look("ab", "a", 86_402.0)
    assert attendance.missed_s("b", 86_402.0) == 2.0


def test_a_new_leader_counts_anew() -> None:
    attendance = Attendance()
    attendance.look("ab", "ab", 0.0)
    assert attendance.missed_s("b", 100.0) == 0.0
    attendance.lead(90.0, leading=True)
    attendance.lead(95.0, leading=True)
    assert attendance.missed_s("b", 100.0) == 10.0
    attendance.lead(101.0, leading=False)
    assert attendance.missed_s("b", 200.0) == 0.0
