"""Conditions: judged where a key changes, before and after, so that each crossing is one event and no more.

Nothing is remembered between two changes: whether a condition held before is asked of what the state was before. So it
does not matter who leads, and a crossing is as exact as the log.
"""

from __future__ import annotations

from peercron.core.apply.event import occur
from peercron.core.condition import holds
from peercron.core.listening import key_topic
from peercron.core.occasion import ConditionTrigger
from peercron.core.state import ClusterState


def holding(state: ClusterState, namespace: str, key: str) -> dict[str, bool]:
    """Jobs whose condition reads this key, and whether it holds. To be asked before the key changes."""
    listeners = state.listening.get(key_topic(namespace, key))
    return {uid: _holds(state, uid) for uid in listeners} if listeners else {}


def cross(state: ClusterState, namespace: str, key: str, before: dict[str, bool]) -> None:
    """The key has changed: every condition that holds now and did not `before` starts its job."""
    for uid, held in before.items():
        if not held and _holds(state, uid):
            occur(state, state.jobs[uid], f"condition, as of {namespace}/{key} at revision {state.index}")


def _holds(state: ClusterState, uid: str) -> bool:
    trigger = state.jobs[uid].definition.trigger
    assert isinstance(trigger, ConditionTrigger), "only conditions listen to keys"
    return holds(trigger.condition, lambda namespace, key: _look(state, namespace, key))


def _look(state: ClusterState, namespace: str, key: str) -> bytes | None:
    entry = state.keys.get(namespace, {}).get(key)
    return entry.value if entry is not None else None
