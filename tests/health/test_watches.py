"""Watches: looked at again and again, told when a verdict turns."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from peercron.core.check import Check, EndpointProbe, Probe, ProcessProbe
from peercron.core.health import Standing
from peercron.health.limits import PROBES_AT_ONCE_MAX
from peercron.health.probes import Result
from peercron.health.watches import Watches, target

PORT = Check("port", EndpointProbe("", 80), interval_ms=3_000, fall=2, rise=1)
PID = Check("pid", ProcessProbe(name="x"))


class World:
    """Answers probes, and lets no time pass by itself."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.looks: Counter[str] = Counter()
        self.turns = 0
        self.under_way = self.most_under_way = 0
        self.slow = asyncio.Event()
        self.slow.set()
        self.paused: list[tuple[float, asyncio.Future[None]]] = []
        self.watches = Watches(self.turned, self, self.sleep)

    def turned(self) -> None:
        self.turns += 1

    async def look(self, probe: Probe, host: str, timeout_s: float) -> Result:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.slow.wait()
        self.under_way -= 1
        self.looks[host] += 1
        return Result(False, f"look {self.looks[host]}") if host in self.down else Result(True, "fine")

    async def close(self) -> None:
        pass

    async def sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.paused.append((seconds, waiter))
        await waiter

    async def settle(self) -> None:
        """Let the loop do what it can."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def round(self) -> None:
        """Everybody's interval is over."""
        paused, self.paused = self.paused, []
        for _, waiter in paused:
            if not waiter.done():
                waiter.set_result(None)
        await self.settle()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_verdict_that_turns_is_told_with_what_turned_it(world: World) -> None:
    of = target(PORT, "a")
    world.watches.keep([of])
    await world.settle()
    assert (world.watches.standing(of), world.turns) == ((Standing(True), "fine"), 1)
    world.down.add("a")
    await world.round()
    assert world.turns == 1
    await world.round()
    assert (world.watches.standing(of), world.turns) == ((Standing(False), "look 3"), 2)
    await world.watches.close()


async def test_looks_begin_an_interval_after_each_other(world: World) -> None:
    world.watches.keep([target(PORT, "a")])
    await world.settle()
    ((seconds, _),) = world.paused
    assert 2.5 < seconds <= 3.0
    await world.watches.close()


async def test_what_goes_on_keeps_its_standing_and_what_is_over_is_forgotten(world: World) -> None:
    a, b = target(PORT, "a"), target(PORT, "b")
    world.watches.keep([a, b])
    await world.settle()
    world.watches.keep([b])
    await world.settle()
    assert (world.looks["a"], world.looks["b"]) == (1, 1)
    assert world.watches.standing(a) == (Standing(), "")
    await world.round()
    assert (world.looks["a"], world.looks["b"]) == (1, 2)
    await world.watches.close()


async def test_jobs_that_ask_the_same_share_one_watch(world: World) -> None:
    other = Check("another-name", PORT.probe, PORT.interval_ms, rise=1, fall=2, observers=3)
    assert target(other, "a") == target(PORT, "a") != target(PORT, "b")
    assert target(PID, "a") == target(PID, "b")  # only ever at this machine


async def test_no_more_than_so_many_look_at_once(world: World) -> None:
    world.slow.clear()
    world.watches.keep([target(PORT, f"n{number}") for number in range(2 * PROBES_AT_ONCE_MAX)])
    await world.settle()
    assert world.most_under_way == PROBES_AT_ONCE_MAX
    world.slow.set()
    for _ in range(2 * PROBES_AT_ONCE_MAX):
        await world.settle()
    assert len(world.looks) == 2 * PROBES_AT_ONCE_MAX
    assert world.most_under_way == PROBES_AT_ONCE_MAX
    await world.watches.close()
