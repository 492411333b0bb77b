"""A member's end of its session: which number it has, and when it may have none any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import Command, ExpireSession, OpenSession
from peercron.core.member import MemberInfo
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict
from peercron.errors import DataDirError, OutcomeUnknown
from peercron.identity import Identity
from peercron.node import renewal as renewal_module
from peercron.node.renewal import Renewal
from peercron.timers import PROFILES
from tests.node.staged import driver, until

INFO = MemberInfo("a", "one", "a:1", "a:2", incarnation="born")


class Boot:
    """Member `a` in its first boot, of a cluster that applies what it is told at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(renewal_module, "OPEN_TIMEOUT_S", 0)
        monkeypatch.setattr(renewal_module, "OPEN_PAUSE_S", 0)
        self.state, self.refused, self.numbers, self.disk_full = ClusterState(), list[str](), list[int](), False
        #: Each look at the clock takes a second.
        self.looks = count(100)
        self.unanswered = 0
        self.leases: list[tuple[float, float]] = []
        clock: Any = SimpleNamespace(monotonic=lambda: float(next(self.looks)), wall_ms=lambda: 0)
        folder: Any = SimpleNamespace(next_session=self.numbered)
        machine: Any = SimpleNamespace(state=self.state)
        propose: Any = self.propose
        self.renewal = Renewal(
            lambda: INFO,
            Identity("peercron-x", "a", "born", "a:1", ("a",), 1),
            folder,
            machine,
            replace(PROFILES["lan"], renew_ms=0),
            clock,
            propose,
            propose,
            lambda *lease: self.leases.append(lease),
            lambda code, _: self.refused.append(code),
            self.lost,
            self.numbers.append,
        )
        self.renewal.driver = driver("a")  # type: ignore[assignment]
        self.renewal.driver.replica.kernel.leader = None  # type: ignore[misc, union-attr]
        self.keeping = asyncio.get_running_loop().create_task(self.renewal.keep())

    def numbered(self, identity: Identity) -> Identity:
        if self.disk_full:
            raise DataDirError("no space")
        return replace(identity, session=identity.session + 1)

    async def propose(self, command: Command, _: float) -> Verdict:
        verdict = self.told(command)
        if self.unanswered:
            self.unanswered -= 1
            raise OutcomeUnknown
        return verdict

    def told(self, command: Command) -> Verdict:
        return apply(self.state, command, 0)

    async def lost(self) -> None:
        return

    async def opened(self, session: int) -> None:
        await until(lambda: self.renewal.is_open and self.renewal.identity.session == session)


async def test_a_lease_is_counted_from_the_first_try_to_open_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of them may have opened it, and the leader counts from there: counted from the last, an attempt was started
    here half a second after the leader had given it to somebody else (simulation, seed 559).
    """
    at = Boot(monkeypatch)
    at.unanswered = 3
    first_s = 100.0
    state, at.renewal._machine.state = at.state, ClusterState()  # what was applied is not known here yet
    await until(lambda: not at.unanswered and at.leases)
    at.renewal._machine.state = state
    base_s = first_s + PROFILES["lan"].stop_ms / 1000
    assert at.leases[0][0] == base_s
    at.keeping.cancel()


async def test_a_session_that_was_given_up_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Boot(monkeypatch)
    await at.opened(1)
    at.told(ExpireSession("a", 1))
    await at.opened(2)
    assert (at.numbers, at.refused) == ([2], [])
    at.keeping.cancel()


async def test_who_sees_a_later_session_of_its_own_was_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would vote under the same name, and take the other's session in turn, for ever."""
    at = Boot(monkeypatch)
    await at.opened(1)
    at.told(OpenSession(INFO, 2))
    await until(lambda: at.refused)
    assert (set(at.refused), at.numbers) == ({"copied"}, [])
    at.keeping.cancel()


async def test_a_full_disk_keeps_a_session_closed_only_as_long_as_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Boot(monkeypatch)
    await at.opened(1)
    at.disk_full = True
    at.told(ExpireSession("a", 1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not at.keeping.done()
    assert not at.renewal.is_open
    at.disk_full = False
    await at.opened(2)
    at.keeping.cancel()
