"""Member: a node as the state machine knows it, and its session; seat: its place in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    VOTER = "voter"
    WITNESS = "witness"
    LEARNER = "learner"


#: Roles whose holders count for majorities.
VOTING = frozenset({Role.VOTER, Role.WITNESS})


@dataclass(frozen=True, slots=True)
class Seat:
    """One place in the cluster. `address` ("host:port" of its consensus) may change, `id` never does."""

    #: Belongs to one data directory for life: a founder's is the address it began with, a later member's is random.
    id: str
    #: For people, and unique among the seats.
    name: str
    address: str
    role: Role = Role.VOTER
    #: What a learner is made once it has caught up.
    becomes: Role = Role.VOTER


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whoever joins at `address` is taken with this role, and with this name unless it is empty."""

    address: str
    role: Role
    name: str
    invited_ms: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who belongs to the cluster: one log entry, whole, which acts when it is appended (dissertation, ch. 4)."""

    seats: tuple[Seat, ...] = ()
    #: How often the cluster was recovered by force: what an older one says is not of this cluster.
    recoveries: int = 0

    def seat(self, id: str) -> Seat | None:  # noqa: A002 - it is the id
        return next((seat for seat in self.seats if seat.id == id), None)

    @property
    def voters(self) -> tuple[str, ...]:
        """Ids of all that count for majorities, witnesses among them."""
        return tuple(seat.id for seat in self.seats if seat.role in VOTING)

    @property
    def learners(self) -> tuple[str, ...]:
        return tuple(seat.id for seat in self.seats if seat.role is Role.LEARNER)


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """What a node says of itself when it opens a session."""

    #: Identity in the consensus; the name is for people and must be unique too.
    id: str
    name: str
    address: str
    http: str
    dc: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    role: Role = Role.VOTER
    version: str = ""
    #: The level of the replicated language that its build speaks; see `core.level`.
    level: int = 1
    #: Made with the data directory. Another one under the same id is a directory that was wiped: its promises are gone.
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A member row. `session` grows at each boot and each return after a loss; what a session held dies with it."""

    info: MemberInfo
    session: int
    #: False: the session was expired by the leader; the member holds nothing.
    open: bool
    opened_ms: int
    expired_ms: int | None = None
