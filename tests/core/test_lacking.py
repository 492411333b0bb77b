"""A job class that a node does not have goes to another node; one that nobody has costs each node one question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.apply.configuration import configure
from peercron.core.commands import CancelRun, DrainMember, ExpireSession, OpenSession, PlaceRun, RunJob
from peercron.core.explain import explain
from peercron.core.job import ClassTask, CommandTask, Guarantee, ManualTrigger, Mode
from peercron.core.limits import ATTEMPTS_MAX, LACKING_KEPT
from peercron.core.member import Configuration, Seat
from peercron.core.placement.lacking import told
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import NOW, cluster, done, finished, info, job, node_of, put, refused, run_row
from tests.core.test_contend import ask
from tests.core.test_parallel import grant, shard

REPORT = ClassTask("acme.jobs:Report")
REFUSED = AttemptState.REFUSED


def asked(*nodes: str, **changes: Any) -> tuple[ClusterState, str]:
    """A run of a job class in a cluster of these nodes."""
    state = cluster(*(nodes or "abc"))
    put(state, **{"task": REPORT} | changes)
    return state, again(state)


def again(state: ClusterState) -> str:
    return str(done(state, RunJob("default/job")).value)


def refuse(state: ClusterState, run_id: str, reason: str = "this node has no Python module acme") -> str:
    """Who has the attempt does not have the class; its name."""
    run = state.runs[run_id]
    name = node_of(state, run)
    done(state, finished(run, REFUSED, reason=reason, exit_code=1))
    return name


def refuse_all(state: ClusterState, run_id: str) -> list[str]:
    """Everybody who is given the run refuses it; in which order."""
    names = []
    while (run := state.runs.get(run_id)) is not None and run.live_attempt is not None:
        names.append(refuse(state, run_id))
    return names


def test_a_class_that_nobody_has_costs_each_node_one_attempt_and_says_who_does_not_have_it() -> None:
    state, run_id = asked()
    assert sorted(refuse_all(state, run_id)) == ["a", "b", "c"]
    run = run_row(state, run_id)
    assert (run.state, len(run.attempts)) == (RunState.FAILED, 3)
    assert run.reason.startswith("no node has acme.jobs:Report (")
    assert run.reason.count("this node has no Python module acme") == 3


def test_the_next_run_goes_to_who_has_not_refused() -> None:
    state, run_id = asked()
    first, second = refuse(state, run_id), refuse(state, run_id)
    third = node_of(state, state.runs[run_id])
    done(state, finished(state.runs[run_id]))
    for _ in range(5):
        run_id = again(state)
        assert node_of(state, state.runs[run_id]) == third not in (first, second)
        done(state, finished(state.runs[run_id]))


def test_who_refused_is_asked_by_the_next_run_if_there_is_nobody_else() -> None:
    state, run_id = asked("a", "b")
    refuse_all(state, run_id)
    run_id = again(state)
    assert len(refuse_all(state, run_id)) == 2
    run_id = again(state)
    done(state, finished(state.runs[run_id]))  # it was installed meanwhile
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_a_node_that_came_anew_may_have_other_modules() -> None:
    state, run_id = asked("a")
    refuse(state, run_id)
    assert state.lacking == {"id-a": ("acme.jobs:Report",)}
    done(state, OpenSession(info("a"), 2))
    assert state.lacking == {}


@pytest.mark.parametrize("gone", ["expired", "drained"])
def test_who_is_away_may_have_it_so_the_run_waits_and_goes_there_when_it_is_back(gone: str) -> None:
    state = cluster("a", "b")
    put(state, task=REPORT, trigger=ManualTrigger())
    done(state, ExpireSession("id-b", 1) if gone == "expired" else DrainMember("id-b"))
    run_id = again(state)
    refuse(state, run_id)
    run = state.runs[run_id]
    assert (run.state, run.reason) == (RunState.QUEUED, "no node that may run it is there and has acme.jobs:Report")
    assert refused(state, PlaceRun(run_id)) is Refusal.NOT_READY
    planner = Planner(state)
    assert placements(planner) == []  # and the log stays quiet
    done(state, OpenSession(info("b"), 2) if gone == "expired" else DrainMember("id-b", False))
    assert placements(planner) == [PlaceRun(run_id)]
    done(state, PlaceRun(run_id))
    assert node_of(state, state.runs[run_id]) == "b"


def test_a_run_ends_when_the_last_that_might_have_it_is_removed() -> None:
    state = cluster("a", "b")
    configure(state, seats("a", "b"))
    put(state, task=REPORT, trigger=ManualTrigger())
    done(state, ExpireSession("id-b", 1))
    run_id = again(state)
    refuse(state, run_id)
    planner = Planner(state)
    assert placements(planner) == []
    configure(state, seats("a"))
    assert placements(planner) == [PlaceRun(run_id)]
    done(state, PlaceRun(run_id))
    assert run_row(state, run_id).state is RunState.FAILED


def placements(planner: Planner) -> list[PlaceRun]:
    return [command for command in planner.plan(NOW) if isinstance(command, PlaceRun)]


def seats(*names: str) -> Configuration:
    return Configuration(tuple([Seat(f"id-{name}", name, f"{name}:7400") for name in names]))


def test_only_those_that_the_job_means_are_asked() -> None:
    state, run_id = asked(nodes=("a", "c"))
    assert sorted(refuse_all(state, run_id)) == ["a", "c"]
    assert run_row(state, run_id).state is RunState.FAILED


def test_a_refusal_is_no_start_and_no_failure() -> None:
    state, run_id = asked(guarantee=Guarantee.AT_MOST_ONCE)
    refuse(state, run_id)
    assert state.runs[run_id].live_attempt is not None
    assert state.runs[run_id].not_before_ms == 0


def test_a_run_that_shall_end_is_not_passed_on() -> None:
    state, run_id = asked()
    done(state, CancelRun(run_id))
    refuse(state, run_id)
    assert run_row(state, run_id).state is RunState.CANCELLED


def test_a_large_cluster_is_not_asked_without_end() -> None:
    state, run_id = asked(*[f"n{n}" for n in range(ATTEMPTS_MAX + 4)])
    assert len(refuse_all(state, run_id)) == ATTEMPTS_MAX
    run = run_row(state, run_id)
    assert run.state is RunState.FAILED
    assert "the last one" in run.reason


def test_a_refused_command_is_noted_of_no_class() -> None:
    """A node refuses job classes only; what a later one may refuse besides must not be called a class."""
    state, run_id = asked("a", task=CommandTask(("true",)))
    refuse(state, run_id, "not here")
    assert state.lacking == {}
    assert run_row(state, run_id).reason == "no node has what it runs (a: not here)"


def test_shards_go_to_those_who_have_it_once_it_is_known() -> None:
    state, run_id = asked("a", "b", mode=Mode.PARALLEL)
    grant(state)
    done(state, finished(shard(state, "a"), REFUSED, reason="none here"))
    done(state, finished(shard(state, "b")))
    assert run_row(state, run_id).state is RunState.LOST
    run_id = again(state)
    grant(state)
    assert state.runs[run_id].shards == 1
    done(state, finished(shard(state, "b")))
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_contenders_without_the_class_are_not_asked_again() -> None:
    state, run_id = asked("a", "b", mode=Mode.CONTEND)
    ask(state, run_id, "a", "b")
    for name in "ab":
        done(state, finished(shard(state, name), REFUSED, reason="none here"))
        grant(state)
    run = run_row(state, run_id)
    assert (run.state, run.shards, run.reason) == (RunState.LOST, 2, "none here")


def test_explain_names_who_does_not_have_it() -> None:
    state, run_id = asked("a", "b")
    refuse(state, run_id)
    why = explain(state, job(state))["why"]
    assert any("acme.jobs:Report" in line and "is not on" in line for line in why), why


@given(st.lists(st.integers(0, 2 * LACKING_KEPT), max_size=3 * LACKING_KEPT))
def test_what_a_node_lacks_is_bounded_and_named_once(numbers: list[int]) -> None:
    said: tuple[str, ...] = ()
    for number in numbers:
        said = told(said, f"m:C{number}")
        assert said[-1] == f"m:C{number}"
    assert len(said) == len(set(said)) <= LACKING_KEPT
    newest = list(dict.fromkeys(f"m:C{number}" for number in reversed(numbers)))
    assert list(said[::-1]) == newest[:LACKING_KEPT]
