"""Feeding: the next item of a queue becomes a run of the job that works through it; its end decides about the item.

A run that succeeds acks its item, any other end gives it back, and after as many attempts as the queue allows it is a
dead letter. The item hangs on the run and has no lease of its own: a run whose node is lost goes on elsewhere with the
same item, by the rules for all runs.
"""

from __future__ import annotations

from peercron.core.apply import ledger
from peercron.core.apply.delivery import hand_out
from peercron.core.apply.queue import line_of
from peercron.core.apply.run import begin
from peercron.core.commands import TakeItem
from peercron.core.placement.room import room_for
from peercron.core.run import Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def take_item(state: ClusterState, command: TakeItem) -> Verdict:
    """The answer is the id of the run."""
    job = state.jobs.get(command.job_uid)
    if job is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.job_uid}")
    key = job.definition.queue
    queue = state.queues.get(key)
    if job.paused or queue is None or not line_of(state, key).ready or not room_for(state, job):
        return Refused(
            state.index, Refusal.NOT_READY, f"job {job.key} is paused, its queue is empty or its nodes are busy"
        )
    run_id = ledger.run_id_of_event(job.uid, state.index)
    token = hand_out(state, queue, 1, f"run {run_id}")
    run = Run(
        *(run_id, job.uid, job.key, state.now_ms, False, RunState.QUEUED), created_ms=state.now_ms, delivery=token
    )
    begin(state, job, run)
    state.touch(job.uid)
    return Done(state.index, run_id)
