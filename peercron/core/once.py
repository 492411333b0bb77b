"""Once: a request that may come twice, by whatever node, is carried out once and answered each time."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Once:
    """What a request is known by: the key that its sender chose, and a fingerprint of what was asked."""

    key: str
    request: bytes
    #: It may have come before, but not before this index; 0: it comes for the first time.
    since: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that has come: its fingerprint, and what was answered."""

    request: bytes
    answer: Verdict
