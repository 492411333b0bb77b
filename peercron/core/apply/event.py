"""Events: what happens and starts a job that waits for it: a slot of its own, named by the command that brought it."""

from __future__ import annotations

from peercron.core import params
from peercron.core.apply import ledger
from peercron.core.apply.definition import named
from peercron.core.apply.queue import ARRIVALS
from peercron.core.apply.run import admit
from peercron.core.commands import CallHook, EmitEvent
from peercron.core.history import find_entry
from peercron.core.job import Job
from peercron.core.limits import NAME_LENGTH_MAX
from peercron.core.listening import event_topic, queue_topic
from peercron.core.occasion import HookTrigger
from peercron.core.params import Params
from peercron.core.queue import Item, Queue
from peercron.core.run import RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def occur(
    state: ClusterState, job: Job, cause: str, given: Params = (), *, granting: bool = True, member: str = ""
) -> str:
    """What the job waits for has happened, once: the id of the run, or of the ledger entry that says why there is none.

    The slot is named by the command, and one command brings a job at most one. It meets the overlap policy like any.
    `member`: where it has happened, and where alone the work for it can be done; empty: anywhere.
    """
    run_id = ledger.run_id_of_event(job.uid, state.index)
    if run_id in state.runs or find_entry(state, run_id) is not None:
        return run_id
    if job.paused or state.paused:
        why = ledger.PAUSED if job.paused else ledger.CLUSTER_PAUSED
        ledger.record_slot(state, job.uid, run_id, state.now_ms, RunState.SKIPPED, f"{why}; {cause}")
    else:
        admit(state, job, run_id, state.now_ms, params=given, cause=cause, granting=granting, member=member)
    state.touch(job.uid)
    return run_id


def call_hook(state: ClusterState, command: CallHook) -> Verdict:
    """The answer is the run's id."""
    uid = state.job_uids.get(command.key)
    if uid is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.key}")
    job = state.jobs[uid]
    if not isinstance(job.definition.trigger, HookTrigger):
        return Refused(state.index, Refusal.CONFLICT, f"job {job.key} has no webhook; it would with webhook = true")
    wrong = params.flaw(command.params, job.definition.task)
    if wrong:
        return Refused(state.index, Refusal.INVALID, wrong)
    return Done(state.index, occur(state, job, "webhook", command.params))


def emit_event(state: ClusterState, command: EmitEvent) -> Verdict:
    """The answer is how many jobs it reached; that nobody waits for it is no error."""
    if not named(command.namespace) or not named(command.name):
        detail = f"name: wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}"
        return Refused(state.index, Refusal.INVALID, detail)
    listeners = tuple(state.listening.get(event_topic(command.namespace, command.name), ()))
    for uid in listeners:
        wrong = params.flaw(command.params, state.jobs[uid].definition.task)
        if wrong:
            return Refused(state.index, Refusal.INVALID, f"{wrong} (job {state.jobs[uid].key})")
    for uid in listeners:
        occur(state, state.jobs[uid], f"event {command.namespace}/{command.name}", command.params)
    state.happened("event", "emitted", f"{command.namespace}/{command.name}", reached=len(listeners))
    return Done(state.index, len(listeners))


def _arrived(state: ClusterState, queue: Queue, _: Item) -> None:
    """Items that one command puts into a queue are one event, however many they are."""
    for uid in tuple(state.listening.get(queue_topic(queue.namespace, queue.name), ())):
        occur(state, state.jobs[uid], f"queue {queue.key}", granting=False)


ARRIVALS.append(_arrived)
