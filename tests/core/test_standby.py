"""Mode standby: the first of its nodes that is well; back to an earlier one after a time of unbroken health."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.commands import DeleteJob, DrainMember, ExpireSession, FailBack, OpenSession, PutJob, RunJob
from peercron.core.job import Failback, Mode
from peercron.core.limits import FLAP_FORGOTTEN_MS
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    definition,
    done,
    finished,
    info,
    job,
    node_of,
    only_run,
    put,
    refused,
)


def standby(*nodes: str, **changes: Any) -> ClusterState:
    state = cluster("b", "a", "c")
    put(state, mode=Mode.STANDBY, nodes=nodes or ("a", "b", "c"), **changes)
    return state


def taker(state: ClusterState, now_ms: int = NOW) -> str:
    """Who has the next run."""
    return told(state, now_ms)[0]


def told(state: ClusterState, now_ms: int = NOW) -> tuple[str, str]:
    """Who has the next run, and why."""
    done(state, RunJob("default/job"), now_ms)
    run = only_run(state)
    answer = node_of(state, run), attempt_of(run).why
    done(state, finished(run), now_ms)
    return answer


def die(state: ClusterState, name: str, now_ms: int = NOW) -> None:
    done(state, ExpireSession(f"id-{name}", state.members[f"id-{name}"].session), now_ms)


def come(state: ClusterState, name: str, now_ms: int = NOW) -> None:
    done(state, OpenSession(info(name), state.members[f"id-{name}"].session + 1), now_ms)


def test_the_first_in_order_works_and_the_next_takes_over_when_it_dies() -> None:
    state = standby()
    assert told(state) == ("a", "the first that is well of a, b, c")
    die(state, "a")
    assert told(state) == ("b", "takes over from a, which cannot run it now")
    die(state, "b")
    assert taker(state) == "c"


def test_a_run_under_way_when_the_primary_dies_goes_on_at_the_standby() -> None:
    state = standby()
    done(state, RunJob("default/job"))
    die(state, "a")
    assert node_of(state, only_run(state)) == "b"


def test_it_goes_back_after_unbroken_health_and_not_before() -> None:
    state = standby()
    die(state, "a")
    assert taker(state) == "b"
    come(state, "a", NOW + SECOND)
    assert told(state, NOW + 31 * SECOND) == ("b", "stands in for a, well for 30 s of 60 s")
    assert told(state, NOW + 61 * SECOND) == ("a", "back from b: well for 60 s")
    assert taker(state, NOW + 62 * SECOND) == "a"


def test_a_run_that_is_alive_stays_where_it_is() -> None:
    state = standby()
    die(state, "a")
    done(state, RunJob("default/job"))
    come(state, "a")
    done(state, DrainMember("id-c"), NOW + 3_600 * SECOND)
    assert node_of(state, only_run(state)) == "b"


def test_a_primary_that_flaps_moves_nothing() -> None:
    state = standby(failback_after_ms=10 * SECOND)
    die(state, "a")
    assert taker(state) == "b"
    now = NOW
    for _ in range(200):
        come(state, "a", now := now + 1_500)
        assert taker(state, now) == "b"
        die(state, "a", now := now + 1_500)
        assert taker(state, now) == "b"
    assert state.wellness["id-a"].falls == 201


def test_who_fell_often_must_be_well_for_longer() -> None:
    state = standby(failback_after_ms=10 * SECOND)
    for _ in range(3):
        die(state, "a")
        taker(state)
        come(state, "a")
    assert told(state, NOW + 39 * SECOND)[1] == "stands in for a, well for 39 s of 40 s after 3 falls"
    assert taker(state, NOW + 40 * SECOND) == "a"
    # What is long ago is forgotten.
    now = NOW + 40 * SECOND + FLAP_FORGOTTEN_MS
    die(state, "a", now)
    assert taker(state, now) == "b"
    come(state, "a", now)
    assert taker(state, now + 9 * SECOND) == "b"
    assert taker(state, now + 10 * SECOND) == "a"


def test_a_restart_that_nobody_saw_end_breaks_its_health_too() -> None:
    state = standby()
    die(state, "a")
    taker(state)
    come(state, "a")
    come(state, "a", NOW + 59 * SECOND)  # without its session having been expired
    assert taker(state, NOW + 61 * SECOND) == "b"
    assert state.wellness["id-a"].falls == 2


def test_a_node_that_is_given_work_again_must_be_well_for_the_time_and_did_not_fall() -> None:
    state = standby()
    done(state, DrainMember("id-a"))
    assert taker(state) == "b"
    done(state, DrainMember("id-a", drained=False), NOW + SECOND)
    assert taker(state, NOW + 60 * SECOND) == "b"
    assert taker(state, NOW + 61 * SECOND) == "a"
    assert state.wellness["id-a"].falls == 0


@pytest.mark.parametrize("failback", [Failback.MANUAL, Failback.NEVER])
def test_it_stays_where_it_is_until_somebody_says_so(failback: Failback) -> None:
    state = standby(failback=failback)
    die(state, "a")
    taker(state)
    come(state, "a")
    assert told(state, NOW + 3_600 * SECOND) == ("b", f"stands in for a (failback {failback.value})")
    if failback is Failback.NEVER:
        assert refused(state, FailBack("default/job")) is Refusal.CONFLICT
    else:
        assert done(state, FailBack("default/job")).value == "a"
        assert taker(state) == "a"
    die(state, "b")
    assert taker(state) == "a"


def test_an_operator_need_not_wait() -> None:
    state = standby()
    die(state, "a")
    taker(state)
    come(state, "a")
    assert done(state, FailBack("default/job")).value == "a"
    assert taker(state) == "a"
    assert refused(state, FailBack("default/job")) is Refusal.CONFLICT  # it is there


def test_failback_is_refused_where_it_means_nothing() -> None:
    state = standby()
    put(state, "other")
    assert refused(state, FailBack("default/other")) is Refusal.INVALID
    assert refused(state, FailBack("default/nobody")) is Refusal.NOT_FOUND
    for name in ("a", "b", "c"):
        die(state, name)
    assert refused(state, FailBack("default/job")) is Refusal.NOT_READY


def test_who_lost_a_run_without_falling_keeps_the_job_and_not_that_run() -> None:
    state = standby()
    done(state, RunJob("default/job"))
    done(state, finished(only_run(state), AttemptState.LOST))
    assert node_of(state, only_run(state)) == "b"
    done(state, finished(only_run(state)))
    assert taker(state) == "a"


def test_without_nodes_the_order_is_the_rosters() -> None:
    state = standby()
    put(state, mode=Mode.STANDBY, nodes=())
    assert taker(state) == "b"  # the first that came


def test_the_incumbent_goes_with_the_job_and_with_the_mode() -> None:
    state = standby()
    taker(state)
    assert state.incumbents[job(state).uid].member == "id-a"
    done(state, PutJob(definition()))
    assert state.incumbents == {}
    put(state, mode=Mode.STANDBY)
    taker(state)
    done(state, DeleteJob("default/job"))
    assert state.incumbents == {}
