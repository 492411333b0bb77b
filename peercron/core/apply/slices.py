"""Slices: whose a job's time is, and what its nodes tell of the slots that they fired by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from peercron.core.apply import ledger
from peercron.core.apply.attempt import clipped
from peercron.core.apply.run import count
from peercron.core.commands import ArrangeSlices, RecordSlices
from peercron.core.history import find_entry
from peercron.core.job import Job
from peercron.core.limits import REASON_LENGTH_MAX, SLICE_ENTRIES_PER_RECORD_MAX, SLICE_SHARES_KEPT
from peercron.core.placement.slices import ITS_SLICE
from peercron.core.roster import roster
from peercron.core.run import LIVE_RUN_STATES, Attempt, AttemptState, Run, RunState
from peercron.core.slices import Share, SliceEntry, Slices, shared_anew, unled
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: Outcomes of slots for which nothing was started.
UNMADE = frozenset({RunState.SKIPPED, RunState.MISSED})
#: A node gives its own attempts in slices; they are under no session of it.
NO_SESSION = 0


def arrange(state: ClusterState, job: Job) -> bool:
    """Share the job's time as its definition and the roster ask for; False: it is shared so already.

    A job that is new to slices begins with them where its cursor stands: what was decided before is decided.
    """
    if not unled(job.definition):
        return False
    nodes, slice_ms = roster(state, job.definition), job.definition.slice_ms
    present = state.slices.get(job.uid)
    if present is None:
        arranged = Slices((Share(state.cursors[job.uid].after_ms, slice_ms, nodes),))
    else:
        arranged = shared_anew(present, slice_ms, nodes, state.now_ms, keep=SLICE_SHARES_KEPT)
    state.slices[job.uid] = arranged
    return arranged != present


def arrange_slices(state: ClusterState, command: ArrangeSlices) -> Verdict:
    """The answer is for how many jobs time is shared anew."""
    if command.roster_revision != state.roster_revision:
        return Refused(state.index, Refusal.STALE_PLAN, f"the roster is at revision {state.roster_revision}")
    changed = 0
    for uid in tuple(state.slices):
        job = state.jobs.get(uid)
        if job is not None and arrange(state, job):
            changed += 1
            state.touch(uid)
    return Done(state.index, changed)


def rename(state: ClusterState, names: Mapping[str, str]) -> None:
    """These nodes are called otherwise now (old name -> new one): their slices are theirs still, from this instant on.

    Not in jobs that name their nodes themselves: who is meant there is whoever bears the name.
    """
    for uid, slices in state.slices.items():
        job = state.jobs.get(uid)
        if job is None or job.definition.nodes:
            continue
        shares = [replace(share, nodes=tuple([names.get(n, n) for n in share.nodes])) for share in slices.shares]
        state.slices[uid] = Slices(tuple(shares))
        if uid in state.slices_through:
            told = state.slices_through[uid]
            state.slices_through[uid] = {names.get(name, name): through_ms for name, through_ms in told.items()}
        state.touch(uid)


def record_slices(state: ClusterState, command: RecordSlices) -> Verdict:
    """The answer is how many entries were new."""
    refused = _refusal(state, command)
    if refused is not None:
        return refused
    told = state.slices_through.setdefault(command.job_uid, {})
    through_ms = told.get(command.node, -1)
    # A slot has one entry, also when the shares were not the same for all: then the first to tell of it is believed.
    new = [entry for entry in command.entries if entry.slot_ms > through_ms and not _known(state, command, entry)]
    for entry in new:
        _enter(state, command, entry)
    told[command.node] = max(through_ms, command.through_ms)
    state.touch(command.job_uid)
    return Done(state.index, len(new))


def _known(state: ClusterState, command: RecordSlices, entry: SliceEntry) -> bool:
    return find_entry(state, ledger.run_id_of_slot(command.job_uid, entry.slot_ms)) is not None


def _enter(state: ClusterState, command: RecordSlices, entry: SliceEntry) -> None:
    uid, reason = command.job_uid, entry.reason[:REASON_LENGTH_MAX]
    run_id = ledger.run_id_of_slot(uid, entry.slot_ms)
    if entry.outcome in UNMADE:
        ledger.record_slot(state, uid, run_id, entry.slot_ms, entry.outcome, reason)
        return
    member = next((id_ for id_, row in state.members.items() if row.info.name == command.node), command.node)
    attempt = Attempt(
        *(1, member, NO_SESSION, entry.slot_ms, AttemptState(entry.outcome.value), entry.slot_ms),
        started_ms=entry.started_ms,
        finished_ms=entry.finished_ms,
        exit_code=entry.exit_code,
        reason=reason,
        output_tail=clipped(entry.output_tail),
        why=ITS_SLICE,
    )
    job = state.jobs.get(uid)
    key = job.key if job is not None else state.deleted_jobs[uid]
    begun_ms = entry.slot_ms if entry.started_ms is None else entry.started_ms
    run = Run(run_id, uid, key, entry.slot_ms, False, entry.outcome, begun_ms, attempts=(attempt,))
    count(state, run_id)
    ledger.record_run(state, replace(run, finished_ms=entry.finished_ms or state.now_ms, reason=reason))
    state.happened("run", entry.outcome.value, key, run=run_id, node=command.node, reason=reason)
    if state.tally is not None:
        state.tally.started(run, attempt, entry.slot_ms)
        state.tally.ended(attempt)


def _refusal(state: ClusterState, command: RecordSlices) -> Refused | None:
    slices = state.slices.get(command.job_uid)
    if slices is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.job_uid} in slices")
    if not any(command.node in share.nodes for share in slices.shares):
        detail = f"no slice of job {command.job_uid} is known to be one of node {command.node}"
        return Refused(state.index, Refusal.NOT_FOUND, detail)
    if len(command.entries) > SLICE_ENTRIES_PER_RECORD_MAX:
        detail = f"entries: {len(command.entries)}, at most {SLICE_ENTRIES_PER_RECORD_MAX} are told at once"
        return Refused(state.index, Refusal.INVALID, detail)
    slots = [-1, *(entry.slot_ms for entry in command.entries)]
    if any(later <= earlier for earlier, later in pairwise(slots)) or slots[-1] > command.through_ms:
        return Refused(state.index, Refusal.INVALID, "entries: want to ascend, and not beyond through_ms")
    if any(entry.outcome in LIVE_RUN_STATES for entry in command.entries):
        return Refused(state.index, Refusal.INVALID, "entries: want outcomes")
    if any(entry.outcome in UNMADE and not entry.reason for entry in command.entries):
        return Refused(state.index, Refusal.INVALID, "entries: what was skipped or missed wants a reason")
    return None
