"""Events from outside, webhooks, queues and probes: what starts a job, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.check import TRIGGER_CHECK, Check, CommandProbe, EndpointProbe, FileProbe
from peercron.core.commands import (
    CallHook,
    DeleteJob,
    EmitEvent,
    ExpireSession,
    OpenSession,
    PauseJob,
    PlaceRun,
    PutItem,
    PutJob,
    ReportHealth,
)
from peercron.core.health import HealthReport
from peercron.core.history import entries_of
from peercron.core.job import ClassTask, HttpTask, Mode, Overlap
from peercron.core.lookout import duties
from peercron.core.member import Configuration, Seat
from peercron.core.occasion import EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    all_runs,
    cluster,
    complaint,
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

DEPLOYED = EventTrigger("default", "deployed")
DOWN = ProbeTrigger(Check(TRIGGER_CHECK, EndpointProbe("db", 5432)), well=False)
FILE = ProbeTrigger(Check(TRIGGER_CHECK, FileProbe("/in"), rise=1, fall=1))


# Events.


def test_an_event_starts_each_job_that_waits_for_it_once() -> None:
    state = cluster("a")
    for name in ("x", "y"):
        put(state, name, trigger=DEPLOYED)
    put(state, "z", trigger=EventTrigger("default", "other"))
    answer = done(state, EmitEvent("default", "deployed", (("tag", "v1"),)))
    assert answer.value == 2
    assert {(run.job_key, run.params, run.cause) for run in all_runs(state)} == {
        (f"default/{name}", (("tag", "v1"),), "event default/deployed") for name in ("x", "y")
    }


def test_an_event_that_nobody_waits_for_is_no_error() -> None:
    assert done(cluster("a"), EmitEvent("default", "deployed")).value == 0
    assert refused(cluster("a"), EmitEvent("default", "no good")) is Refusal.INVALID


def test_an_event_with_params_that_a_job_cannot_have_starts_none() -> None:
    state = cluster("a")
    put(state, "x", trigger=DEPLOYED)
    put(state, "y", trigger=DEPLOYED, task=HttpTask("GET", "http://127.0.0.1/"))
    assert refused(state, EmitEvent("default", "deployed", (("text", "two\nlines"),))) is Refusal.INVALID
    assert not state.runs


def test_a_paused_job_says_that_it_was() -> None:
    state = cluster("a")
    put(state, trigger=DEPLOYED)
    done(state, PauseJob("default/job"))
    done(state, EmitEvent("default", "deployed"))
    (entry,) = entries_of(state, job(state).uid)
    assert (entry.outcome, entry.reason) == (RunState.SKIPPED, "the job was paused; event default/deployed")


def test_a_deleted_or_edited_job_waits_no_more() -> None:
    state = cluster("a")
    put(state, trigger=DEPLOYED)
    put(state)
    assert state.listening == {}
    put(state, trigger=DEPLOYED)
    done(state, DeleteJob("default/job"))
    assert state.listening == {}


# Webhooks.


def test_a_call_of_a_webhook_is_a_run_with_its_params() -> None:
    state = cluster("a")
    put(state, trigger=HookTrigger(), overlap=Overlap.ALLOW)
    for day in ("mon", "tue"):
        run_id = done(state, CallHook("default/job", (("day", day),))).value
        assert state.runs[str(run_id)].params == (("day", day),)
    assert len(state.runs) == 2


def test_who_has_no_webhook_cannot_be_called() -> None:
    state = cluster("a")
    put(state)
    assert refused(state, CallHook("default/job")) is Refusal.CONFLICT
    assert refused(state, CallHook("default/nobody")) is Refusal.NOT_FOUND
    put(state, trigger=HookTrigger())
    assert refused(state, CallHook("default/job", (("no good", ""),))) is Refusal.INVALID


# Queues.


def test_what_is_put_into_a_queue_starts_the_job_with_a_grant_of_its_own() -> None:
    state = cluster("a")
    planner = Planner(state)
    put(state, trigger=QueueTrigger("default", "mail"))
    done(state, PutItem("default", "mail", b"x"))
    run = only_run(state)
    assert (run.cause, run.state) == ("queue default/mail", RunState.QUEUED)
    done(state, PutItem("default", "other", b"x"))
    assert len(state.runs) == 1
    for command in planner.plan(NOW):
        apply(state, command, NOW)
    assert only_run(state).state is RunState.RUNNING


# Probes.


def tell(state: ClusterState, name: str, *, well: bool, session: int = 1) -> None:
    report = HealthReport(job(state).uid, TRIGGER_CHECK, f"id-{name}", well)
    done(state, ReportHealth(f"id-{name}", session, (report,)))


def probed(trigger: ProbeTrigger, *names: str, **changes: Any) -> ClusterState:
    state = cluster(*names)
    put(state, trigger=trigger, overlap=Overlap.ALLOW, **changes)
    return state


def test_an_outage_that_all_see_is_one_event() -> None:
    state = probed(DOWN, "a", "b", "c")
    for name in "abc":
        tell(state, name, well=True)
    tell(state, "a", well=False)
    assert not state.runs  # one of three
    tell(state, "b", well=False)
    tell(state, "c", well=False)
    assert [run.cause for run in all_runs(state)] == ["probe: became bad"]
    for name in "abc":
        tell(state, name, well=True)
    for name in "cab":
        tell(state, name, well=False)
    assert len(all_runs(state)) == 2


def test_the_first_word_is_no_edge() -> None:
    state = probed(DOWN, "a")
    tell(state, "a", well=False)
    assert not state.runs
    put(state, trigger=ProbeTrigger(DOWN.check), overlap=Overlap.ALLOW)
    tell(state, "a", well=False)
    tell(state, "a", well=True)
    assert [run.cause for run in all_runs(state)] == ["probe: became good"]


def test_members_that_come_and_go_make_no_edge() -> None:
    state = probed(DOWN, "a", "b", "c")
    for name in "abc":
        tell(state, name, well=False)
    done(state, ExpireSession("id-a", 1))
    tell(state, "b", well=True)
    done(state, OpenSession(info("a"), 2))
    tell(state, "a", well=False, session=2)
    assert state.edges == {job(state).uid: {"": 0}}
    assert not state.runs


def test_a_change_while_nobody_looked_is_an_edge_when_somebody_looks_again() -> None:
    state = probed(FILE, "a")
    tell(state, "a", well=False)
    done(state, OpenSession(info("a"), 2))
    tell(state, "a", well=True, session=2)
    assert [run.cause for run in all_runs(state)] == ["file /in appeared on a"]
    done(state, OpenSession(info("a"), 3))
    tell(state, "a", well=True, session=3)
    assert len(all_runs(state)) == 1


def test_a_file_is_each_nodes_own() -> None:
    state = probed(FILE, "a", "b")
    for name in "ab":
        tell(state, name, well=False)
    for name in "ab":
        tell(state, name, well=True)
    assert [run.params for run in all_runs(state)] == [(("path", "/in"), ("node", name)) for name in "ab"]


def test_the_run_for_a_file_goes_to_the_node_that_saw_it_and_waits_for_that_one() -> None:
    state = probed(FILE, "a", "b", "c")
    tell(state, "b", well=False)
    tell(state, "b", well=True)
    (run,) = all_runs(state)
    assert node_of(state, run) == "b"
    done(state, ExpireSession("id-b", 1))
    run = state.runs[run.id]
    assert (run.state, run.reason) == (RunState.QUEUED, "waits for b, where it belongs (its session has ended)")
    planner = Planner(state)
    assert not [each for each in planner.plan(NOW) if isinstance(each, PlaceRun)]
    done(state, OpenSession(info("b"), 2))
    assert PlaceRun(run.id) in planner.plan(NOW)
    done(state, PlaceRun(run.id))
    assert node_of(state, state.runs[run.id]) == "b"


def test_the_run_for_a_file_of_a_node_that_was_removed_goes_anywhere() -> None:
    state = probed(FILE, "a", "b")
    configure(state, Configuration(tuple([Seat(f"id-{name}", name, f"{name}:7400") for name in "ab"])))
    tell(state, "b", well=False)
    tell(state, "b", well=True)
    (run,) = all_runs(state)
    done(state, ExpireSession("id-b", 1))
    configure(state, Configuration((Seat("id-a", "a", "a:7400"),)))
    done(state, PlaceRun(run.id))
    assert node_of(state, state.runs[run.id]) == "a"


def test_where_the_mode_says_which_node_works_a_file_does_not() -> None:
    state = probed(FILE, "a", "b", mode=Mode.STANDBY)
    tell(state, "b", well=False)
    tell(state, "b", well=True)
    (run,) = all_runs(state)
    assert node_of(state, run) == "a"
    assert dict(run.params)["node"] == "b"


def test_a_class_that_the_node_of_a_file_does_not_have_is_asked_of_nobody_else() -> None:
    state = probed(FILE, "a", "b", task=ClassTask("acme:Take"))
    tell(state, "b", well=False)
    tell(state, "b", well=True)
    (run,) = all_runs(state)
    done(state, finished(run, AttemptState.REFUSED, reason="not here"))
    ended = all_runs(state)[0]
    assert (ended.state, ended.reason) == (RunState.FAILED, "no node has acme:Take (b: not here)")


def test_what_a_trigger_probes_makes_no_node_unfit() -> None:
    state = probed(DOWN, "a")
    tell(state, "a", well=True)
    tell(state, "a", well=False)
    assert all_runs(state)[0].state is RunState.RUNNING


def test_each_node_that_may_run_the_job_looks() -> None:
    state = cluster("a", "b")
    put(state, trigger=DOWN, nodes=("a",))
    assert [(duty.check, duty.subject) for duty in duties(state, "id-a")] == [(DOWN.check, "id-a")]
    assert duties(state, "id-b") == []


def test_an_edit_forgets_what_the_old_probe_said() -> None:
    state = probed(FILE, "a")
    tell(state, "a", well=False)
    put(state, trigger=ProbeTrigger(Check(TRIGGER_CHECK, FileProbe("/other"))))
    assert state.edges == {}
    tell(state, "a", well=True)
    assert not state.runs


@pytest.mark.parametrize(
    "trigger",
    [
        ProbeTrigger(Check("mine", FileProbe("/in"))),
        ProbeTrigger(Check(TRIGGER_CHECK, CommandProbe(("true",)))),
        ProbeTrigger(Check(TRIGGER_CHECK, EndpointProbe("", 1))),
    ],
)
def test_a_trigger_that_cannot_be_probed_is_refused(trigger: ProbeTrigger) -> None:
    assert complaint(cluster("a"), PutJob(definition(trigger=trigger))) == "on"
