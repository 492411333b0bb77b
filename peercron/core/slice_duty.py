"""Slice duty: what a node does about its own slots that have come, by its own clock and what it knows of the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from peercron.core.fitness import unfit
from peercron.core.job import Cursor, Job, Overlap
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX, SLICE_GUARD_MS
from peercron.core.member import Role
from peercron.core.policy import Gap, misses
from peercron.core.run import RunState
from peercron.core.slices import Own, Room, Share, Slice, SliceEntry, Slices, room, slice_at, unled
from peercron.core.state import ClusterState
from peercron.core.where import fits

PAUSED = "the job was paused"
GUARD = f"the last {SLICE_GUARD_MS} ms of each are the guard band"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a node needs to know of a job to fire its own slots; it outlives the node's state on its disk."""

    job: Job
    cursor: Cursor
    slices: Slices

    def own(self, node: str) -> Own:
        """The node's part of the job's slots."""
        return Own(node, self.job.definition.trigger, self.job.uid, self.slices.shares)


@dataclass(frozen=True, slots=True)
class Go:
    """The slot is to be started now, and may take this long."""

    slot_ms: int
    room: Room


@dataclass(frozen=True, slots=True)
class Mind:
    """What a node knows of itself when it decides."""

    name: str
    #: Wall clock, UTC.
    now_ms: int
    #: Slots at or before this instant came while it was down.
    down_through_ms: int = 0
    #: Why it must not start anything in slices now; empty: it may.
    doubt: str = ""
    #: Attempts of the job that are alive here.
    alive: int = 0
    #: Slots at or before this instant came while it was in doubt about its clock, and why that was.
    refused_through_ms: int = 0
    refused_why: str = ""


def plan_of(state: ClusterState, uid: str) -> Plan | None:
    """The job as the state has it; None: it is gone, or is none of those that nodes fire by themselves."""
    job = state.jobs.get(uid)
    if job is None or not unled(job.definition):
        return None
    cursor = state.cursors[uid]
    if state.paused_through_ms > cursor.paused_through_ms:
        cursor = replace(cursor, paused_through_ms=state.paused_through_ms)
    return Plan(replace(job, paused=True) if state.paused else job, cursor, state.slices[uid])


def unfit_here(state: ClusterState, plan: Plan, name: str) -> str:
    """Why the node of this name is given none of the job, by what is known of the cluster; empty: it may run it."""
    if state.stage is not None and state.stage.ending:
        return "everything makes room for a snapshot"
    member = next((member for member in state.members.values() if member.info.name == name), None)
    if member is None:
        return ""
    seat = state.seats.get(member.info.id)
    if (role := seat.role if seat is not None else member.info.role) is not Role.VOTER:
        return f"node {name} is a {role.value}, which runs nothing"
    if member.info.id in state.drained:
        return f"node {name} is drained"
    if plan.job.definition.where and not fits(plan.job.definition.where, member.info):
        return f"node {name} is not where the job wants to run"
    why = unfit(state, plan.job.definition, member)
    return f"node {name} is not well: {why}" if why else ""


def decide(plan: Plan, slots: Sequence[int], mind: Mind) -> list[SliceEntry | Go]:
    """For each of the node's own slots that has come, in order: start it, or the entry that says why not."""
    paused_ms = mind.now_ms if plan.job.paused else plan.cursor.paused_through_ms
    decided: dict[int, SliceEntry | Go] = {}
    open_: dict[int, Room] = {}
    for slot_ms in slots:
        where = slice_at(plan.slices.shares, slot_ms)
        assert where is not None, "an own slot lies in a slice"
        left = room(where, mind.now_ms, plan.job.definition.kill_grace_ms)
        if slot_ms <= paused_ms:
            decided[slot_ms] = SliceEntry(slot_ms, RunState.SKIPPED, PAUSED)
        elif (why := _refusal(slot_ms, mind)) and (left is not None or slot_ms > mind.down_through_ms):
            decided[slot_ms] = SliceEntry(slot_ms, RunState.MISSED, why)
        elif left is None:
            decided[slot_ms] = SliceEntry(slot_ms, RunState.MISSED, _too_late(where, slot_ms, mind))
        else:
            open_[slot_ms] = left
    decided |= _chosen(plan, open_, mind)
    return [decided[slot_ms] for slot_ms in slots]


def bound_to_miss(shares: Sequence[Share], slot_ms: int) -> str:
    """Why nobody starts a slot to come, be he there in time and his clock right; empty: its owner does.

    >>> bound_to_miss((Share(0, 10_000, ("a", "b")),), 18_000)
    '2000 ms are left of its slice then; the last 2500 ms of each are the guard band'
    """
    where = slice_at(shares, slot_ms)
    if where is None or room(where, slot_ms, kill_grace_ms=0) is not None:
        return ""
    return f"{where.end_ms - slot_ms} ms are left of its slice then; {GUARD}"


def _refusal(slot_ms: int, mind: Mind) -> str:
    """Why the node does not trust itself with the slot, or did not when that came; empty: it does."""
    if mind.doubt or slot_ms > mind.refused_through_ms:
        return mind.doubt
    return f"node {mind.name} refused its slices: {mind.refused_why}"


def _too_late(where: Slice, slot_ms: int, mind: Mind) -> str:
    if slot_ms <= mind.down_through_ms:
        return f"node {mind.name} was down"
    left_ms = where.end_ms - mind.now_ms
    if left_ms <= 0:
        return f"node {mind.name} was held up until its slice was over"
    return f"{left_ms} ms were left of its slice; {GUARD}"


def _chosen(plan: Plan, open_: dict[int, Room], mind: Mind) -> dict[int, SliceEntry | Go]:
    """Of the slots whose slice has room: the misfire policy picks, and the overlap policy has the last word."""
    definition, alive = plan.job.definition, mind.alive
    whys = misses(tuple(open_), gap=Gap(), misfire=definition.misfire, period_ms=0, now_ms=mind.now_ms)
    decided: dict[int, SliceEntry | Go] = {}
    for (slot_ms, left), why in zip(open_.items(), whys, strict=True):
        if why:
            decided[slot_ms] = SliceEntry(slot_ms, RunState.MISSED, why)
        elif alive and (definition.overlap is not Overlap.ALLOW or alive >= LIVE_RUNS_PER_JOB_MAX):
            overlap = (
                f"an earlier run was alive on node {mind.name} (overlap {definition.overlap.value}, {alive} alive)"
            )
            decided[slot_ms] = SliceEntry(slot_ms, RunState.SKIPPED, overlap)
        else:
            decided[slot_ms] = Go(slot_ms, left)
            alive += 1
    return decided
