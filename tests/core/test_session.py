"""Sessions: who may come, and what becomes of the work of who has gone."""

from __future__ import annotations

import pytest

from peercron.core.commands import CancelRun, ExpireSession, OpenSession, PlaceRun
from peercron.core.job import Guarantee, Overlap
from peercron.core.limits import ATTEMPTS_MAX, MEMBERS_MAX
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    complaint,
    done,
    fired,
    info,
    job,
    node_of,
    only_run,
    outcomes,
    put,
    refused,
    started,
)

SLOT = NOW + SECOND


def running(*names: str, guarantee: Guarantee = Guarantee.AT_LEAST_ONCE) -> ClusterState:
    """A cluster of these nodes with one run of one job on one of them."""
    state = cluster(*names)
    put(state, guarantee=guarantee)
    fired(state, SLOT)
    return state


def expire(state: ClusterState, name: str) -> None:
    done(state, ExpireSession(f"id-{name}", state.members[f"id-{name}"].session))


def test_a_session_opens_again_only_with_a_larger_number() -> None:
    state = cluster("a")
    done(state, OpenSession(info("a"), 5))
    assert refused(state, OpenSession(info("a"), 4)) is Refusal.STALE_SESSION
    expire(state, "a")
    assert refused(state, OpenSession(info("a"), 5)) is Refusal.STALE_SESSION
    assert done(state, OpenSession(info("a"), 6)).value == 6


def test_the_same_opening_twice_is_one() -> None:
    state = running("a")
    done(state, OpenSession(info("a"), 1))
    assert attempt_of(only_run(state)).n == 1
    assert refused(state, OpenSession(info("a", dc="fra"), 1)) is Refusal.CONFLICT


def test_a_directory_that_was_wiped_is_not_the_member_that_it_was() -> None:
    state = ClusterState()
    done(state, OpenSession(info("a", incarnation="first"), 1))
    assert refused(state, OpenSession(info("a", incarnation="second"), 2)) is Refusal.WIPED
    assert state.members["id-a"].session == 1
    done(state, OpenSession(info("a", incarnation="first"), 2))


def test_what_was_not_told_before_is_told_once_and_not_forgotten() -> None:
    state = cluster("a")
    done(state, OpenSession(info("a", incarnation="first"), 2))
    done(state, OpenSession(info("a"), 3))
    assert state.members["id-a"].info.incarnation == "first"
    assert done(state, OpenSession(info("a"), 3)).value == 3
    assert refused(state, OpenSession(info("a", incarnation="second"), 4)) is Refusal.WIPED


def test_a_name_belongs_to_one_member() -> None:
    state = cluster("a")
    assert refused(state, OpenSession(info("a", id="other"), 1)) is Refusal.CONFLICT
    done(state, OpenSession(info("a2", id="id-a"), 2))
    done(state, OpenSession(info("a", id="other"), 1))
    assert [member.info.name for member in state.members.values()] == ["a2", "a"]


@pytest.mark.parametrize(
    ("changes", "session", "named"),
    [
        ({"id": ""}, 1, "id"),
        ({"dc": "x" * 600}, 1, "address, http, dc, version, incarnation"),
        ({"tags": (("k", "v" * 200),)}, 1, "tags"),
        ({}, 0, "session"),
    ],
)
def test_what_a_node_says_of_itself_is_bounded(changes: dict[str, object], session: int, named: str) -> None:
    assert complaint(ClusterState(), OpenSession(info("a", **changes), session)) == named


def test_a_member_has_a_name_that_can_travel() -> None:
    assert complaint(ClusterState(), OpenSession(info("a b"), 1)) == "name"


def test_a_cluster_is_full_at_some_point() -> None:
    state = cluster(*[f"n{n}" for n in range(MEMBERS_MAX)])
    assert refused(state, OpenSession(info("late"), 1)) is Refusal.LIMIT


def test_an_expiry_names_the_open_session() -> None:
    state = cluster("a")
    assert refused(state, ExpireSession("id-z", 1)) is Refusal.NOT_FOUND
    assert refused(state, ExpireSession("id-a", 2)) is Refusal.STALE_SESSION
    expire(state, "a")
    assert refused(state, ExpireSession("id-a", 1)) is Refusal.STALE_SESSION


def test_the_run_of_a_lost_node_goes_on_elsewhere_under_a_larger_token() -> None:
    state = running("a", "b")
    first = only_run(state)
    holder = node_of(state, first)
    done(state, started(first))
    expire(state, holder)
    again = only_run(state)
    assert node_of(state, again) == ({"a", "b"} - {holder}).pop()
    assert attempt_of(again).token > attempt_of(first).token
    assert again.attempts[0].state is AttemptState.LOST


def test_a_node_that_comes_back_takes_its_own_run_again_if_there_is_no_other() -> None:
    state = running("a")
    done(state, OpenSession(info("a"), 2))
    run = only_run(state)
    assert (attempt_of(run).n, attempt_of(run).session) == (2, 2)


def test_a_node_that_comes_back_leaves_its_run_to_others() -> None:
    state = running("a", "b")
    holder = node_of(state, only_run(state))
    done(state, OpenSession(info(holder), 2))
    assert node_of(state, only_run(state)) != holder


def test_a_run_waits_when_nobody_is_left() -> None:
    state = running("a")
    expire(state, "a")
    run = only_run(state)
    assert run.state is RunState.QUEUED
    assert run.reason
    assert list(state.unplaced) == [run.id]


def test_what_started_once_is_not_started_again_under_at_most_once() -> None:
    state = running("a", "b", guarantee=Guarantee.AT_MOST_ONCE)
    run = only_run(state)
    done(state, started(run))
    expire(state, node_of(state, run))
    assert outcomes(state) == {SLOT: "lost"}


def test_what_never_started_is_tried_again_under_at_most_once() -> None:
    state = running("a", "b", guarantee=Guarantee.AT_MOST_ONCE)
    run = only_run(state)
    expire(state, node_of(state, run))
    assert attempt_of(only_run(state)).n == 2


def test_an_edit_does_not_change_the_promise_of_a_run_that_has_begun() -> None:
    state = running("a", guarantee=Guarantee.AT_MOST_ONCE)
    done(state, started(only_run(state)))
    put(state, guarantee=Guarantee.AT_LEAST_ONCE)
    expire(state, "a")
    assert outcomes(state) == {SLOT: "lost"}


def test_a_run_that_was_to_be_cancelled_is_not_tried_again() -> None:
    state = running("a", "b")
    done(state, CancelRun(only_run(state).id))
    expire(state, node_of(state, only_run(state)))
    assert outcomes(state) == {SLOT: "cancelled"}


def test_a_run_is_given_up_after_so_many_attempts() -> None:
    state = running("a")
    for session in range(2, ATTEMPTS_MAX + 1):
        done(state, OpenSession(info("a"), session))
        run = only_run(state)
        if run.not_before_ms:
            done(state, PlaceRun(run.id), run.not_before_ms)
    assert attempt_of(only_run(state)).n == ATTEMPTS_MAX
    expire(state, "a")
    assert outcomes(state) == {SLOT: "lost"}


def test_one_expiry_grants_one_run_and_leaves_the_others_waiting_for_grants_of_their_own() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.ALLOW)
    for n in range(1, 4):
        fired(state, NOW + n * SECOND)
    done(state, OpenSession(info("b"), 1))
    expire(state, "a")
    runs = [state.runs[run_id] for run_id in state.live_runs[job(state).uid]]
    assert [run.state for run in runs] == [RunState.RUNNING, RunState.QUEUED, RunState.QUEUED]
    assert list(state.unplaced) == [run.id for run in runs[1:]]
