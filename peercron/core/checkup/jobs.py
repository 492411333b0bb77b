"""Jobs that run nowhere, stand still, fail, or miss their slots; runs that wait for a node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from peercron.core.checkup.finding import Finding, called, note, span, warning
from peercron.core.history import unpack_entry
from peercron.core.job import Job
from peercron.core.placement.eligibility import eligible, meant_for
from peercron.core.run import LedgerEntry, RunState
from peercron.core.state import ClusterState

#: A job that was paused for a maintenance is not, after so long.
PAUSED_LONG_MS: Final = 7 * 24 * 3_600_000
#: So many runs in a row are no accident.
FAILURES_IN_ROW: Final = 3
#: What was missed within this time is worth a look.
LATELY_MS: Final = 3_600_000
#: A run that could go and has no node for so long.
WAITS_LONG_MS: Final = 600_000
#: Entries of a job's ledger that are looked at, the newest first.
ENTRIES_LOOKED_AT: Final = 50
FAILURES: Final = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.LOST})
#: No run was made: says nothing of whether the job works.
UNMADE: Final = frozenset({RunState.SKIPPED, RunState.MISSED})


def of_job(state: ClusterState, job: Job, now_ms: int) -> Iterator[Finding]:
    """All that is wrong with one job."""
    yield from _nowhere(state, job)
    if job.paused and now_ms - job.updated_ms >= PAUSED_LONG_MS:
        what = f"paused, and not touched for {span(now_ms - job.updated_ms)}: its slots are skipped"
        yield note("job_paused", _at(job), what, f"peercron job resume {called(job.key)}, or rm it")
    newest = _newest(state, job, now_ms)
    yield from _failing(job, newest)
    yield from _missing(job, newest, now_ms)


def of_waiting(state: ClusterState, now_ms: int) -> Iterator[Finding]:
    """Runs whose turn has come long ago, and that have no node."""
    for run_id in tuple(state.unplaced):
        run = state.runs.get(run_id)
        job = state.jobs.get(run.job_uid) if run is not None else None
        if run is None or job is None or run.posted:
            continue  # what stands in a queue waits for whoever pulls it
        since_ms = max(run.created_ms, run.not_before_ms, *(attempt.finished_ms or 0 for attempt in run.attempts[-1:]))
        if now_ms - since_ms >= WAITS_LONG_MS:
            what = f"run {run.id} has waited for {span(now_ms - since_ms)}: {run.reason or 'no node may run it'}"
            # Who waits for a lock or a pool may be meant to; whom no node takes is not.
            found = note if eligible(state, run.definition or job.definition) else warning
            yield found("run_waits", f"job {run.job_key}", what, f"peercron job explain {called(run.job_key)}")


def _nowhere(state: ClusterState, job: Job) -> Iterator[Finding]:
    definition = job.definition
    if not (definition.nodes or definition.where):
        return
    explain = f"peercron job explain {called(job.key)}"
    if not any(meant_for(state, definition, member) for member in state.members.values()):
        asked = f"nodes {', '.join(definition.nodes)}" if definition.nodes else f"where {definition.where}"
        what = f"{asked}: that is no node of this cluster, so it never runs"
        yield warning("job_nowhere", _at(job), what, f"{explain}; then give it other nodes, or add the missing one")
        return
    names = {member.info.name: None for member in state.members.values()}
    strangers = [name for name in definition.nodes if name not in names]
    if strangers:
        what = f"it names {', '.join(strangers)}, which is no node of this cluster"
        yield note("job_names_stranger", _at(job), what, explain)


def _failing(job: Job, newest: list[LedgerEntry]) -> Iterator[Finding]:
    made = [entry for entry in newest if entry.outcome not in UNMADE]
    failed = 0
    while failed < len(made) and made[failed].outcome in FAILURES:
        failed += 1
    if failed >= FAILURES_IN_ROW:
        last = made[0]
        why = f": {last.reason}" if last.reason else ""
        what = f"its last {failed} runs did not succeed; the last one {last.outcome.value}{why}"
        yield warning("job_fails", _at(job), what, f"peercron job logs {called(job.key)}")


def _missing(job: Job, newest: list[LedgerEntry], now_ms: int) -> Iterator[Finding]:
    missed = [entry for entry in newest if entry.outcome is RunState.MISSED and now_ms - entry.decided_ms < LATELY_MS]
    if missed:
        more = "or more " if len(missed) == ENTRIES_LOOKED_AT else ""
        what = f"{len(missed)} {more}slots were missed in the last {span(LATELY_MS)}; the last one: {missed[0].reason}"
        advice = f"peercron job explain {called(job.key)}; peercron job backfill makes up for them"
        yield warning("slots_missed", _at(job), what, advice)


def _newest(state: ClusterState, job: Job, now_ms: int) -> list[LedgerEntry]:
    """The newest entries first, as far back as they are lately decided or nothing has succeeded since."""
    newest, failing = [], True
    for packed in islice(reversed(state.ledger.get(job.uid, ())), ENTRIES_LOOKED_AT):
        entry = unpack_entry(job.uid, packed)
        newest.append(entry)
        failing = failing and (entry.outcome in FAILURES or entry.outcome in UNMADE)
        if not failing and now_ms - entry.decided_ms >= LATELY_MS:
            break
    return newest


def _at(job: Job) -> str:
    return f"job {job.key}"
