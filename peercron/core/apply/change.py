"""Changes: the last ones are kept, the same on all members, so that who watches can go on at any of them."""

from __future__ import annotations

from peercron.core.change import Change
from peercron.core.limits import CHANGE_BYTES_MIN, CHANGES_KEPT, CHANGES_KEPT_BYTES
from peercron.core.state import ClusterState

#: Changes are kept from this level on.
LEVEL = 2


def note_change(state: ClusterState, namespace: str, key: str, value: bytes | None) -> None:
    """This command wrote or (None) deleted the key. The oldest changes go where there are too many."""
    state.tell("key", namespace, key)
    if state.level < LEVEL:
        return
    change = Change(state.index, namespace, key, value)
    state.changes[state.change_count] = change
    state.change_count += 1
    state.changes_bytes += size_of(change)
    while len(state.changes) > CHANGES_KEPT or state.changes_bytes > CHANGES_KEPT_BYTES:
        oldest = state.changes.pop(state.change_count - len(state.changes))
        state.changes_bytes -= size_of(oldest)
        state.changes_floor = oldest.revision


def forget_changes(state: ClusterState) -> None:
    """What is kept does not lead on from any index before this one: who watches has to begin anew."""
    if state.level >= LEVEL:
        state.changes, state.changes_bytes, state.changes_floor = {}, 0, state.index


def size_of(change: Change) -> int:
    """What the change counts for."""
    return CHANGE_BYTES_MIN + len(change.key) + len(change.value or b"")
