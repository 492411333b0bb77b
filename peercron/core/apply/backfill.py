"""Backfill: runs for slots of a past range, one after the other, by an operator's word."""

from __future__ import annotations

from itertools import pairwise

from peercron.core.apply import ledger
from peercron.core.apply.job import find
from peercron.core.apply.run import enqueue, live_runs
from peercron.core.commands import Backfill
from peercron.core.history import entries_of
from peercron.core.job import Job, Overlap
from peercron.core.limits import QUEUED_SLOTS_MAX
from peercron.core.run import RunState
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def backfill(state: ClusterState, command: Backfill) -> Verdict:
    """The answer is how many runs were made. They stand in the job's line whatever its overlap policy would say to a
    slot, and go one at a time (under `allow` as many as `concurrency` lets).
    """
    job = find(state, command.key)
    if job is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.key}")
    refused = _refusal(state, job, command)
    if refused is not None:
        return refused
    wanted = wanting(state, job, command.slots, force=command.force)
    queued = sum(run.state is RunState.QUEUED for run in live_runs(state, job.uid))
    if queued + len(wanted) > QUEUED_SLOTS_MAX:
        detail = f"{len(wanted)} runs beside {queued} that wait; a job has at most {QUEUED_SLOTS_MAX}"
        return Refused(state.index, Refusal.LIMIT, detail)
    for nth, slot_ms in enumerate(wanted):
        enqueue(state, job, f"{ledger.run_id_of_request(job.uid, state.index)}-{nth}", slot_ms, manual=True)
    state.touch(job.uid)
    return Done(state.index, len(wanted))


def wanting(state: ClusterState, job: Job, slots: tuple[int, ...], *, force: bool) -> tuple[int, ...]:
    """Those of the slots that are to be run: not those at work now, nor (without force) those that succeeded."""
    settled = {run.slot_ms for run in live_runs(state, job.uid)}
    if not force:
        settled |= {e.slot_ms for e in entries_of(state, job.uid) if e.outcome is RunState.SUCCEEDED}
    return tuple(slot_ms for slot_ms in slots if slot_ms not in settled)


def _refusal(state: ClusterState, job: Job, command: Backfill) -> Refused | None:
    slots = command.slots
    if not slots or any(later <= earlier for earlier, later in pairwise((-1, *slots))) or slots[-1] > state.now_ms:
        return Refused(state.index, Refusal.INVALID, "slots: want to be there, to ascend, and to lie in the past")
    if len(slots) > QUEUED_SLOTS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"slots: {len(slots)}, at most {QUEUED_SLOTS_MAX} are made up for")
    if unled(job.definition):
        detail = f"the nodes of job {job.key} run it by themselves, each in its slices: nobody can run it in between"
        return Refused(state.index, Refusal.CONFLICT, detail)
    if job.definition.overlap is Overlap.REPLACE:
        detail = f"job {job.key} has overlap replace: its next slot would cancel what is made up for"
        return Refused(state.index, Refusal.CONFLICT, detail)
    return None
