"""Leases, and the sessions of programs outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenClient:
    """A program outside begins a session: what it takes in its name ends with it. The answer is the session's id.

    `label` is for people.
    """

    label: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class CloseClient:
    """It is done: all that its session holds is free again."""

    client: int


@dataclass(frozen=True, slots=True)
class ExpireLease:
    """The leader heard of no renewal for as long as the lease was given for: it ends, and what it was of ends too."""

    lease: int
