"""Posting: mode queue, where an item stands for each run: how they find each other, and what such a job must obey."""

from __future__ import annotations

from json import dumps

from peercron.core.job import Definition, Guarantee, ManualTrigger, Mode
from peercron.core.limits import NAME_LENGTH_MAX
from peercron.core.naming import named
from peercron.core.occasion import QueueTrigger
from peercron.core.queue import DEAD, Item
from peercron.core.run import Run
from peercron.core.state import ClusterState


def posted_run(state: ClusterState, queue_key: str, item: Item) -> Run | None:
    """The live run that the item of this queue stands for; None: it stands for itself."""
    run = state.runs.get(item.key) if item.key else None
    return run if run is not None and run.posted == queue_key else None


def waits_in_queue(run: Run) -> bool:
    """Whether the run's item is in its queue, or in the hands of somebody who is not of this job."""
    return bool(run.posted) and not run.delivery


def payload_of(run: Run) -> bytes:
    """What whoever pulls the item is told of the run, as JSON.

    >>> from peercron.core.run import RunState
    >>> payload_of(Run("1/1000", "1", "default/a", 1_000, False, RunState.QUEUED, 1_000, params=(("day", "mon"),)))
    b'{"job":"default/a","run":"1/1000","slot":1000,"params":{"day":"mon"}}'
    """
    told = {"job": run.job_key, "run": run.id, "slot": run.slot_ms, "params": dict(run.params)}
    return dumps(told, separators=(",", ":")).encode()


def flaw_of_queue(definition: Definition) -> str:
    """What is wrong with the queue of a job, in one sentence that begins with the key; empty: nothing."""
    key = definition.queue
    if not key:
        wants = 'queue: mode queue wants the name of the queue that its slots go into, such as queue = "mail"'
        return wants if definition.mode is Mode.QUEUE else ""
    if key.count("/") != 1 or not all(map(named, key.split("/"))):
        return f"queue: {key[: 2 * NAME_LENGTH_MAX]!r} is not the name of a queue"
    wrong = _posting(definition) if definition.mode is Mode.QUEUE else _working(definition)
    return wrong or ("" if definition.concurrency.per_node else "concurrency: per_node wants at least 1 with queue")


def _posting(definition: Definition) -> str:
    """Of a job whose slots go into its queue."""
    if len(definition.queue.partition("/")[2]) > NAME_LENGTH_MAX - len(DEAD):
        return f"queue: wants at most {NAME_LENGTH_MAX - len(DEAD)} characters"
    if definition.guarantee is Guarantee.AT_MOST_ONCE:
        return "guarantee: a queue hands an item out again when whoever has it is lost, which at_most_once forbids"
    if isinstance(definition.trigger, QueueTrigger):
        return "on.queue: cannot stand beside mode queue: a slot that puts an item would make a slot that puts an item"
    return ""


def _working(definition: Definition) -> str:
    """Of a job that only works through its queue."""
    if definition.after or not isinstance(definition.trigger, ManualTrigger):
        return (
            "queue: cannot stand beside schedule, every, at or after: the items are what this job runs for; with "
            'mode = "queue" its slots become items too'
        )
    if definition.mode is not Mode.SINGLE:
        return f"queue: an item goes to the node that has room for it, so mode {definition.mode.value} has no meaning"
    return ""
