"""Standing: what the cluster remembers of who stood where: the line of a job, its incumbent, a member's health so far.

Rows only; `core.placement` reads them, and `core.apply.standing` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the line of a `turns` job. It is lost with the session: who comes back joins at the end."""

    member: str
    session: int


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The member that does the work of a `standby` job, until it cannot, or an earlier one takes it back."""

    member: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Wellness:
    """How a member has been: since when it is well without a break, and how often it fell in the time before.

    `falls` counts those that came within FLAP_FORGOTTEN_MS of each other; `fell_ms` is the last of them (0: none).
    """

    well_ms: int
    falls: int = 0
    fell_ms: int = 0
