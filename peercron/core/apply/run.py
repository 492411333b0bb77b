"""Runs: how a slot becomes a run, waits its turn, gets a node, and ends.

Life of a run, and the table that says where it is (`live_runs` holds it from the first state to the last but one):

    admit ─▶ QUEUED in line ─▶ QUEUED, unplaced ─▶ RUNNING, live_attempts ─▶ ended_runs and ledger
             (its turn has      (no node, or the    │
              not come)          grant of this      └─ attempt lost ─▶ back to QUEUED
                                 command is spent)

A command grants at most one attempt, so that its index is a token that names one attempt for ever. Runs that were left
without one wait in `unplaced`, and the leader's planner proposes a PlaceRun for each.
"""

from __future__ import annotations

from dataclasses import replace

from peercron.core import placement
from peercron.core.apply import ledger, shards, standing
from peercron.core.apply.delivery import part_with_item
from peercron.core.apply.exclusion import leave_lock
from peercron.core.apply.grant import NEXT_GRANT, grant, held_up, is_shared, wait
from peercron.core.apply.hold import jittered_ms
from peercron.core.apply.pool import leave
from peercron.core.apply.posting import post
from peercron.core.capacity import node_full
from peercron.core.job import Job, Mode, Overlap
from peercron.core.limits import POSTED_RUNS_MAX, RECENT_RUNS_KEPT
from peercron.core.params import Params, merged
from peercron.core.placement import Choice
from peercron.core.placement.lacking import still_to_ask
from peercron.core.placement.parallel import why_there
from peercron.core.policy import Admission, admission
from peercron.core.posting import waits_in_queue
from peercron.core.run import LIVE_RUN_STATES, Run, RunState
from peercron.core.shards import GIVEN_UP, live_shards, orders
from peercron.core.state import ClusterState

ASKED_IN_VAIN = "nobody who was asked is there any more"


def admit(
    state: ClusterState,
    job: Job,
    run_id: str,
    slot_ms: int,
    *,
    manual: bool = False,
    params: Params = (),
    cause: str = "",
    granting: bool = True,
    member: str = "",
) -> bool:
    """Let a slot meet the overlap policy: it becomes a run (True), or a ledger entry that says why not.

    Without `granting` its attempt is left to a command of its own: the grant of this one may be somebody else's.
    """
    assert run_id not in state.runs, "a slot has one run, for ever"
    live = live_runs(state, job.uid)
    if job.definition.mode is Mode.QUEUE:
        live = [run for run in live if run.posted]  # items that others put are in nobody's way
    queued = sum(run.state is RunState.QUEUED for run in live)
    what = admission(job.definition.overlap, live=len(live), queued=queued)
    if what is Admission.SKIP or (job.definition.mode is Mode.QUEUE and len(live) >= POSTED_RUNS_MAX):
        reason = _blocked_by(job.definition.overlap, live)
        ledger.record_slot(state, job.uid, run_id, slot_ms, RunState.SKIPPED, reason, manual=manual)
        return False
    if what is Admission.REPLACE:
        for run in live:
            cancel(state, run, f"replaced by run {run_id}")
    enqueue(state, job, run_id, slot_ms, manual=manual, params=params, cause=cause, granting=granting, member=member)
    return True


def enqueue(
    state: ClusterState,
    job: Job,
    run_id: str,
    slot_ms: int,
    *,
    manual: bool = False,
    params: Params = (),
    cause: str = "",
    granting: bool = True,
    member: str = "",
) -> None:
    """Make the run, at the end of the job's line, and let it go if it is its turn."""
    live = state.live_runs.get(job.uid, ())
    run = Run(
        *(run_id, job.uid, job.key, slot_ms, manual, RunState.QUEUED),
        created_ms=state.now_ms,
        reason=f"waits for run {live[0]}" if live else "",
        params=merged(job.definition.params, params),
        cause=cause,
        not_before_ms=0 if manual else jittered_ms(job, slot_ms),
        member=member,
    )
    if job.definition.mode is Mode.QUEUE:
        _put(state, job, run)
    else:
        begin(state, job, run, granting=granting)


def _put(state: ClusterState, job: Job, run: Run) -> None:
    """Mode queue: an item stands for the run from now on."""
    delay_ms = max(0, run.not_before_ms - state.now_ms)
    run = replace(run, posted=job.definition.queue, not_before_ms=0)
    begin(state, job, run)
    wrong = post(state, job, run, delay_ms=delay_ms)
    if wrong:
        end(state, state.runs[run.id], RunState.FAILED, wrong)


def begin(state: ClusterState, job: Job, run: Run, *, granting: bool = True) -> None:
    """A new run stands behind the job's others, and goes if it may."""
    state.runs[run.id] = run
    count(state, run.id)
    state.happened("run", "created", run.job_key, run=run.id, by=run.cause or ("hand" if run.manual else "schedule"))
    state.live_runs[job.uid] = (*state.live_runs.get(job.uid, ()), run.id)
    if granting:
        take_turn(state, job, run)
    elif turn_has_come(state, job, run):
        wait(state, run, NEXT_GRANT)


def count(state: ClusterState, run_id: str) -> None:
    """The run is the newest of all."""
    state.recent_runs[state.run_count % RECENT_RUNS_KEPT] = run_id
    state.run_count += 1


def live_runs(state: ClusterState, job_uid: str) -> list[Run]:
    """The job's live runs in order of creation."""
    return [state.runs[run_id] for run_id in state.live_runs.get(job_uid, ())]


def waiting_runs(state: ClusterState, job_uid: str) -> list[Run]:
    """The job's live runs and their shards."""
    live = live_runs(state, job_uid)
    return [*live, *(shard for run in live for shard in live_shards(state, run))]


def _blocked_by(overlap: Overlap, live: list[Run]) -> str:
    blocker = live[0]
    doing = "was still running" if blocker.state is RunState.RUNNING else "was still waiting"
    return f"run {blocker.id} {doing} (overlap {overlap.value}, {len(live)} alive)"


def turn_has_come(state: ClusterState, job: Job, run: Run) -> bool:
    """Under `allow`, and with an item in hand, nobody waits; else the first goes. One in a queue goes when pulled."""
    if waits_in_queue(run):
        return False
    return bool(run.delivery) or job.definition.overlap is Overlap.ALLOW or state.live_runs[job.uid][0] == run.id


def take_turn(state: ClusterState, job: Job, run: Run) -> None:
    """Give a queued run its attempt if its turn has come, nothing holds it up and a node is there; else it waits where
    it will be found, and says what for.
    """
    if run.parent:
        _take_turn_of_shard(state, job, run)
        return
    if not turn_has_come(state, job, run):
        return
    waits_for = held_up(state, job, run)
    if not waits_for and is_shared(job, run):
        _share(state, job, run)
        return
    choice = Choice(None, waits_for) if waits_for else placement.choose(state, job, run)
    if choice.member is None:
        wait(state, run, choice.why)
    else:
        grant(state, job, run, choice.member, choice.why)
        standing.remember(state, job, choice.member)


def _share(state: ClusterState, job: Job, run: Run) -> None:
    """Its shards are made, each of which waits for a grant of its own; or it waits for nodes to share it."""
    definition = run.definition or job.definition
    candidates = still_to_ask(state, definition, run, placement.eligible(state, definition))
    if candidates and shards.spread(state, job, run, candidates):
        leave(state, run)
        settle(state, state.runs[run.id])
    else:
        wait(state, run, placement.NO_NODE)


def _take_turn_of_shard(state: ClusterState, job: Job, shard: Run) -> None:
    """As the turn of any run, but that its node is known."""
    member, definition = state.members.get(shard.member), shard.definition
    assert definition is not None, "a shard is made with what it does"
    waits_for = held_up(state, job, shard) or node_full(state, definition, shard.member)
    if waits_for or member is None:
        wait(state, shard, waits_for or placement.NO_NODE)
        return
    contends = definition.mode is Mode.CONTEND
    why = f"number {shard.shard + 1} of those who asked" if contends else why_there(definition, shard)
    grant(state, job, shard, member, why)


def settle(state: ClusterState, run: Run) -> None:
    """Carry out what is due of a run's shards, until nothing is."""
    due = orders(state, run)
    for shard, outcome, reason in due.end:
        end(state, shard, outcome, reason)
    for shard, reason in due.stop:
        cancel(state, shard, reason)
    if due.opens:
        state.runs[run.id] = replace(state.runs[run.id], opened_ms=state.now_ms)
    if due.gives_up:
        state.runs[run.id] = replace(state.runs[run.id], barrier_by_ms=GIVEN_UP)
    if due.outcome is not None:
        state.contests.pop(run.id, None)
        end(state, run, *due.outcome)
    elif due.again:
        again = replace(run, state=RunState.QUEUED, reason=ASKED_IN_VAIN)
        state.runs[run.id] = again
        take_turn(state, state.jobs[run.job_uid], again)
    elif due.end:
        settle(state, state.runs[run.id])
    for shard in due.go:
        if shard.id not in state.unplaced:
            take_turn(state, state.jobs[run.job_uid], shard)


def advance(state: ClusterState, job_uid: str) -> None:
    """After a run ended, or a shard moved: what is due of shared runs; and the first in line goes, if it is one that
    waited for that.
    """
    for run in live_runs(state, job_uid):
        if run.state is RunState.RUNNING and run.live_attempt is None:
            settle(state, run)
    job, line = state.jobs.get(job_uid), state.live_runs.get(job_uid)
    if job is None or line is None:
        return
    first = state.runs[line[0]]
    if first.state is RunState.QUEUED and first.id not in state.unplaced:
        take_turn(state, job, first)


def reline(state: ClusterState, job: Job) -> None:
    """After the overlap policy changed: who waits for a node now, and who for an earlier run."""
    for run in live_runs(state, job.uid):
        if run.state is not RunState.QUEUED:
            continue
        if turn_has_come(state, job, run):
            state.unplaced.setdefault(run.id, state.index)
        else:
            state.unplaced.pop(run.id, None)
            leave(state, run)
            leave_lock(state, run)


def end(state: ClusterState, run: Run, outcome: RunState, reason: str) -> None:
    """Write the outcome of a live run whose last attempt, if any, has ended. The caller lets the line advance."""
    assert run.live_attempt is None, "an attempt ends before its run"
    assert outcome not in LIVE_RUN_STATES, "an outcome is final"
    ended = replace(
        run,
        state=outcome,
        finished_ms=state.now_ms,
        reason=reason,
        definition=None,
        not_before_ms=0,
        checkpoint=b"",
        delivery=0,
    )
    del state.runs[run.id]
    part_with_item(state, run, outcome, reason)
    state.unplaced.pop(run.id, None)
    leave(state, run)
    leave_lock(state, run)
    state.touch(run.job_uid)
    state.happened("run", outcome.value, run.job_key, run=run.id, reason=reason)
    if run.parent:
        shards.keep(state, ended)
        return
    line = tuple(run_id for run_id in state.live_runs[run.job_uid] if run_id != run.id)
    if line:
        state.live_runs[run.job_uid] = line
    else:
        del state.live_runs[run.job_uid]
    ledger.record_run(state, ended)
    state.touch(run.job_uid)
    if run.job_uid in state.deleted_jobs:
        ledger.bury(state)


def cancel(state: ClusterState, run: Run, reason: str) -> None:
    """End a queued run at once; ask the node of a running one to end it. The caller lets the line advance."""
    if run.state is RunState.QUEUED:
        end(state, run, RunState.CANCELLED, reason)
    elif not run.cancel_requested:
        asked = state.runs[run.id] = replace(run, cancel_requested=True, reason=reason)
        state.happened("run", "cancelling", run.job_key, run=run.id, reason=reason)
        state.touch(run.job_uid)
        if run.live_attempt is None:
            state.contests.pop(run.id, None)
            settle(state, asked)
