"""Keys: written, compared, counted and deleted by revision, and gone when their time is up."""

from __future__ import annotations

import pytest

from peercron.core.apply import key as keys
from peercron.core.commands import DeleteKey, ExpireLease, IncrKey, PutKey
from peercron.core.limits import KEY_BYTES_MAX, NUMBER_MAX, VALUE_BYTES_MAX
from peercron.core.state import ClusterState, Key
from peercron.core.verdict import Refusal
from tests.core.builders import cluster, done, refused


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


@pytest.fixture
def state() -> ClusterState:
    return cluster("a")


def test_a_count_begins_at_nothing_and_answers_the_sum(state: ClusterState) -> None:
    assert [done(state, IncrKey("default", "n", by)).value for by in (1, 5, -7)] == [1, 6, -1]
    entry = state.keys["default"]["n"]
    assert (entry.value, entry.revision) == (b"-1", state.index)


@pytest.mark.parametrize(
    ("value", "total"), [(b"41", 42), (b" 41\n", 42), (b"-1", 0), (b"0", 1), (b"1.5", None), (b"041", None)]
)
def test_what_is_a_whole_number_is_counted(state: ClusterState, value: bytes, total: int | None) -> None:
    done(state, PutKey("default", "n", value))
    if total is None:
        assert refused(state, IncrKey("default", "n")) is Refusal.INVALID
        assert state.keys["default"]["n"].value == value
    else:
        assert done(state, IncrKey("default", "n")).value == total


def test_a_count_has_bounds(state: ClusterState) -> None:
    done(state, IncrKey("default", "n", NUMBER_MAX))
    assert refused(state, IncrKey("default", "n")) is Refusal.LIMIT
    assert refused(state, IncrKey("no good", "n")) is Refusal.INVALID


def test_a_key_goes_when_its_time_is_up(state: ClusterState) -> None:
    state.news = {}
    lease = done(state, PutKey("default", "k", b"v", ttl_ms=1_000)).index
    done(state, ExpireLease(lease))
    assert (state.keys, state.key_count, state.leases) == ({}, 0, {})
    assert state.news == {("key", "default", "k"): None}


@pytest.mark.parametrize("again", [PutKey("default", "k", b"w"), PutKey("default", "k", b"w", ttl_ms=9_000)])
def test_who_writes_a_key_again_gives_it_another_time(state: ClusterState, again: PutKey) -> None:
    lease = done(state, PutKey("default", "k", b"v", ttl_ms=1_000)).index
    done(state, again)
    assert refused(state, ExpireLease(lease)) is Refusal.STALE_TOKEN
    assert state.keys["default"]["k"].value == b"w"
    assert [row.ttl_ms for row in state.leases.values()] == [again.ttl_ms] * bool(again.ttl_ms)


def test_counting_leaves_the_time_as_it_is(state: ClusterState) -> None:
    lease = done(state, IncrKey("default", "n", ttl_ms=1_000)).index
    done(state, IncrKey("default", "n", ttl_ms=9_000))
    assert state.leases[lease].ttl_ms == 1_000
    done(state, ExpireLease(lease))
    assert state.keys == {}


def test_a_deleted_key_has_no_time_left(state: ClusterState) -> None:
    done(state, PutKey("default", "k", b"v", ttl_ms=1_000))
    done(state, DeleteKey("default", "k"))
    assert state.leases == {}
    assert refused(state, PutKey("default", "k", b"v", ttl_ms=1)) is Refusal.INVALID
