"""Members and their sessions: what a node says of itself, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.member import MemberInfo, Role


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A node (re)joins with a session number larger than any before: what its older sessions held is certified dead."""

    info: MemberInfo
    session: int


@dataclass(frozen=True, slots=True)
class ExpireSession:
    """The leader saw no renewal for a lease: what the session held is given up; its runs get new attempts elsewhere."""

    member: str  # MemberInfo.id
    session: int


@dataclass(frozen=True, slots=True)
class Invite:
    """Whoever joins at this address is taken as this. Again for the same address: the last word counts."""

    address: str
    role: Role = Role.VOTER
    name: str = ""


@dataclass(frozen=True, slots=True)
class Uninvite:
    address: str


@dataclass(frozen=True, slots=True)
class DrainMember:
    """With `drained` it is given nothing more, and what runs there goes on; without, it is given work again."""

    member: str  # Seat.id
    drained: bool = True
