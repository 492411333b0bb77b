"""Keys: the shared state that tasks on different nodes talk through."""

from __future__ import annotations

import re

from peercron.core.apply.change import note_change
from peercron.core.apply.condition import cross, holding
from peercron.core.apply.definition import named
from peercron.core.apply.lease import ENDS, begin_lease, drop_lease, refusal_of_ttl
from peercron.core.commands import DeleteKey, IncrKey, PutKey
from peercron.core.lease import Lease, LeaseKind
from peercron.core.limits import KEY_BYTES_MAX, KEYS_MAX, NAME_LENGTH_MAX, NUMBER_MAX, VALUE_BYTES_MAX
from peercron.core.state import ClusterState, Key
from peercron.core.table import Table
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: A whole number as JSON writes it, with the white space that editors and `echo` leave.
_NUMBER = re.compile(rb"\s*(-?(?:0|[1-9]\d{0,18}))\s*")


def put_key(state: ClusterState, command: PutKey) -> Verdict:
    """The answer is the revision. A key that had a time has the one that is given now."""
    index, namespace, name = state.index, command.namespace, command.key
    present = state.keys.get(namespace, {}).get(name)
    if command.if_revision is not None and command.if_revision != (present.revision if present is not None else 0):
        return _conflict(index, name, present)
    if len(command.value) > VALUE_BYTES_MAX:
        return Refused(index, Refusal.LIMIT, f"value: {len(command.value)} bytes, at most {VALUE_BYTES_MAX} are kept")
    refused = _refused(state, namespace, name, present, command.ttl_ms)
    if refused is not None:
        return refused
    if present is not None and present.lease:
        drop_lease(state, present.lease)
    _write(state, namespace, name, command.value, _lease(state, namespace, name, command.ttl_ms))
    return Done(index, index)


def incr_key(state: ClusterState, command: IncrKey) -> Verdict:
    """The answer is the sum, the revision that of any write: the index."""
    index, namespace, name = state.index, command.namespace, command.key
    present = state.keys.get(namespace, {}).get(name)
    found = _NUMBER.fullmatch(present.value if present is not None else b"0")
    if found is None:
        return Refused(index, Refusal.INVALID, f"key {name} holds no whole number of at most 19 digits")
    total = int(found[1]) + command.by
    if abs(total) > NUMBER_MAX:
        return Refused(index, Refusal.LIMIT, f"key {name} would be {total}, and counts to {NUMBER_MAX} at most")
    refused = _refused(state, namespace, name, present, 0 if present is not None else command.ttl_ms)
    if refused is not None:
        return refused
    lease = present.lease if present is not None else _lease(state, namespace, name, command.ttl_ms)
    _write(state, namespace, name, b"%d" % total, lease)
    return Done(index, total)


def delete_key(state: ClusterState, command: DeleteKey) -> Verdict:
    """The answer is the revision that it had."""
    present = state.keys.get(command.namespace, {}).get(command.key)
    if present is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no key {command.namespace}/{command.key}")
    if command.if_revision is not None and command.if_revision != present.revision:
        return _conflict(state.index, command.key, present)
    if present.lease:
        drop_lease(state, present.lease)
    _remove(state, command.namespace, command.key)
    return Done(state.index, present.revision)


def _end_key(state: ClusterState, lease_id: int, lease: Lease) -> None:
    """Its time is up; who wrote it since has given it another, or none."""
    present = state.keys.get(lease.namespace, {}).get(lease.name)
    if present is not None and present.lease == lease_id:
        _remove(state, lease.namespace, lease.name)


ENDS[LeaseKind.KEY] = _end_key


def _write(state: ClusterState, namespace: str, name: str, value: bytes, lease: int) -> None:
    before = holding(state, namespace, name)
    entries = state.keys.setdefault(namespace, Table())
    present = entries.get(name)
    created = present.created if present is not None else state.index
    state.key_count += present is None
    entries[name] = Key(value, state.index, created, lease)
    note_change(state, namespace, name, value)
    cross(state, namespace, name, before)


def _remove(state: ClusterState, namespace: str, name: str) -> None:
    before = holding(state, namespace, name)
    entries = state.keys[namespace]
    del entries[name]
    if not entries:
        del state.keys[namespace]
    state.key_count -= 1
    note_change(state, namespace, name, None)
    cross(state, namespace, name, before)


def _lease(state: ClusterState, namespace: str, name: str, ttl_ms: int) -> int:
    return begin_lease(state, Lease(LeaseKind.KEY, ttl_ms, namespace, name)) if ttl_ms else 0


def _refused(state: ClusterState, namespace: str, name: str, present: Key | None, ttl_ms: int) -> Refused | None:
    refused = _refused_new(state, namespace, name) if present is None else None
    return refused or (refusal_of_ttl(state, ttl_ms) if ttl_ms else None)


def _refused_new(state: ClusterState, namespace: str, name: str) -> Refused | None:
    """What only a new key is asked: its names are checked once, since one that is there has passed."""
    if not named(namespace):
        detail = f"namespace: wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}, not {namespace!r}"
        return Refused(state.index, Refusal.INVALID, detail)
    if not 0 < len(name.encode()) <= KEY_BYTES_MAX:
        return Refused(state.index, Refusal.INVALID, f"key: wants 1 to {KEY_BYTES_MAX} bytes of UTF-8")
    if state.key_count >= KEYS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"the shared state has {KEYS_MAX} keys, which is all it keeps")
    return None


def _conflict(index: int, name: str, present: Key | None) -> Refused:
    detail = f"key {name} is at revision {present.revision}" if present is not None else f"key {name} is not there"
    return Refused(index, Refusal.CONFLICT, detail)
