"""Keys: written, compared and deleted by revision."""

from __future__ import annotations

import pytest

from peercron.core.apply import key as keys
from peercron.core.commands import DeleteKey, PutKey
from peercron.core.limits import KEY_BYTES_MAX, VALUE_BYTES_MAX
from peercron.core.state import ClusterState, Key
from peercron.core.verdict import Refusal
from tests.core.builders import done, refused


def put(value: bytes = b"v", if_revision: int | None = None) -> PutKey:
    return PutKey("default", "k", value, if_revision)


def test_a_revision_is_the_number_of_the_write() -> None:
    state = ClusterState()
    assert [done(state, put()).value, done(state, put(b"w")).value] == [1, 2]
    assert state.keys["default"]["k"] == Key(b"w", revision=2, created=1)
    assert state.key_count == 1


def test_a_write_may_insist_on_a_revision() -> None:
    state = ClusterState()
    assert refused(state, put(if_revision=1)) is Refusal.CONFLICT
    created = done(state, put(if_revision=0)).index
    assert refused(state, put(if_revision=0)) is Refusal.CONFLICT
    assert done(state, put(b"w", if_revision=created)).value
    assert refused(state, put(if_revision=created)) is Refusal.CONFLICT


def test_a_deleted_key_leaves_nothing() -> None:
    state = ClusterState()
    revision = done(state, put()).index
    assert refused(state, DeleteKey("default", "k", revision + 1)) is Refusal.CONFLICT
    done(state, DeleteKey("default", "k", revision))
    assert (state.keys, state.key_count) == ({}, 0)
    assert refused(state, DeleteKey("default", "k")) is Refusal.NOT_FOUND


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (PutKey("no good", "k", b""), Refusal.INVALID),
        (PutKey("", "k", b""), Refusal.INVALID),
        (PutKey("default", "", b""), Refusal.INVALID),
        (PutKey("default", "é" * (KEY_BYTES_MAX // 2 + 1), b""), Refusal.INVALID),
        (PutKey("default", "k", bytes(VALUE_BYTES_MAX + 1)), Refusal.LIMIT),
    ],
)
def test_names_and_values_are_bounded(command: PutKey, why: Refusal) -> None:
    state = ClusterState()
    assert refused(state, command) is why
    assert state.keys == {}


def test_the_shared_state_is_full_at_some_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_MAX", 1)
    state = ClusterState()
    done(state, put())
    assert refused(state, PutKey("default", "l", b"")) is Refusal.LIMIT
    done(state, put(b"w"))
