"""Finding: one thing that is not as it should be, how bad that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """The worst first."""

    CRITICAL = "critical"  # something does not work, or will not much longer
    WARNING = "warning"  # something will not bear the next failure, or does not do what it was made for
    NOTE = "note"  # worth knowing, and may be meant


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found at one place."""

    severity: Severity
    #: Stable name of the check, for programs.
    check: str
    #: What it was found at: "cluster", "node a", "job default/x".
    where: str
    what: str
    #: What to do, with the command where there is one.
    advice: str

    @property
    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "severity": self.severity.value,
            "check": self.check,
            "where": self.where,
            "what": self.what,
            "advice": self.advice,
        }


def critical(check: str, where: str, what: str, advice: str) -> Finding:
    return Finding(Severity.CRITICAL, check, where, what, advice)


def warning(check: str, where: str, what: str, advice: str) -> Finding:
    return Finding(Severity.WARNING, check, where, what, advice)


def note(check: str, where: str, what: str, advice: str) -> Finding:
    return Finding(Severity.NOTE, check, where, what, advice)


def span(duration_ms: int) -> str:
    """A duration by its two largest units, for people.

    >>> span(3_725_000)
    '1h 2m'
    """
    seconds = max(0, duration_ms) // 1_000
    for unit, size, finer, finer_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // finer_size}{finer}"
    return f"{seconds}s"


def called(key: str) -> str:
    """How the command line takes the name of a job: the namespace "default" goes without saying.

    >>> called("default/report"), called("ops/report")
    ('report', 'ops/report')
    """
    return key.removeprefix("default/")
