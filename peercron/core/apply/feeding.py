"""Feeding: the next item of a queue becomes a run of the job that works through it; its end decides about the item.

A run that succeeds acks its item, any other end gives it back, and after as many attempts as the queue allows it is a
dead letter. The item hangs on the run and has no lease of its own: a run whose node is lost goes on elsewhere with the
same item, by the rules for all runs.

An item that stands for a slot of the very job (see `posting`) is no run of its own: the slot's run goes, once for each
time that its item is handed out, and ends when the item is done, is a dead letter or was purged.
"""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply import ledger
from peercron.core.apply.delivery import give_back, hand_out, settled, withdraw
from peercron.core.apply.posting import post
from peercron.core.apply.queue import DEPARTURES, line_of
from peercron.core.apply.run import advance, begin, end, live_runs, reline, take_turn
from peercron.core.commands import TakeItem
from peercron.core.job import Job, Mode
from peercron.core.limits import ATTEMPTS_MAX
from peercron.core.placement.room import room_for
from peercron.core.posting import posted_run, waits_in_queue
from peercron.core.queue import Item
from peercron.core.run import Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def take_item(state: ClusterState, command: TakeItem) -> Verdict:
    """The answer is the id of the run."""
    job = state.jobs.get(command.job_uid)
    if job is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.job_uid}")
    key = job.definition.queue
    queue, head = state.queues.get(key), line_of(state, key).next
    if job.paused or queue is None or head is None or not room_for(state, job):
        return Refused(
            state.index, Refusal.NOT_READY, f"job {job.key} is paused, its queue is empty or its nodes are busy"
        )
    own = posted_run(state, key, head)
    if own is not None and own.job_uid == job.uid:
        run_id = own.id
        pulled = state.runs[run_id] = replace(own, delivery=hand_out(state, queue, 1, f"run {run_id}"))
        take_turn(state, job, pulled)
    else:
        run_id = ledger.run_id_of_event(job.uid, state.index)
        token = hand_out(state, queue, 1, f"run {run_id}")
        run = Run(
            *(run_id, job.uid, job.key, state.now_ms, False, RunState.QUEUED),
            created_ms=state.now_ms,
            params=job.definition.params,
            delivery=token,
        )
        begin(state, job, run)
    state.touch(job.uid)
    return Done(state.index, run_id)


def hand_back(state: ClusterState, run: Run, outcome: RunState, reason: str) -> None:
    """A posted run's last attempt has not done its item: it waits to be pulled again, or is a dead letter."""
    delivery = state.deliveries.get(run.delivery)
    if delivery is None or run.cancel_requested or len(run.attempts) >= ATTEMPTS_MAX:
        end(state, run, outcome, reason)
        return
    state.runs[run.id] = replace(run, state=RunState.QUEUED, delivery=0)
    give_back(state, delivery.queue, settled(state, run.delivery, ()), reason)
    if run.id in state.runs and _follow(state, state.jobs[run.job_uid], state.runs[run.id]):
        reline(state, state.jobs[run.job_uid])


def repost(state: ClusterState, job: Job) -> None:
    """The job is in another mode than before, or has another queue: so do its runs that wait."""
    waiting = [run for run in live_runs(state, job.uid) if waits_in_queue(run)]
    moved = [run for run in waiting if _follow(state, job, run)]
    if moved:
        reline(state, job)


def _follow(state: ClusterState, job: Job, run: Run) -> bool:
    """Into the queue that the job has now, or out of all queues; False: it is where it belongs."""
    wanted = job.definition.queue if job.definition.mode is Mode.QUEUE else ""
    if run.posted == wanted:
        return False
    withdraw(state, run)
    moved = state.runs[run.id] = replace(run, posted="", reason="")
    wrong = post(state, job, moved) if wanted else ""
    if wrong:
        end(state, state.runs[run.id], RunState.FAILED, wrong)
    return True


def _departed(state: ClusterState, queue_key: str, item: Item, outcome: RunState, why: str) -> None:
    """An item has left its queue in other hands than those of the run that it stands for: so ends the run."""
    run = posted_run(state, queue_key, item)
    if run is not None and waits_in_queue(run):
        end(state, run, outcome, why)
        advance(state, run.job_uid)


DEPARTURES.append(_departed)
