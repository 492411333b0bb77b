"""The cluster as a whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PauseCluster:
    """Slots of all jobs are skipped with the reason, as if each job were paused."""


@dataclass(frozen=True, slots=True)
class ResumeCluster:
    """Jobs that are paused by themselves stay so."""
