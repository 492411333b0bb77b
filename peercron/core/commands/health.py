"""Commands about health."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.health import HealthReport


@dataclass(frozen=True, slots=True)
class ReportHealth:
    """Verdicts of a member's checks that changed, in its session."""

    observer: str  # MemberInfo.id
    session: int
    reports: tuple[HealthReport, ...]
