"""Members by an operator's word: invited before they come, drained before they go."""

from __future__ import annotations

import pytest

from peercron.core.apply.configuration import configure
from peercron.core.commands import DrainMember, Invite, OpenSession, Uninvite
from peercron.core.limits import MEMBERS_MAX
from peercron.core.member import Configuration, Invitation, Role, Seat
from peercron.core.placement import eligible
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import NOW, SECOND, cluster, complaint, definition, done, fired, info, only_run, put, refused


def seated(*names: str) -> ClusterState:
    """A cluster of these members, with their seats."""
    state = cluster(*names)
    configure(state, Configuration(tuple(Seat(f"id-{name}", name, f"{name}:7400") for name in names)))
    return state


def test_an_invitation_waits_for_whoever_comes_to_that_address() -> None:
    state = seated("a")
    done(state, Invite("b:7400", Role.WITNESS, "b"))
    assert state.invitations == {"b:7400": Invitation("b:7400", Role.WITNESS, "b", NOW)}
    configure(state, Configuration((*state.seats.values(), Seat("x", "b", "b:7400", Role.LEARNER, Role.WITNESS))))
    assert not state.invitations


def test_the_last_invitation_to_an_address_counts() -> None:
    state = seated("a")
    done(state, Invite("b:7400"))
    done(state, Invite("b:7400"), NOW + SECOND)
    assert state.invitations["b:7400"].invited_ms == NOW
    done(state, Invite("b:7400", Role.WITNESS), NOW + SECOND)
    assert state.invitations["b:7400"] == Invitation("b:7400", Role.WITNESS, "", NOW + SECOND)


def test_an_invitation_can_be_taken_back_once() -> None:
    state = seated("a")
    done(state, Invite("b:7400"))
    done(state, Uninvite("b:7400"))
    assert refused(state, Uninvite("b:7400")) is Refusal.NOT_FOUND


@pytest.mark.parametrize("command", [Invite("a:7400"), Invite("c:7400", name="a"), Invite("c:7400", name="b")], ids=str)
def test_names_and_addresses_are_one_members(command: Invite) -> None:
    state = seated("a")
    done(state, Invite("b:7400", name="b"))
    assert refused(state, command) is Refusal.CONFLICT
    assert list(state.invitations) == ["b:7400"]


@pytest.mark.parametrize(
    ("command", "named"),
    [(Invite(""), "address"), (Invite("c:1", Role.LEARNER), "role"), (Invite("c:1", name="a b"), "name")],
)
def test_an_invitation_is_checked(command: Invite, named: str) -> None:
    assert complaint(seated("a"), command) == named


def test_no_more_are_invited_than_there_is_room_for() -> None:
    state = seated("a")
    for n in range(1, MEMBERS_MAX):
        done(state, Invite(f"n{n}:1"))
    assert refused(state, Invite("late:1")) is Refusal.LIMIT
    done(state, Invite("n1:1", Role.WITNESS))


def test_a_drained_member_is_given_nothing_more_and_keeps_what_it_has() -> None:
    state = seated("a")
    put(state)
    fired(state, NOW + SECOND)
    run = only_run(state)
    done(state, DrainMember("id-a"))
    assert only_run(state) == run
    assert eligible(state, definition()) == []
    before = state.roster_revision
    done(state, DrainMember("id-a", drained=False))
    assert [member.info.name for member in eligible(state, definition())] == ["a"]
    assert state.roster_revision > before, "whoever waits for a node is looked at again"


def test_a_drain_outlives_the_session_and_goes_with_the_seat() -> None:
    state = seated("a", "b")
    done(state, DrainMember("id-b"))
    done(state, OpenSession(info("b"), 2))
    assert [member.info.name for member in eligible(state, definition())] == ["a"]
    before = state.drained["id-b"]
    done(state, DrainMember("id-b"))
    assert state.drained["id-b"] == before
    configure(state, Configuration((Seat("id-a", "a", "a:7400"),)))
    assert not state.drained


def test_only_a_member_can_be_drained() -> None:
    assert refused(seated("a"), DrainMember("id-z")) is Refusal.NOT_FOUND
