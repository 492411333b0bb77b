"""Health: from results to a verdict by rise and fall, and what an observer says in the state."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.check import Check


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a check stands at its observer. `streak`: results in a row that speak against the verdict."""

    #: None: there was no result yet.
    well: bool | None = None
    streak: int = 0


def observed(standing: Standing, check: Check, *, well: bool) -> Standing:
    """The standing after one more result.

    >>> check = Check("web", EndpointProbe("", 80), fall=2)          # doctest: +SKIP
    >>> observed(Standing(well=True), check, well=False)             # doctest: +SKIP
    Standing(well=True, streak=1)
    """
    if standing.well is None or standing.well is well:
        return Standing(well)
    needed = check.rise if well else check.fall
    against = standing.streak + 1
    return Standing(well) if against >= needed else Standing(standing.well, against)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The verdict of one observer on one node, as of when it last changed."""

    well: bool
    since_ms: int
    #: What the result was that turned it, for people.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One changed verdict on its way into the log."""

    job_uid: str
    #: Name of the check.
    check: str
    #: Member id of the node that was looked at.
    subject: str
    well: bool
    detail: str = ""
