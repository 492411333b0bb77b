"""Posting: a slot of a job in mode queue puts an item; whoever pulls it does the run's work.

    admit ─▶ QUEUED, its item in the queue ─▶ RUNNING, pulled by a node of the job ─▶ done: ended_runs and ledger
                  │        ▲                         │
                  │        └── given back ───────────┤
                  │                                  └─ handed out as often as it may be: a dead letter, and failed
                  └─▶ pulled by another worker of the queue, which acks it: done; or gives it back, or lets it die

The item's unique key is the run's id: a slot is put once, whoever decides it, and its outcome is written once. Both are
made in one command, and end in one. Unless the job's overlap is `allow`, all its items are of one group, so that the
queue hands out the next when the one before it has ended, also to workers that are none of the cluster's.
"""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply.queue import enqueue, line_of
from peercron.core.job import Job, Overlap
from peercron.core.posting import payload_of, posted_run, waits_in_queue
from peercron.core.queue import Item
from peercron.core.run import Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Refused


def post(state: ClusterState, job: Job, run: Run, *, delay_ms: int = 0) -> str:
    """Put an item for the run, which is a live one, into the job's queue. Why it could not be put; empty: it was."""
    key = job.definition.queue
    namespace, _, name = key.partition("/")
    group = "" if job.definition.overlap is Overlap.ALLOW else job.uid
    state.runs[run.id] = replace(run, posted=key)
    item = enqueue(state, namespace, name, payload_of(run), key=run.id, group=group, delay_ms=delay_ms)
    if isinstance(item, Refused):
        return f"queue {key} did not take it: {item.detail}"
    if item not in line_of(state, key).items:
        return f"queue {key} has had an item of its key, {item}, which is done or a dead letter"
    say(state, key, line_of(state, key).items[item], f"item {item} waits in queue {key}")
    return ""


def say(state: ClusterState, queue_key: str, item: Item, where: str) -> None:
    """Note for people, on the run that the item stands for, where the item is."""
    run = posted_run(state, queue_key, item)
    if run is not None and waits_in_queue(run):
        state.runs[run.id] = replace(run, reason=where)
