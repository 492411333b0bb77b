"""Policy: which missed slots are made up for (misfire), and what a slot does while an earlier run lives (overlap)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from peercron.core.job import Misfire, MisfirePolicy, Overlap
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX, QUEUED_SLOTS_MAX

WINDOW_DEFAULT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a list of due slots stands in its gap: how many were decided before it, and how many follow it.

    A gap longer than one command is walked in several; `fired` says how many slots of it were already made up for, so
    that the choice over all commands is the choice that one endless command would have made.
    """

    walked: int = 0
    fired: int = 0
    later: int = 0


def window_ms(misfire: Misfire, period_ms: int) -> int:
    """How old a slot may be and still fire: as asked, or an hour, or a period if that is longer."""
    return misfire.window_ms or max(WINDOW_DEFAULT_MS, period_ms)


def misses(slots: Sequence[int], *, gap: Gap, misfire: Misfire, period_ms: int, now_ms: int) -> tuple[str, ...]:
    """For each due slot, in order, the reason why it is missed; an empty one means that it fires.

    A slot that is due alone is on time and fires if it is within the window, whatever the policy; the policy chooses
    when several are due.
    """
    window = window_ms(misfire, period_ms)
    late = [now_ms - slot > window for slot in slots]
    if gap.walked + len(slots) + gap.later <= 1:
        chosen, why = frozenset(range(len(slots))), ""
    else:
        chosen, why = _choice(late, gap, misfire)
    too_old = f"older than the misfire window of {window} ms"
    return tuple(too_old if late[i] else "" if i in chosen else why for i in range(len(slots)))


def _choice(late: Sequence[bool], gap: Gap, misfire: Misfire) -> tuple[frozenset[int], str]:
    """Positions that the policy picks (those that are late do not count), and the reason for the others."""
    count = len(late)
    match misfire.policy:
        case MisfirePolicy.LATEST:
            newest = frozenset({count - 1}) if gap.later == 0 else frozenset[int]()
            return newest, "a later slot was due as well (misfire policy latest)"
        case MisfirePolicy.EARLIEST:
            timely = [i for i in range(count) if not late[i]]
            return frozenset(timely[:1] if gap.fired == 0 else ()), "an earlier slot was made up for (policy earliest)"
        case MisfirePolicy.ALL:
            # Counted from the gap's end: of too many, the newest are replayed.
            first = max(0, count + gap.later - misfire.max)
            return frozenset(range(first, count)), f"more than {misfire.max} slots were due (misfire max)"
        case MisfirePolicy.SKIP:
            return frozenset(), "several slots were due (misfire policy skip)"


class Admission(StrEnum):
    """What a slot may do when it meets the job's live runs."""

    START = "start"
    QUEUE = "queue"
    REPLACE = "replace"
    SKIP = "skip"


def admission(overlap: Overlap, *, live: int, queued: int) -> Admission:
    """What a new run does when `live` runs of its job are alive, `queued` of which wait."""
    if live == 0:
        return Admission.START
    match overlap:
        case Overlap.FORBID:
            return Admission.SKIP
        case Overlap.ALLOW:
            return Admission.START if live < LIVE_RUNS_PER_JOB_MAX else Admission.SKIP
        case Overlap.QUEUE_ONE:
            return Admission.QUEUE if queued == 0 else Admission.SKIP
        case Overlap.QUEUE_ALL:
            return Admission.QUEUE if queued < QUEUED_SLOTS_MAX else Admission.SKIP
        case Overlap.REPLACE:
            return Admission.REPLACE
