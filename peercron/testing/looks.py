"""looks: what a test sees of the replicated state."""

from __future__ import annotations

import json
from typing import Any

from peercron.core import history
from peercron.core.run import LIVE_RUN_STATES
from peercron.core.state import ClusterState
from peercron.errors import JobNotFound


def key_of(name: str) -> str:
    """A bare name is in the namespace "default"."""
    return name if "/" in name else f"default/{name}"


def run_ids(state: ClusterState, name: str) -> list[str]:
    """Of the job's slots and runs, the oldest first. Raises JobNotFound."""
    uid = state.job_uids.get(key_of(name))
    if uid is None:
        raise JobNotFound(key_of(name))
    ended = [entry.run_id for entry in history.entries_of(state, uid)]
    return [*ended, *state.live_runs.get(uid, ())]


def has_ended(state: ClusterState, run_id: str) -> bool:
    run = state.runs.get(run_id)
    return run is None or run.state not in LIVE_RUN_STATES


def payloads(state: ClusterState, queue: str) -> list[Any]:
    """What waits in a queue, in order."""
    items = state.items.get(key_of(queue), {}).values()
    return [item.payload if item.binary else json.loads(item.payload) for item in items]


def value_of(state: ClusterState, key: str) -> Any:
    """What is under a key; None: nothing."""
    namespace, _, name = key.rpartition(":")
    found = state.keys.get(namespace or "default", {}).get(name)
    return None if found is None else json.loads(found.value)
