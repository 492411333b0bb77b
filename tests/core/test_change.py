"""Changes: the last ones are kept in order, so that who watches misses none, or is told that it did."""

from __future__ import annotations

import pytest

from peercron.core.apply import change as changes
from peercron.core.apply.configuration import configure
from peercron.core.change import Change
from peercron.core.commands import DeleteKey, ExpireLease, IncrKey, OpenSession, PutKey
from peercron.core.limits import GENERATION_SHIFT
from peercron.core.member import Configuration
from peercron.core.state import ClusterState
from tests.core.builders import cluster, done, info, refused


def put(state: ClusterState, key: str = "k", value: bytes = b"v", **more: int) -> int:
    return done(state, PutKey("default", key, value, **more)).index


def kept(state: ClusterState) -> list[Change]:
    return list(state.changes.values())


def test_every_write_and_every_end_is_kept() -> None:
    state = cluster("a")
    first = put(state)
    count = done(state, IncrKey("default", "n", 7)).index
    gone = done(state, DeleteKey("default", "k")).index
    ending = put(state, "t", ttl_ms=1_000)
    ended = done(state, ExpireLease(ending)).index
    assert kept(state) == [
        Change(first, "default", "k", b"v"),
        Change(count, "default", "n", b"7"),
        Change(gone, "default", "k", None),
        Change(ending, "default", "t", b"v"),
        Change(ended, "default", "t", None),
    ]


def test_what_was_refused_is_no_change() -> None:
    state = cluster("a")
    refused(state, PutKey("default", "k", b"v", if_revision=9))
    assert kept(state) == []


def test_the_oldest_go_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_KEPT", 2)
    state = cluster("a")
    written = [put(state) for _ in range(5)]
    assert [change.revision for change in kept(state)] == written[3:]
    assert state.changes_floor == written[2]


def test_the_oldest_go_where_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_KEPT_BYTES", 1_000)
    state = cluster("a")
    written = [put(state, value=bytes(300)) for _ in range(5)]
    assert [change.revision for change in kept(state)] == written[3:]
    assert state.changes_bytes == sum(map(changes.size_of, kept(state))) <= 1_000


def test_nothing_of_before_the_level_is_promised() -> None:
    state = ClusterState()
    done(state, OpenSession(info("a", level=1), 1))
    put(state)
    assert (kept(state), state.changes_floor) == ([], 0)
    raised = done(state, OpenSession(info("a"), 2)).index
    assert state.changes_floor == raised
    written = put(state)
    assert [change.revision for change in kept(state)] == [written]


def test_a_recovered_cluster_has_another_history() -> None:
    state = cluster("a")
    put(state)
    configure(state, Configuration((), recoveries=1))
    assert kept(state) == []
    assert state.changes_floor == state.index == 1 << GENERATION_SHIFT
