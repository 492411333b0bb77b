"""Happening: one thing that a simulation says would happen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Happening:
    """A run starts on a node, or a slot comes to nothing, with the reason."""

    at_ms: int
    job: str
    slot_ms: int
    what: str
    node: str = ""
    reason: str = ""
