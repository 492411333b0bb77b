"""Steps: how a job's cursor moves on: which slots are due, and when the next one is.

How far a gap is listed: one command lists SLOTS_PER_FIRE_MAX slots, so a gap is walked in several, each when the one
before it is applied. A gap of more than GAP_SLOTS_MAX slots begins with a jump: its older part becomes one ledger
entry, because the ledger keeps no more entries of a job than that; listing them would be writing what is dropped at
once. So a job that fires every second and slept for a year costs four commands, not thirty million.
"""

from __future__ import annotations

from dataclasses import replace

from peercron.core.commands import Fire
from peercron.core.job import Cursor, Job
from peercron.core.limits import GAP_SLOTS_MAX, SLOTS_PER_FIRE_MAX
from peercron.core.schedule import latest_slots, next_slot


def step(job: Job, cursor: Cursor, now_ms: int, leading_since_ms: int = 0) -> Fire:
    """The next step of a job's cursor as of `now_ms`: the slots that are due, and when the next one is.

    Raises:
        ScheduleError: the trigger cannot be read here.
    """
    trigger, stand = job.definition.trigger, Fire(job.uid, job.revision, cursor.after_ms, (), cursor.after_ms, -1)
    first = next_slot(trigger, cursor.after_ms, job.uid)
    if first is None or first > now_ms:
        return replace(stand, next_ms=_or_never(first))
    second = next_slot(trigger, first, job.uid)
    if second is not None and second <= now_ms:
        fire = _gap_step(job, stand, now_ms)
    else:
        period_ms = second - first if second is not None else 0
        fire = replace(stand, slots=(first,), through_ms=first, next_ms=_or_never(second), period_ms=period_ms)
    return replace(fire, leaderless_through_ms=leading_since_ms) if first <= leading_since_ms else fire


def _gap_step(job: Job, stand: Fire, now_ms: int) -> Fire:
    """Several slots are due: list as many as one command takes, say how many follow, and jump over what is too much."""
    trigger = job.definition.trigger
    due = latest_slots(trigger, stand.after_ms, now_ms, job.uid, GAP_SLOTS_MAX + 1)
    unlisted_ms, due = (due[0], due[1:]) if len(due) > GAP_SLOTS_MAX else (0, due)
    slots, rest = due[:SLOTS_PER_FIRE_MAX], due[SLOTS_PER_FIRE_MAX:]
    return replace(
        stand,
        slots=slots,
        through_ms=slots[-1],
        next_ms=rest[0] if rest else _or_never(next_slot(trigger, slots[-1], job.uid)),
        period_ms=slots[-1] - slots[-2],
        later=len(rest),
        unlisted_through_ms=unlisted_ms,
    )


def _or_never(slot_ms: int | None) -> int:
    return -1 if slot_ms is None else slot_ms


def still_open(fire: Fire, job: Job, cursor: Cursor) -> bool:
    """Whether the plan would still be accepted and has not been applied."""
    planned_from = (fire.revision, fire.after_ms) == (job.revision, cursor.after_ms)
    return planned_from and (fire.through_ms, fire.next_ms) != (cursor.after_ms, cursor.next_ms)
