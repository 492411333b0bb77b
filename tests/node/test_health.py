"""A member's verdicts on their way into the log: the difference to what the state says, until there is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from peercron.core.apply import apply
from peercron.core.check import Check, EndpointProbe, Probe
from peercron.core.commands import Command, ExpireSession, OpenSession, PutJob, ReportHealth
from peercron.core.limits import HEALTH_REPORTS_MAX
from peercron.core.verdict import Verdict
from peercron.errors import NoLeader
from peercron.health.probes import Result
from peercron.machine import Machine
from peercron.node import health as node_health
from peercron.node.health import Health
from tests.core.builders import NOW, definition, done, info

PORT = Check("port", EndpointProbe("", 80), interval_ms=200, rise=1, fall=1)


@dataclass
class Staged:
    """A node's health over a state that proposals reach at once, or not at all."""

    machine: Machine = field(default_factory=lambda: Machine("id-a"))
    well: bool = True
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[ReportHealth] = field(default_factory=list)
    no_leader: bool = False
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.health = Health("id-a", self.machine, self.propose, self)
        for name in ("a", "b"):
            done(self.machine.state, OpenSession(info(name), 1))

    async def look(self, probe: Probe, host: str, timeout_s: float) -> Result:
        self.looked.set()
        return Result(self.well, f"at {host}")

    async def close(self) -> None:
        pass

    def propose(self, command: Command, timeout_s: float) -> asyncio.Future[Verdict]:
        if self.no_leader:
            self.refused.set()
            raise NoLeader
        assert isinstance(command, ReportHealth)
        self.said.append(command)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        future.set_result(apply(self.machine.state, command, NOW))
        return future

    def opinions(self) -> dict[str, bool]:
        """What we say, by the name of whom we speak of."""
        said = next(iter(self.machine.state.health.values()), {})
        return {subject[3:]: each.well for (_, subject, me), each in said.items() if me == "id-a"}

    async def until(self, opinions: dict[str, bool]) -> None:
        async with asyncio.timeout(10):
            while self.opinions() != opinions:
                self.looked.clear()
                await self.looked.wait()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_health, "REPORT_PAUSE_S", 0.001)


async def test_verdicts_are_told_when_they_change() -> None:
    staged = Staged()
    done(staged.machine.state, PutJob(definition(checks=(PORT,))))
    staged.health.turn(1)
    await staged.until({"a": True, "b": True})
    told = len(staged.said)
    staged.looked.clear()
    await staged.looked.wait()
    assert len(staged.said) == told
    staged.well = False
    await staged.until({"a": False, "b": False})
    await staged.health.close()


async def test_what_was_not_heard_is_told_again() -> None:
    staged = Staged(no_leader=True)
    done(staged.machine.state, PutJob(definition(checks=(PORT,))))
    staged.health.turn(1)
    await staged.refused.wait()
    staged.no_leader = False
    await staged.until({"a": True, "b": True})
    await staged.health.close()


async def test_a_new_session_says_everything_anew() -> None:
    staged = Staged()
    done(staged.machine.state, PutJob(definition(checks=(PORT,))))
    staged.health.turn(1)
    await staged.until({"a": True, "b": True})
    done(staged.machine.state, ExpireSession("id-a", 1))
    staged.health.turn(1)
    assert staged.opinions() == {}
    done(staged.machine.state, OpenSession(info("a"), 2))
    staged.health.turn(2)
    await staged.until({"a": True, "b": True})
    assert staged.said[-1].session == 2
    await staged.health.close()


async def test_one_command_holds_only_so_much() -> None:
    staged = Staged()
    for number in range(HEALTH_REPORTS_MAX):
        done(staged.machine.state, PutJob(definition(f"job{number}", checks=(PORT,))))
    staged.health.turn(1)
    async with asyncio.timeout(10):
        while sum(len(said) for said in staged.machine.state.health.values()) < 2 * HEALTH_REPORTS_MAX:
            staged.looked.clear()
            await staged.looked.wait()
    assert max(len(command.reports) for command in staged.said) == HEALTH_REPORTS_MAX
    await staged.health.close()


async def test_who_is_asked_nothing_looks_at_nothing() -> None:
    staged = Staged()
    done(staged.machine.state, PutJob(definition()))
    staged.health.turn(1)
    await asyncio.sleep(0)
    assert not staged.looked.is_set()
    assert staged.said == []
    await staged.health.close()
