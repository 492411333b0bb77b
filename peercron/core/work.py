"""Work: the item of a queue as the run that works on it sees it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from json import loads
from typing import Any

from peercron.core.job import HttpTask, Task
from peercron.core.limits import ITEM_VARIABLE_BYTES_MAX
from peercron.core.run import Run
from peercron.core.state import ClusterState


def with_item(state: ClusterState, run: Run, task: Task) -> tuple[Task, dict[str, str]]:
    """What the run does, and the variables PEERCRON_QUEUE and PEERCRON_ITEM_*, if it works on an item.

    PEERCRON_ITEM is the payload (JSON), PEERCRON_ITEM_BASE64 one of bytes. What is too long for a variable is not
    there, and is read from GET /v1/queues/{namespace}/{name}/items/{id}. An HTTP call that has no body of its own
    carries the payload as its body.
    """
    delivery = state.deliveries.get(run.delivery)
    if delivery is None:
        return task, {}
    item = state.items[delivery.queue][delivery.items[0]]
    told = {
        "PEERCRON_QUEUE": delivery.queue,
        "PEERCRON_ITEM_ID": str(item.id),
        "PEERCRON_ITEM_ATTEMPT": str(item.attempts),
    }
    if isinstance(task, HttpTask):
        return task if task.body else replace(task, body=item.payload), told
    text = b64encode(item.payload).decode() if item.binary else item.payload.decode("utf-8", "replace")
    if len(text.encode()) <= ITEM_VARIABLE_BYTES_MAX:
        told["PEERCRON_ITEM_BASE64" if item.binary else "PEERCRON_ITEM"] = text
    return task, told


def item_facts(state: ClusterState, run: Run) -> dict[str, Any]:
    """What a job class is told of its item, by name; empty: it works on none."""
    delivery = state.deliveries.get(run.delivery)
    if delivery is None:
        return {}
    item = state.items[delivery.queue][delivery.items[0]]
    return {"item": item.payload if item.binary else loads(item.payload), "item_id": item.id}


def item_of(state: ClusterState, run: Run) -> dict[str, Any]:
    """The item that the run works on, or that stands for it, for people; empty: there is none, nor has been."""
    delivery = state.deliveries.get(run.delivery)
    if delivery is not None:
        return {"queue": delivery.queue, "item": delivery.items[0]}
    if not run.posted:
        return {}
    items = state.items.get(run.posted, {}).values()
    return {"queue": run.posted, "item": next((item.id for item in items if item.key == run.id), None)}
