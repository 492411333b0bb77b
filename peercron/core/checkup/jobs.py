"""Jobs that run nowhere, stand still, fail, or miss their slots; runs that wait for a node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from peercron.core.apply.ledger import entries_kept
from peercron.core.checkup.finding import Finding, called, note, span, warning
from peercron.core.fitness import unfit
from peercron.core.history import has_outcome, packed_since, unpack_entry
from peercron.core.job import Definition, Job, Overlap
from peercron.core.placement.eligibility import eligible, meant_for, not_for
from peercron.core.run import LedgerEntry, Run, RunState
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.views import instant

#: A job that was paused for a maintenance is not, after so long.
PAUSED_LONG_MS: Final = 7 * 24 * 3_600_000
#: So many runs in a row are no accident.
FAILURES_IN_ROW: Final = 3
#: What was missed within this time is worth a look.
LATELY_MS: Final = 3_600_000
#: A run that could go and has no node for so long.
WAITS_LONG_MS: Final = 600_000
#: So many slots in a row that no node may run are no moment in which the nodes are looked at for the first time.
UNSTARTED_IN_ROW: Final = 3
#: Entries of a job's ledger that are looked at for whether it fails or is not started, the newest first.
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
    yield from _unstarted(state, job, now_ms)
    newest = _newest(state, job)
    yield from _failing(job, newest)
    yield from _missing(state, job, now_ms)


def of_waiting(state: ClusterState, now_ms: int) -> Iterator[Finding]:
    """Runs whose turn has come long ago, and that have no node."""
    for run_id in tuple(state.unplaced):
        run = state.runs.get(run_id)
        job = state.jobs.get(run.job_uid) if run is not None else None
        if run is None or job is None or run.posted:
            continue  # what stands in a queue waits for whoever pulls it
        since_ms = _waits_since_ms(run)
        if now_ms - since_ms >= WAITS_LONG_MS:
            what = f"run {run.id} has waited for {span(now_ms - since_ms)}: {run.reason or 'no node may run it'}"
            # Who waits for a lock or a pool may be meant to; whom no node takes is not.
            found = note if eligible(state, run.definition or job.definition) else warning
            yield found("run_waits", f"job {run.job_key}", what, f"peercron job explain {called(run.job_key)}")


def _waits_since_ms(run: Run) -> int:
    return max(run.created_ms, run.not_before_ms, *(attempt.finished_ms or 0 for attempt in run.attempts[-1:]))


def _unstarted(state: ClusterState, job: Job, now_ms: int) -> Iterator[Finding]:
    """Slots that come to nothing since no node may run them, before a run has waited for as long as `of_waiting` asks
    for.
    """
    live = [state.runs[run_id] for run_id in state.live_runs.get(job.uid, ())]
    waiting = next((run for run in live if run.id in state.unplaced and not run.posted), None)
    if waiting is None or now_ms - _waits_since_ms(waiting) >= WAITS_LONG_MS:
        return
    made_way = _made_way(state, job, _waits_since_ms(waiting))
    count = sum(run.state is RunState.QUEUED for run in live) + made_way
    if count >= UNSTARTED_IN_ROW and (whys := _all_unfit(state, waiting.definition or job.definition)):
        others = f", and {len(whys) - 1} more" if len(whys) > 1 else ""
        more = " or more" if made_way == ENTRIES_LOOKED_AT else ""
        what = f"its last {count}{more} slots were not started, since no node may run it: {whys[0]}{others}"
        yield warning("slots_unstarted", _at(job), what, f"peercron job explain {called(job.key)}")


def _made_way(state: ClusterState, job: Job, since_ms: int) -> int:
    """Newest slots in a row that the waiting run was in the way of, or that were replaced before they had a node."""
    count = 0
    for packed in islice(reversed(state.ledger.get(job.uid, ())), ENTRIES_LOOKED_AT):
        entry = unpack_entry(job.uid, packed)
        skipped = entry.outcome is RunState.SKIPPED and entry.decided_ms > since_ms
        if not skipped and (entry.outcome is not RunState.CANCELLED or entry.attempts):
            break
        count += 1
    return count


def _all_unfit(state: ClusterState, definition: Definition) -> list[str]:
    """What speaks against each node that the job is for, or is there; empty: one may run it, if it is not busy."""
    whys: dict[str, str] = {}
    for member in state.members.values():
        why = not_for(state, definition, member) or unfit(state, definition, member)
        if not why:
            return []
        if meant_for(state, definition, member):
            whys[member.info.name] = f"{member.info.name}: {why}"
    return list(whys.values())


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


def _missing(state: ClusterState, job: Job, now_ms: int) -> Iterator[Finding]:
    lately = packed_since(state, job.uid, now_ms - LATELY_MS + 1)
    missed = [packed for packed in lately if has_outcome(packed, RunState.MISSED)]
    if missed:
        first, last = unpack_entry(job.uid, missed[0]), unpack_entry(job.uid, missed[-1])
        # What is older has made room, and may have been of the same hour.
        more = " or more" if len(lately) >= entries_kept(state) else ""
        were = "slot was" if len(missed) == 1 and not more else "slots were"
        what = f"{len(missed)}{more} {were} missed in the last {span(LATELY_MS)}; the last one: {last.reason}"
        yield warning("slots_missed", _at(job), what, _after_misses(job, first.slot_ms, last.slot_ms))


def _after_misses(job: Job, from_ms: int, to_ms: int) -> str:
    """What can be done about the job's missed slots."""
    name = called(job.key)
    if unled(job.definition):
        never = "its slices are over, so that nobody makes up for them"
        return f"peercron job explain {name}; peercron job next {name} says which will be missed; {never}"
    if job.definition.overlap is Overlap.REPLACE:
        return f"peercron job explain {name}; peercron job run {name} runs it now (overlap replace allows no backfill)"
    backfill = f"peercron job backfill {name} --from {instant(from_ms)} --to {instant(to_ms)}"
    return f"peercron job explain {name}; {backfill} makes up for them"


def _newest(state: ClusterState, job: Job) -> list[LedgerEntry]:
    """The newest entries first, as far back as nothing has succeeded since."""
    newest = []
    for packed in islice(reversed(state.ledger.get(job.uid, ())), ENTRIES_LOOKED_AT):
        entry = unpack_entry(job.uid, packed)
        newest.append(entry)
        if entry.outcome not in FAILURES and entry.outcome not in UNMADE:
            break
    return newest


def _at(job: Job) -> str:
    return f"job {job.key}"
