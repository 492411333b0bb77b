"""Occasion: triggers that wait for something to happen, instead of a time."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.check import Check
from peercron.core.secret import EnvEntry


@dataclass(frozen=True, slots=True)
class ConditionTrigger:
    """A slot whenever this condition on the shared state becomes true; see `condition`."""

    condition: str


@dataclass(frozen=True, slots=True)
class HookTrigger:
    """A slot for each call of POST /v1/hooks/{job}; with a `secret` (a reference) only for calls that are signed."""

    secret: EnvEntry | None = None


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """A slot for each event of this name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """A slot whenever something is put into this queue."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ProbeTrigger:
    """A slot whenever what is probed becomes well, or with `well` False becomes bad.

    The nodes that may run the job look. A file is each node's own: that it appears on one of them is an event. All else
    is one thing to all of them, and has become what a majority of them calls it.
    """

    check: Check
    well: bool = True
