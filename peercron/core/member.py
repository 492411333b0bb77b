"""Member: a node of the cluster as the state machine knows it, and its session."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    VOTER = "voter"
    WITNESS = "witness"
    LEARNER = "learner"


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


@dataclass(frozen=True, slots=True)
class Member:
    """A member row. `session` grows at each boot and each return after a loss; what a session held dies with it."""

    info: MemberInfo
    session: int
    #: False: the session was expired by the leader; the member holds nothing.
    open: bool
    opened_ms: int
    expired_ms: int | None = None
