"""Leases: what has a time ends once, by whoever ends it, and takes with it what hangs on it."""

from __future__ import annotations

import pytest

from peercron.core.apply import lease as leases
from peercron.core.apply.lease import begin_lease, drop_lease, refusal_of_ttl
from peercron.core.commands import CloseClient, ExpireLease, OpenClient
from peercron.core.lease import Lease, LeaseKind
from peercron.core.limits import LEASE_MS_MAX, LEASE_MS_MIN, NAME_LENGTH_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import cluster, done, refused


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Leases of keys that ended, in order."""
    told: list[int] = []
    monkeypatch.setitem(leases.ENDS, LeaseKind.KEY, lambda state, lease_id, lease: told.append(lease_id))
    return told


def open_client(state: ClusterState) -> int:
    return int(done(state, OpenClient("batch/1", 5_000)).value or 0)


def hold_key(state: ClusterState, client: int = 0) -> int:
    state.index += 1
    assert refusal_of_ttl(state, 1_000, client) is None
    return begin_lease(state, Lease(LeaseKind.KEY, 1_000, "default", "k", client))


def test_a_client_session_is_a_lease_that_its_owner_or_the_leader_ends() -> None:
    state = cluster("a")
    first, second = open_client(state), open_client(state)
    assert first != second
    done(state, CloseClient(first))
    done(state, ExpireLease(second))
    assert (state.leases, state.client_leases) == ({}, {})
    assert refused(state, CloseClient(first)) is Refusal.STALE_TOKEN
    assert refused(state, ExpireLease(second)) is Refusal.STALE_TOKEN


def test_what_a_client_holds_ends_with_its_session(ended: list[int]) -> None:
    state = cluster("a")
    client, other = open_client(state), open_client(state)
    held = [hold_key(state, client), hold_key(state, client)]
    kept = [hold_key(state, other), hold_key(state)]
    done(state, ExpireLease(client))
    assert ended == held
    assert list(state.leases) == [other, *kept]
    assert state.client_leases == {other: {kept[0]: kept[0]}}


def test_a_right_that_was_given_back_does_not_end_again(ended: list[int]) -> None:
    state = cluster("a")
    client = open_client(state)
    held = hold_key(state, client)
    assert drop_lease(state, held) is not None
    assert drop_lease(state, held) is None
    done(state, CloseClient(client))
    assert refused(state, ExpireLease(held)) is Refusal.STALE_TOKEN
    assert ended == []


def test_nothing_is_held_for_a_client_that_is_gone() -> None:
    state = cluster("a")
    client = open_client(state)
    held = hold_key(state)
    done(state, CloseClient(client))
    for gone in (client, held, 999):  # a lease of another kind is no session
        refusal = refusal_of_ttl(state, 1_000, gone)
        assert refusal is not None
        assert refusal.code is Refusal.STALE_TOKEN


@pytest.mark.parametrize("ttl_ms", [LEASE_MS_MIN - 1, LEASE_MS_MAX + 1, 0, -5])
def test_a_time_has_bounds(ttl_ms: int) -> None:
    state = cluster("a")
    assert refused(state, OpenClient("x", ttl_ms)) is Refusal.INVALID
    assert state.leases == {}


def test_a_label_has_a_bound() -> None:
    assert refused(cluster("a"), OpenClient("x" * (NAME_LENGTH_MAX + 1), 1_000)) is Refusal.INVALID


def test_leases_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASES_MAX", 2)
    state = cluster("a")
    open_client(state)
    open_client(state)
    assert refused(state, OpenClient("x", 1_000)) is Refusal.LIMIT


def test_who_counts_and_who_waits_are_told(ended: list[int]) -> None:
    state = cluster("a")
    state.changed_leases, state.news = {}, {}
    client = open_client(state)
    held = hold_key(state, client)
    assert list(state.changed_leases) == [client, held]
    done(state, CloseClient(client))
    assert state.news == {("client", "", str(client)): None}
    assert ended == [held]


def test_an_older_cluster_has_no_leases() -> None:
    assert refused(ClusterState(), OpenClient("x", 1_000)) is Refusal.UNSUPPORTED
