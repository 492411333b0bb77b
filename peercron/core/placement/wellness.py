"""Wellness: since when a member has been well without a break, and how long that must last before a job is back."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.fitness import opinions
from peercron.core.job import Definition
from peercron.core.limits import FAILBACK_HOLD_MS_MAX, FLAP_DOUBLINGS_MAX, FLAP_FORGOTTEN_MS
from peercron.core.member import Member
from peercron.core.standing import Wellness
from peercron.core.state import ClusterState


def wellness(state: ClusterState, definition: Definition, member: Member) -> Wellness:
    """How the member has been, for this job: its session, and what the job's checks say of it.

    A member of which nothing was noted is well since it came.
    """
    noted = state.wellness.get(member.info.id) or Wellness(member.opened_ms)
    uid = state.job_uids.get(f"{definition.namespace}/{definition.name}", "")
    said = [opinions(state, uid, check, member.info.id) for check in definition.checks]
    since_ms = [opinion.since_ms for observers in said for opinion in observers.values()]
    return replace(noted, well_ms=max([noted.well_ms, *since_ms]))


def fallen(before: Wellness, now_ms: int) -> Wellness:
    """After one more fall; falls of long ago are forgotten."""
    recent = before.falls > 0 and now_ms - before.fell_ms < FLAP_FORGOTTEN_MS
    return Wellness(now_ms, before.falls + 1 if recent else 1, now_ms)


def hold_ms(definition: Definition, falls: int) -> int:
    """How long a member that fell so often must be well before a job goes back to it: longer with each fall.

    >>> from peercron.core.job import CommandTask, ManualTrigger
    >>> job = Definition("a", ManualTrigger(), CommandTask(("true",)), failback_after_ms=60_000)
    >>> [hold_ms(job, falls) for falls in (0, 1, 2, 3, 4, 99)]
    [60000, 60000, 120000, 240000, 480000, 1920000]
    """
    asked = definition.failback_after_ms
    grown = asked << min(max(falls - 1, 0), FLAP_DOUBLINGS_MAX)
    return min(grown, max(asked, FAILBACK_HOLD_MS_MAX))
