"""Seats: who belongs to the cluster decides who may open a session and who is given work; generations leap ahead."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.commands import ExpireSession, OpenSession, PutKey
from peercron.core.limits import GENERATION_SHIFT, REMOVED_KEPT
from peercron.core.member import Configuration, MemberInfo, Role, Seat
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused


def seats(*names: str, **roles: Role) -> Configuration:
    every = [*(Seat(n, n, f"{n}:1") for n in names), *(Seat(n, n, f"{n}:1", role) for n, role in roles.items())]
    return Configuration(tuple(every))


def opened(state: ClusterState, name: str, session: int = 1) -> object:
    return apply(state, OpenSession(MemberInfo(name, name, f"{name}:1", f"{name}:2"), session), 1_000)


def test_only_who_has_a_seat_opens_a_session() -> None:
    state = ClusterState()
    configure(state, seats("a", "b"))
    assert isinstance(opened(state, "a"), Done)
    answer = opened(state, "c")
    assert isinstance(answer, Refused)
    assert answer.code is Refusal.REMOVED


def test_a_removed_member_goes_when_its_session_ends_and_not_before() -> None:
    state = ClusterState()
    configure(state, seats("a", "b"))
    opened(state, "a")
    opened(state, "b")
    configure(state, seats("a"))
    assert state.members["b"].open
    assert list(state.removed) == ["b"]
    apply(state, ExpireSession("b", 1), 2_000)
    assert list(state.members) == ["a"]


def test_a_member_that_was_gone_already_goes_at_once() -> None:
    state = ClusterState()
    configure(state, seats("a", "b"))
    opened(state, "b")
    apply(state, ExpireSession("b", 1), 2_000)
    assert "b" in state.members
    configure(state, seats("a"))
    assert "b" not in state.members


def test_the_removed_are_remembered_within_bounds() -> None:
    state = ClusterState()
    for n in range(REMOVED_KEPT + 10):
        configure(state, seats("a", f"n{n}"))
    configure(state, seats("a"))
    assert len(state.removed) == REMOVED_KEPT
    assert f"n{REMOVED_KEPT + 9}" in state.removed


def test_a_recovery_leaps_beyond_every_index_that_the_old_half_can_reach() -> None:
    state = ClusterState()
    configure(state, seats("a", "b", "c"))
    before = apply(state, PutKey("default", "k", b"1"), 1_000)
    configure(state, Configuration(seats("a").seats, recoveries=1))
    after = apply(state, PutKey("default", "k", b"2"), 1_000)
    assert isinstance(before, Done)
    assert before.index < 10
    assert isinstance(after, Done)
    assert after.index > 1 << GENERATION_SHIFT
    assert state.generation == 2
    configure(state, Configuration(seats("a", "d").seats, recoveries=1))
    assert state.generation == 2


def test_the_address_of_a_seat_shows_in_the_members_row() -> None:
    state = ClusterState()
    configure(state, seats("a"))
    opened(state, "a")
    configure(state, Configuration((Seat("a", "a", "a:9"),)))
    assert state.members["a"].info.address == "a:9"


def test_a_recovered_cluster_learns_anew_which_directory_is_whose() -> None:
    state = ClusterState()
    configure(state, seats("a", "b"))
    known = MemberInfo("a", "a", "a:1", "a:2", incarnation="before")
    apply(state, OpenSession(known, 1), 1_000)
    configure(state, replace(seats("a"), recoveries=1))
    assert isinstance(apply(state, OpenSession(replace(known, incarnation="after"), 2), 1_000), Done)
    assert state.members["a"].info.incarnation == "after"
