"""Explain: each thing that may hold a job up is told."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.commands import DrainMember, PauseCluster, PauseJob, RunJob, SetPool
from peercron.core.explain import explain
from peercron.core.job import EveryTrigger, ManualTrigger, Mode, Overlap, Trigger
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, QueueTrigger
from peercron.core.pace import Concurrency
from peercron.core.state import ClusterState
from tests.core.builders import NOW, SECOND, cluster, done, finished, fired, job, only_run, put


def why(state: ClusterState, name: str = "job") -> str:
    return "\n".join(explain(state, job(state, name))["why"])


def site(**changes: Any) -> ClusterState:
    state = cluster("a")
    put(state, **changes)
    return state


def test_a_run_and_the_next_slot() -> None:
    state = site()
    assert why(state) == "its next slot is not computed yet: the leader does that"
    fired(state, NOW + SECOND)
    told = explain(state, job(state))
    assert told["why"] == [
        f"run {only_run(state).id} is running on a since 1970-01-01T00:16:41.000Z",
        "its next slot is 1970-01-01T00:16:42.000Z",
    ]
    assert told["nodes"] == [{"node": "a", "may_run": True, "why": ""}]
    done(state, finished(only_run(state), reason=""))
    assert "its last slot, 1970-01-01T00:16:41.000Z, succeeded" in why(state)


def test_pauses() -> None:
    state = site()
    done(state, PauseJob("default/job"))
    done(state, PauseCluster())
    assert "the cluster is paused" in why(state)
    assert "until `peercron job resume job`" in why(state)


def test_a_node_that_may_not_run_it() -> None:
    state = site()
    done(state, DrainMember("id-a"))
    assert "no node may run it: a: it is drained" in why(state)


def test_a_pool_and_a_run_that_waits_for_it() -> None:
    state = site(pool="db", overlap=Overlap.ALLOW, trigger=ManualTrigger())
    assert "`peercron pool set db SIZE` makes it" in why(state)
    done(state, SetPool("db", 0))
    run_id = done(state, RunJob("default/job")).value
    assert f"run {run_id} waits: pool db is full: 0 of 0 run" in why(state)
    assert "pool db: 0 of 0 run, 1 wait" in why(state)
    assert "it has no schedule" in why(state)


def test_what_it_waits_to_hear() -> None:
    state = cluster("a")
    for name in "xy":
        put(state, name, trigger=ManualTrigger())
    put(state, trigger=ManualTrigger(), after=("default/x", "default/y"))
    done(state, RunJob("default/x"))
    done(state, finished(only_run(state, "x")))
    assert why(state) == "it runs after default/y; default/x succeeded already"
    assert explain(state, job(state))["heard"] == {"default/x": "succeeded"}


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (ConditionTrigger('state("stock") < 10'), 'each time this comes true: state("stock") < 10'),
        (HookTrigger(), "at each POST /v1/hooks/job"),
        (EventTrigger("default", "restocked"), "at each event default/restocked"),
        (QueueTrigger("default", "mail"), "whenever something is put into queue default/mail"),
    ],
)
def test_what_starts_it_where_no_schedule_does(trigger: Trigger, said: str) -> None:
    assert f"it runs {said}" in why(site(trigger=trigger))


def test_the_slots_of_slices_are_nobodys_to_compute() -> None:
    assert "belong to the nodes in turn: `peercron job next job`" in why(site(mode=Mode.SLICE, slice_ms=5 * SECOND))


def test_slots_that_the_guard_band_takes_are_told() -> None:
    told = why(site(mode=Mode.SLICE, slice_ms=5 * SECOND, trigger=EveryTrigger(2 * SECOND)))
    # 0, 2 and 6 s into two slices of 5 s leave room; 4 and 8 s do not.
    assert (
        "of its next 20 slots 8 will be missed: of the first, 1000 ms are left of its slice then; the last 2500" in told
    )
    assert "missed" not in why(site(mode=Mode.SLICE, slice_ms=5 * SECOND, trigger=EveryTrigger(5 * SECOND)))


def test_the_items_of_a_queue() -> None:
    assert "it runs for each item of queue default/mail" in why(
        site(trigger=ManualTrigger(), queue="default/mail", concurrency=Concurrency(per_node=1))
    )
