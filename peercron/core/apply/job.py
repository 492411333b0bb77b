"""Jobs: put, apply a file of them, delete, pause, resume, run now."""

from __future__ import annotations

from dataclasses import replace

from peercron.core import params
from peercron.core.apply import ledger, standing
from peercron.core.apply.calendar import unknown_calendar
from peercron.core.apply.definition import flaw
from peercron.core.apply.exclusion import leave_lock
from peercron.core.apply.feeding import repost
from peercron.core.apply.health import forget_checks, forget_job
from peercron.core.apply.listening import crowded, listen, unlisten
from peercron.core.apply.order import flaw_of_order, link, unlink
from peercron.core.apply.pool import leave
from peercron.core.apply.run import admit, cancel, live_runs, reline, waiting_runs
from peercron.core.apply.slices import arrange
from peercron.core.commands import ApplyJobs, DeleteJob, PauseJob, PutJob, ResumeJob, RunJob
from peercron.core.history import find_entry, find_run
from peercron.core.job import AtTrigger, Cursor, Definition, Job, Trigger
from peercron.core.limits import JOBS_MAX, JOBS_PER_APPLY_MAX
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def put_job(state: ClusterState, command: PutJob) -> Verdict:
    definition = command.definition
    present = find(state, key_of(definition))
    wrong = flaw(definition) or _flaw_of_change(present, definition)
    wrong = wrong or flaw_of_order(state, {key_of(definition): definition}, ())
    wrong = wrong or unknown_calendar(state, (definition,))
    if wrong:
        return Refused(state.index, Refusal.INVALID, wrong)
    revision = present.revision if present is not None else 0
    if command.if_revision not in (None, revision):
        return _conflict(state, key_of(definition), present)
    if present is None and len(state.jobs) >= JOBS_MAX:
        return _too_many(state)
    no_room = crowded(state, (definition,))
    if no_room:
        return Refused(state.index, Refusal.LIMIT, no_room)
    job = _put(state, definition, uid=f"{state.index:x}")
    if command.paused is not None:
        _set_paused(state, job, command.paused)
    return Done(state.index, job.revision)


def apply_jobs(state: ClusterState, command: ApplyJobs) -> Verdict:
    """Check all, then do all. The answer is how many jobs were created, changed or deleted."""
    refused = refusal_of_file(state, command)
    if refused is not None:
        return refused
    wanted, pruned = _asked(state, command)
    for job in pruned:
        _delete(state, job)
    changed, paused = len(pruned), dict(command.paused)
    for at, (key, definition) in enumerate(wanted.items()):
        before = find(state, key)
        job = _put(state, definition, uid=f"{state.index:x}-{at}")
        _set_paused(state, job, paused.get(key, job.paused))
        changed += find(state, key) is not before
    return Done(state.index, changed)


def delete_job(state: ClusterState, command: DeleteJob) -> Verdict:
    job = find(state, command.key)
    if job is None:
        return _not_found(state, command.key)
    if command.if_revision not in (None, job.revision):
        return _conflict(state, command.key, job)
    wrong = flaw_of_order(state, {}, (job.key,))
    if wrong:
        return Refused(state.index, Refusal.CONFLICT, wrong)
    _delete(state, job)
    return Done(state.index, job.uid)


def pause_job(state: ClusterState, command: PauseJob) -> Verdict:
    return _pause_or_resume(state, command.key, paused=True)


def resume_job(state: ClusterState, command: ResumeJob) -> Verdict:
    return _pause_or_resume(state, command.key, paused=False)


def run_job(state: ClusterState, command: RunJob) -> Verdict:
    """The answer is the run's id; whether it runs, waits or was skipped stands in the run or in its ledger entry."""
    job = find(state, command.key)
    if job is None:
        return _not_found(state, command.key)
    if unled(job.definition):
        detail = f"the nodes of job {job.key} run it by themselves, each in its slices: nobody can run it in between"
        return Refused(state.index, Refusal.INVALID, detail)
    before = _before(state, job, command.again)
    if isinstance(before, Refused):
        return before
    slot_ms, given = before
    given = command.params or given
    wrong = params.flaw(given, job.definition.task)
    if wrong:
        return Refused(state.index, Refusal.INVALID, wrong)
    cause = f"run {command.again} is done again" if command.again else ""
    run_id = ledger.run_id_of_request(job.uid, state.index)
    admit(state, job, run_id, slot_ms, manual=True, params=given, cause=cause)
    state.touch(job.uid)
    return Done(state.index, run_id)


def _before(state: ClusterState, job: Job, run_id: str) -> tuple[int, params.Params] | Refused:
    """Slot and params of what shall be done once more; of nothing: now, and none."""
    if not run_id:
        return state.now_ms, ()
    run = find_run(state, run_id)
    if run is not None and run.job_uid == job.uid and not run.parent:
        if run.finished_ms is None:
            detail = f"run {run_id} is alive: {run.state.value}; it can be done again when it has ended"
            return Refused(state.index, Refusal.CONFLICT, detail)
        return run.slot_ms, run.params
    entry = find_entry(state, run_id)
    if entry is None or run_id.partition("/")[0] != job.uid:
        return Refused(state.index, Refusal.NOT_FOUND, f"job {job.key} has no run {run_id}, or it was long ago")
    return entry.slot_ms, ()


def key_of(definition: Definition) -> str:
    """The key of the job that a definition makes: "namespace/name"."""
    return f"{definition.namespace}/{definition.name}"


def find(state: ClusterState, key: str) -> Job | None:
    """The job that lives under "namespace/name" now."""
    uid = state.job_uids.get(key)
    return state.jobs[uid] if uid is not None else None


def _put(state: ClusterState, definition: Definition, *, uid: str) -> Job:
    """Create the job, or give the one of this name its new definition; unchanged, it stays the row it is."""
    present = find(state, key_of(definition))
    if present is None:
        return _create(state, definition, uid)
    return present if present.definition == definition else _edit(state, present, definition)


def _create(state: ClusterState, definition: Definition, uid: str) -> Job:
    job = Job(uid, definition, revision=state.index, created_ms=state.now_ms, updated_ms=state.now_ms)
    state.jobs[uid] = job
    state.job_uids[job.key] = uid
    link(state, job, None)
    state.cursors[uid] = Cursor(_start_ms(definition.trigger, state.now_ms))
    arrange(state, job)
    listen(state, job, None)
    state.touch(uid)
    state.happened("job", "created", job.key, revision=job.revision)
    return job


def _edit(state: ClusterState, present: Job, definition: Definition) -> Job:
    job = replace(present, definition=definition, revision=state.index, updated_ms=state.now_ms)
    state.jobs[job.uid] = job
    if definition.trigger != present.definition.trigger:
        cursor = state.cursors[job.uid]
        # Slots of the new trigger that lie in decided time are not asked for any more: no slot is decided twice.
        after_ms = max(cursor.after_ms, _start_ms(definition.trigger, state.now_ms))
        state.cursors[job.uid] = Cursor(after_ms, paused_through_ms=cursor.paused_through_ms)
    link(state, job, present.definition)
    if definition.pool != present.definition.pool:
        for run in waiting_runs(state, job.uid):
            leave(state, run)
    if definition.lock != present.definition.lock:
        for run in waiting_runs(state, job.uid):
            leave_lock(state, run)
    if definition.overlap is not present.definition.overlap:
        reline(state, job)
    if (definition.mode, definition.queue) != (present.definition.mode, present.definition.queue):
        repost(state, job)
    arrange(state, job)
    listen(state, job, present.definition)
    forget_checks(state, job, present.definition)
    if definition.mode is not present.definition.mode:
        standing.forget(state, job.uid)
    state.touch(job.uid)
    state.happened("job", "changed", job.key, revision=job.revision)
    return job


def _flaw_of_change(present: Job | None, definition: Definition) -> str:
    """Why a job cannot become this one; empty: it can."""
    if present is None or not unled(present.definition) or unled(definition):
        return ""
    return (
        "mode, on_absent: the fencing tokens of this job are its slots, and are larger than any that the cluster "
        "grants: who checks them would refuse whatever ran from now on; delete the job, and make it under a new name"
    )


def _start_ms(trigger: Trigger, now_ms: int) -> int:
    """Where a trigger's time begins: now; a single instant counts also if it has just gone by (misfire decides)."""
    return min(now_ms, trigger.at_ms - 1) if isinstance(trigger, AtTrigger) else now_ms


def _delete(state: ClusterState, job: Job) -> None:
    """Remove the job; its running attempts keep what they need (Run.definition), its ledger is kept for a while."""
    del state.jobs[job.uid], state.job_uids[job.key], state.cursors[job.uid]
    state.deleted_jobs[job.uid] = job.key
    state.happened("job", "deleted", job.key)
    forget_job(state, job.uid)
    unlisten(state, job)
    standing.forget(state, job.uid)
    unlink(state, job)
    for run in live_runs(state, job.uid):
        cancel(state, run, f"job {job.key} was deleted")
    ledger.bury(state)
    state.touch(job.uid)


def _pause_or_resume(state: ClusterState, key: str, *, paused: bool) -> Verdict:
    job = find(state, key)
    if job is None:
        return _not_found(state, key)
    _set_paused(state, job, paused)
    return Done(state.index, job.revision)


def _set_paused(state: ClusterState, job: Job, paused: bool) -> None:
    """The revision stays: a plan for a paused job is good, its slots are skipped with the reason."""
    if job.paused is paused:
        return
    state.jobs[job.uid] = replace(job, paused=paused, updated_ms=state.now_ms)
    if not paused:
        # Slots of the pause that no plan has reached yet must not fire late.
        cursor = state.cursors[job.uid]
        state.cursors[job.uid] = replace(cursor, paused_through_ms=state.now_ms)
    state.touch(job.uid)
    state.happened("job", "paused" if paused else "resumed", job.key)


def _asked(state: ClusterState, command: ApplyJobs) -> tuple[dict[str, Definition], list[Job]]:
    """What each job shall be, by key, and the jobs that shall go."""
    wanted = {key_of(definition): definition for definition in command.definitions}
    pruned = [
        job
        for job in (state.jobs.values() if command.prune_owner is not None else ())
        if job.definition.owner == command.prune_owner and job.key not in wanted
    ]
    return wanted, pruned


def refusal_of_file(state: ClusterState, command: ApplyJobs) -> Refused | None:
    """Why a file of jobs is refused as a whole; None: it is not. Changes nothing: who only plans asks it too."""
    wanted, leaving = _asked(state, command)
    pruned = [job.key for job in leaving]
    if command.only_if_empty and state.jobs:
        return Refused(state.index, Refusal.CONFLICT, "the cluster has jobs already: it is not seeded again")
    if len(command.definitions) > JOBS_PER_APPLY_MAX:
        return Refused(state.index, Refusal.LIMIT, f"jobs: at most {JOBS_PER_APPLY_MAX} are applied at once")
    if len(wanted) < len(command.definitions):
        return Refused(state.index, Refusal.INVALID, "jobs: one name is there twice")
    for key, definition in wanted.items():
        wrong = flaw(definition) or _flaw_of_change(find(state, key), definition)
        if wrong:
            return Refused(state.index, Refusal.INVALID, f"job {key}: {wrong}")
    no_room = crowded(state, wanted.values())
    if no_room:
        return Refused(state.index, Refusal.LIMIT, no_room)
    wrong = flaw_of_order(state, wanted, pruned) or unknown_calendar(state, wanted.values())
    if wrong:
        return Refused(state.index, Refusal.INVALID, wrong)
    new = sum(key not in state.job_uids for key in wanted)
    return _too_many(state) if len(state.jobs) - len(pruned) + new > JOBS_MAX else None


def _not_found(state: ClusterState, key: str) -> Refused:
    return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {key}")


def _conflict(state: ClusterState, key: str, present: Job | None) -> Refused:
    detail = f"job {key} is at revision {present.revision}" if present is not None else f"there is no job {key}"
    return Refused(state.index, Refusal.CONFLICT, detail)


def _too_many(state: ClusterState) -> Refused:
    return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {JOBS_MAX} jobs")
