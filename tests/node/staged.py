"""A stage for what a node does about members: a driver whose replica does as it is told, and tells what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from peercron.consensus.clocks import Moved
from peercron.core.member import Configuration, Role, Seat


@dataclass
class Kernel:
    leader: str | None = "a"
    noop_applied: bool = True
    is_leader: bool = True
    followers: tuple[str, ...] = ()
    term: int = 1
    commit: int = 9
    #: Who has not answered this leader yet.
    unheard: set[str] = field(default_factory=set)

    def match_index(self, peer: str) -> int:
        return 0 if peer in self.unheard else self.commit - 2


@dataclass
class Clocks:
    suspect: bool = False
    two: Moved | None = None

    def moved(self) -> Moved | None:
        return self.two

    def apart_ms(self) -> int:
        return 7_000

    def deviation_ms(self) -> int:
        return 7_000


@dataclass
class Replica:
    """Takes a change when it is allowed to, and commits it when it is told to, or at once."""

    me: str = "a"
    configuration: Configuration = field(default_factory=Configuration)
    kernel: Kernel = field(default_factory=Kernel)
    commits: bool = True
    holds: str | None = None
    removed: bool = False
    clocks: Clocks = field(default_factory=Clocks)
    changes: list[tuple[Seat, ...]] = field(default_factory=list)
    mails: list[tuple[str, str, Any]] = field(default_factory=list)
    committed_configuration: Configuration = field(init=False)

    def __post_init__(self) -> None:
        self.committed_configuration = self.configuration

    @property
    def configuration_settled(self) -> bool:
        return self.committed_configuration == self.configuration

    def change(self, seats: tuple[Seat, ...]) -> str | None:
        if self.holds is not None:
            return self.holds
        self.changes.append(seats)
        self.configuration = replace(self.configuration, seats=seats)
        if self.commits:
            self.committed_configuration = self.configuration
        return None

    def mail(self, peer: str, kind: str, body: Any) -> None:
        self.mails.append((peer, kind, body))


@dataclass
class Driver:
    replica: Replica = field(default_factory=Replica)
    connected: set[str] = field(default_factory=set)
    halt_reason: str | None = None
    kicks: int = 0

    def kick(self) -> None:
        self.kicks += 1


def driver(*names: str, there: str | None = None, **roles: Role) -> Driver:
    """Of a leader `a` of these voters and others; who is there: all, or these."""
    members = [Seat(name, name, f"{name}:7400", roles.get(name, Role.VOTER)) for name in (*names, *roles)]
    ids = [seat.id for seat in members]
    present = set(ids if there is None else there) - {"a"}
    kernel = Kernel(followers=tuple(id_ for id_ in ids if id_ != "a"))
    return Driver(Replica(configuration=Configuration(tuple(members)), kernel=kernel), present)


async def until(condition: Callable[[], Any]) -> None:
    """Let the others go on until it is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing on the stage tells of it
            await asyncio.sleep(0)
