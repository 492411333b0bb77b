"""Keys: the shared state that tasks on different nodes talk through."""

from __future__ import annotations

from peercron.core.apply.definition import named
from peercron.core.commands import DeleteKey, PutKey
from peercron.core.limits import KEY_BYTES_MAX, KEYS_MAX, NAME_LENGTH_MAX, VALUE_BYTES_MAX
from peercron.core.state import ClusterState, Key
from peercron.core.table import Table
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def put_key(state: ClusterState, command: PutKey) -> Verdict:
    index, name, value = state.index, command.key, command.value
    entries = state.keys.get(command.namespace)
    present = entries.get(name) if entries is not None else None
    if command.if_revision is not None and command.if_revision != (present.revision if present is not None else 0):
        return _conflict(index, name, present)
    if len(value) > VALUE_BYTES_MAX:
        return Refused(index, Refusal.LIMIT, f"value: {len(value)} bytes, at most {VALUE_BYTES_MAX} are kept")
    if present is not None and entries is not None:
        entries[name] = Key(value, index, present.created)
        return Done(index, index)
    refused = _refused_new(state, command)
    if refused is not None:
        return refused
    state.keys.setdefault(command.namespace, Table())[name] = Key(value, index, index)
    state.key_count += 1
    return Done(index, index)


def delete_key(state: ClusterState, command: DeleteKey) -> Verdict:
    entries = state.keys.get(command.namespace, {})
    present = entries.get(command.key)
    if present is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no key {command.namespace}/{command.key}")
    if command.if_revision is not None and command.if_revision != present.revision:
        return _conflict(state.index, command.key, present)
    del entries[command.key]
    if not entries:
        del state.keys[command.namespace]
    state.key_count -= 1
    return Done(state.index, present.revision)


def _refused_new(state: ClusterState, command: PutKey) -> Refused | None:
    """What only a new key is asked: its names are checked once, since one that is there has passed."""
    if not named(command.namespace):
        detail = (
            f"namespace: wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}, not {command.namespace!r}"
        )
        return Refused(state.index, Refusal.INVALID, detail)
    if not 0 < len(command.key.encode()) <= KEY_BYTES_MAX:
        return Refused(state.index, Refusal.INVALID, f"key: wants 1 to {KEY_BYTES_MAX} bytes of UTF-8")
    if state.key_count >= KEYS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"the shared state has {KEYS_MAX} keys, which is all it keeps")
    return None


def _conflict(index: int, name: str, present: Key | None) -> Refused:
    detail = f"key {name} is at revision {present.revision}" if present is not None else f"key {name} is not there"
    return Refused(index, Refusal.CONFLICT, detail)
