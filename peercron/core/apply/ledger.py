"""The ledger's part of apply: the outcome of a slot is written once, and old ones make room."""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.history import is_of, pack_entry, pack_run
from peercron.core.limits import (
    DELETED_JOBS_KEPT,
    LEDGER_KEPT,
    LEDGER_KEPT_PER_JOB,
    RUNS_KEPT_BYTES,
    RUNS_KEPT_PER_JOB,
)
from peercron.core.order import Heard
from peercron.core.run import Attempt, LedgerEntry, Run, RunState
from peercron.core.state import ClusterState

PAUSED = "the job was paused"
CLUSTER_PAUSED = "the cluster was paused"
#: An outcome that is written twice would be written twice in a row, or nearly; looking at all would cost too much.
ENTRIES_COMPARED = 8


def run_id_of_slot(job_uid: str, slot_ms: int) -> str:
    return f"{job_uid}/{slot_ms}"


def run_id_of_request(job_uid: str, index: int) -> str:
    """A manual run is named by the command that asked for it: no slot has its name, and no other request."""
    return f"{job_uid}/m{index}"


def run_id_of_event(job_uid: str, index: int, nth: int = 1) -> str:
    """A run that an event asks for is named by the command that made it true; `nth`: one command may do so twice."""
    return f"{job_uid}/e{index}" + (f"-{nth}" if nth > 1 else "")


def record_slot(
    state: ClusterState,
    job_uid: str,
    run_id: str,
    slot_ms: int,
    outcome: RunState,
    reason: str,
    *,
    manual: bool = False,
) -> None:
    """A slot that got no run: skipped or missed, with the reason."""
    _record(state, job_uid, LedgerEntry(run_id, slot_ms, manual, outcome, reason, 0, "", 0, state.now_ms))
    job = state.jobs.get(job_uid)
    key = job.key if job is not None else state.deleted_jobs.get(job_uid, job_uid)
    state.happened("run", outcome.value, key, run=run_id, reason=reason)


def record_run(state: ClusterState, run: Run) -> None:
    """A run that has just ended; it is kept in full among the job's last, as far as its share of the room goes."""
    last: Sequence[Attempt] = run.tries[-1:]
    entry = LedgerEntry(
        run_id=run.id,
        slot_ms=run.slot_ms,
        manual=run.manual,
        outcome=run.state,
        reason=run.reason,
        attempts=len(run.tries),
        member=last[0].member if last else "",
        token=last[0].token if last else 0,
        decided_ms=state.now_ms,
    )
    _record(state, run.job_uid, entry)
    ended = (*state.ended_runs.get(run.job_uid, ())[-(RUNS_KEPT_PER_JOB - 1) :], pack_run(run))
    excess = sum(map(len, ended)) - RUNS_KEPT_BYTES // max(1, len(state.jobs))
    while excess > 0 and len(ended) > 1:
        excess -= len(ended[0])
        ended = ended[1:]
    state.ended_runs[run.job_uid] = ended
    if run.job_key in state.followers and state.job_uids.get(run.job_key) == run.job_uid:
        state.ended.append((run.job_key, Heard(run.state, run.id)))


def entries_kept(state: ClusterState) -> int:
    """How many entries a job's ledger has room for: fewer, where there are very many jobs."""
    return min(LEDGER_KEPT_PER_JOB, LEDGER_KEPT // max(1, len(state.jobs)))


def bury(state: ClusterState) -> None:
    """Forget the oldest deleted jobs beyond DELETED_JOBS_KEPT; one that has live runs is kept until they end."""
    excess = len(state.deleted_jobs) - DELETED_JOBS_KEPT
    if excess <= 0:
        return
    ended = [uid for uid in state.deleted_jobs if uid not in state.live_runs]
    for uid in ended[:excess]:
        del state.deleted_jobs[uid]
        state.ledger.pop(uid, None)
        state.ended_runs.pop(uid, None)
        state.slices.pop(uid, None)
        state.slices_through.pop(uid, None)


def _record(state: ClusterState, job_uid: str, entry: LedgerEntry) -> None:
    entries = state.ledger.get(job_uid, ())
    newest = entries[-ENTRIES_COMPARED:]
    assert not any(is_of(entry.run_id, packed) for packed in newest), "a slot's outcome is written once"
    state.ledger[job_uid] = (*entries[-(entries_kept(state) - 1) :], pack_entry(entry))
