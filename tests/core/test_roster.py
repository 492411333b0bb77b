"""The order of a job's nodes, and whose slot is whose."""

from __future__ import annotations

import pytest

from peercron.core.apply.configuration import configure
from peercron.core.job import Mode, OnAbsent
from peercron.core.member import Configuration, Role, Seat
from peercron.core.roster import owner, roster, voters
from peercron.core.state import ClusterState
from tests.core.builders import cluster, definition, job, put

TEN = 10_000


def seated(*names: str, **roles: Role) -> ClusterState:
    """A cluster that was told who belongs to it, in this order."""
    state = cluster(*names, *roles)
    seats = [Seat(f"id-{name}", name, f"{name}:7400", roles.get(name, Role.VOTER)) for name in (*names, *roles)]
    configure(state, Configuration(tuple(reversed(seats))))
    return state


def test_without_nodes_the_voters_that_run_something_are_it_in_the_order_of_the_configuration() -> None:
    state = seated("a", "b", w=Role.WITNESS, n=Role.LEARNER)
    assert roster(state, definition()) == voters(state) == ("b", "a")


def test_before_anybody_told_of_seats_it_is_the_order_of_arrival() -> None:
    assert roster(cluster("b", "a"), definition()) == ("b", "a")


def test_nodes_of_the_job_come_as_it_names_them_be_they_there_or_not() -> None:
    assert roster(seated("a", "b"), definition(nodes=("z", "a"))) == ("z", "a")


@pytest.mark.parametrize("on_absent", OnAbsent)
def test_slots_of_slices_belong_to_the_nodes_in_turn(on_absent: OnAbsent) -> None:
    state = seated("a", "b")
    put(state, mode=Mode.SLICE, slice_ms=TEN, on_absent=on_absent, nodes=("a", "b"))
    first = (state.now_ms // (2 * TEN) + 1) * 2 * TEN
    assert [owner(state, job(state), first + n * TEN) for n in range(4)] == ["a", "b", "a", "b"]


def test_a_slot_of_another_mode_is_nobodys() -> None:
    state = seated("a")
    put(state)
    assert owner(state, job(state), TEN) == ""


def test_a_slot_before_the_jobs_time_is_nobodys() -> None:
    state = seated("a")
    put(state, mode=Mode.SLICE, slice_ms=TEN)
    assert owner(state, job(state), 0) == ""


def test_with_nobody_there_a_slot_is_nobodys() -> None:
    state = cluster("a")
    put(state, mode=Mode.SLICE, slice_ms=TEN, on_absent=OnAbsent.FILL)
    state.members.clear()
    assert owner(state, job(state), TEN) == ""
