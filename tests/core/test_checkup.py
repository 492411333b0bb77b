"""Each check finds what it is for, and is quiet where all is well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from peercron.core.check import Check, CommandProbe
from peercron.core.checkup import jobs, members, traffic
from peercron.core.checkup.finding import Finding, Severity
from peercron.core.checkup.jobs import (
    ENTRIES_LOOKED_AT,
    FAILURES_IN_ROW,
    LATELY_MS,
    PAUSED_LONG_MS,
    UNSTARTED_IN_ROW,
    WAITS_LONG_MS,
)
from peercron.core.checkup.members import BEHIND_MAX, DEAD_MS, INVITED_LONG_MS
from peercron.core.checkup.traffic import HELD_LONG_MS, HELD_WANTED_MS, ITEM_OLD_MS, LINE_LONG
from peercron.core.commands import (
    AcquireLock,
    Backfill,
    DrainMember,
    ExpireSession,
    Invite,
    NackItems,
    PauseCluster,
    PauseJob,
    PutItem,
    PutQueue,
    ReceiveItems,
    RecordSlices,
    ReportHealth,
    ResumeJob,
    RunJob,
)
from peercron.core.health import HealthReport
from peercron.core.job import Mode, Overlap
from peercron.core.level import LEVEL
from peercron.core.lock import Claim
from peercron.core.member import Role
from peercron.core.pace import Concurrency
from peercron.core.run import AttemptState, RunState
from peercron.core.slices import SliceEntry
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import HOUR, NOW, SECOND, cluster, done, finished, fired, job, only_run, outcomes, put, refused

WELL: dict[str, Any] = {"role": "voter", "state": "follower", "behind": 0, "version": "1", "drained": False}


def found(findings: Iterable[Finding]) -> dict[str, Severity]:
    return {finding.check: finding.severity for finding in findings}


def of_job(state: ClusterState, now_ms: int = NOW, name: str = "job") -> dict[str, Severity]:
    return found(jobs.of_job(state, job(state, name), now_ms))


def status(**changes: Any) -> dict[str, Any]:
    rows = [{**WELL, "name": name} for name in ("a", "b", "c")]
    head = {"leader": "a", "voters": 3, "quorum": 2, "survives": 1, "notes": []}
    return {**head, "members": rows, **changes}


def test_every_finding_says_what_to_do() -> None:
    state = cluster("n1")
    put(state, nodes=("x",))
    (finding,) = jobs.of_job(state, job(state), NOW)
    assert finding.view == {
        "severity": "warning",
        "check": "job_nowhere",
        "where": "job default/job",
        "what": "nodes x: that is no node of this cluster, so it never runs",
        "advice": "peercron job explain job; then give it other nodes, or add the missing one",
    }


# Jobs.


def test_a_job_that_is_well_has_no_findings() -> None:
    state = cluster("n1")
    put(state)
    for n in range(5):
        fired(state, NOW + n * SECOND + SECOND)
        done(state, finished(only_run(state)))
    assert of_job(state, NOW + 10 * SECOND) == {}


@pytest.mark.parametrize("changes", [{"nodes": ("x", "y")}, {"where": 'dc == "moon"'}])
def test_a_job_for_nobody_is_found(changes: dict[str, Any]) -> None:
    state = cluster("n1")
    put(state, **changes)
    assert of_job(state) == {"job_nowhere": Severity.WARNING}


def test_a_job_that_names_somebody_who_is_there_but_down_or_drained_is_meant_for_him() -> None:
    state = cluster("n1", "n2")
    put(state, nodes=("n1",))
    done(state, ExpireSession("id-n1", 1))
    done(state, DrainMember("id-n1", drained=True))
    assert of_job(state) == {}


def test_a_job_that_names_a_stranger_among_others_is_noted() -> None:
    state = cluster("n1")
    put(state, nodes=("n1", "x"))
    assert of_job(state) == {"job_names_stranger": Severity.NOTE}


def test_a_job_is_noted_that_was_paused_long_ago() -> None:
    state = cluster("n1")
    put(state)
    done(state, PauseJob("default/job"))
    assert of_job(state, NOW + PAUSED_LONG_MS - 1) == {}
    assert of_job(state, NOW + PAUSED_LONG_MS) == {"job_paused": Severity.NOTE}


def _run(state: ClusterState, n: int, outcome: AttemptState) -> None:
    fired(state, NOW + n * SECOND)
    done(state, finished(only_run(state), outcome, reason="exit code 3"), NOW + n * SECOND)


def test_a_job_that_fails_again_and_again_is_found_until_it_succeeds() -> None:
    state = cluster("n1")
    put(state)
    for n in range(1, FAILURES_IN_ROW):
        _run(state, n, AttemptState.FAILED)
    assert of_job(state) == {}
    _run(state, 8, AttemptState.TIMED_OUT)
    (finding,) = jobs.of_job(state, job(state), NOW)
    assert finding.check == "job_fails"
    assert finding.what == "its last 3 runs did not succeed; the last one timed_out: exit code 3"
    _run(state, 9, AttemptState.SUCCEEDED)
    assert of_job(state) == {}


def test_what_was_skipped_says_nothing_of_whether_a_job_works() -> None:
    state = cluster("n1")
    put(state)
    for n in (1, 2, 3):
        _run(state, n, AttemptState.FAILED)
    done(state, PauseJob("default/job"))
    fired(state, NOW + 4 * SECOND)
    assert "job_fails" in of_job(state)


def test_slots_that_were_missed_lately_are_found() -> None:
    state = cluster("n1")
    put(state)
    decided_ms = NOW + 3 * HOUR
    fired(state, NOW + SECOND, now_ms=decided_ms)
    assert of_job(state, decided_ms + LATELY_MS - 1) == {"slots_missed": Severity.WARNING}
    assert of_job(state, decided_ms + LATELY_MS) == {}


def missed(state: ClusterState, now_ms: int) -> Finding:
    (finding,) = (each for each in jobs.of_job(state, job(state), now_ms) if each.check == "slots_missed")
    return finding


def test_all_that_was_missed_in_the_hour_is_counted_however_much_came_after_it() -> None:
    state = cluster("n1")
    put(state)
    for n in (3, 6, 9):
        at_ms = NOW + n * HOUR
        fired(state, at_ms - 2 * HOUR, now_ms=at_ms)
    assert missed(state, at_ms).what.startswith("1 slot was missed in the last 1h 0m; the last one: older than")
    slots = [at_ms + n * SECOND for n in range(1, 12)]
    fired(state, *slots, now_ms=slots[-1])
    done(state, finished(only_run(state)), slots[-1])
    assert missed(state, slots[-1]).what.startswith("11 slots were missed in the last 1h 0m; the last one: a later")
    for n in range(1, 120):
        fired(state, slots[-1] + n * SECOND)
        done(state, finished(only_run(state)), slots[-1] + n * SECOND)
    assert missed(state, slots[-1] + HOUR - 1).what.startswith("10 slots were missed")
    assert of_job(state, slots[-1] + HOUR) == {}


def test_where_the_ledger_has_no_room_for_the_hour_it_is_said_that_there_may_be_more() -> None:
    state = cluster("n1")
    put(state)
    for n in range(6):
        slots = [NOW + (250 * n + nth) * SECOND for nth in range(1, 251)]
        fired(state, *slots, now_ms=slots[-1])
        done(state, finished(only_run(state)), slots[-1])
    assert missed(state, NOW + 1_500 * SECOND).what.startswith("996 or more slots were missed")


def test_for_what_was_missed_the_backfill_is_named_where_it_is_possible() -> None:
    state = cluster("n1")
    put(state)
    fired(state, NOW + SECOND, NOW + 2 * SECOND, NOW + 3 * SECOND)
    assert missed(state, NOW + 3 * SECOND).advice == (
        "peercron job explain job; peercron job backfill job --from 1970-01-01T00:16:41.000Z "
        "--to 1970-01-01T00:16:42.000Z makes up for them"
    )
    done(state, Backfill("default/job", (NOW + SECOND, NOW + 2 * SECOND)), NOW + 4 * SECOND)
    put(state, overlap=Overlap.REPLACE)
    assert "job run job runs it now" in missed(state, NOW + 3 * SECOND).advice
    assert refused(state, Backfill("default/job", (NOW + SECOND,)), NOW + 4 * SECOND) is Refusal.CONFLICT


def test_for_what_was_missed_in_slices_no_backfill_is_named_since_it_would_be_refused() -> None:
    state = cluster("n1")
    own = put(state, mode=Mode.SLICE, slice_ms=10 * SECOND)
    done(state, RecordSlices("n1", own.uid, (SliceEntry(NOW + 9 * SECOND, RunState.MISSED, "why"),), NOW + 9 * SECOND))
    finding = missed(state, NOW)
    assert (finding.what, "backfill" in finding.advice) == (
        "1 slot was missed in the last 1h 0m; the last one: why",
        False,
    )
    assert "peercron job next job says which will be missed; its slices are over" in finding.advice
    assert refused(state, Backfill("default/job", (NOW,))) is Refusal.CONFLICT


def test_a_run_that_nobody_takes_is_found_and_one_that_waits_for_its_turn_is_not() -> None:
    state = cluster("n1")
    put(state, nodes=("n1",))
    done(state, DrainMember("id-n1", drained=True))
    done(state, RunJob("default/job"))
    assert found(jobs.of_waiting(state, NOW + WAITS_LONG_MS - 1)) == {}
    assert found(jobs.of_waiting(state, NOW + WAITS_LONG_MS)) == {"run_waits": Severity.WARNING}


def unwell(state: ClusterState, *names: str) -> None:
    for name in names:
        report = HealthReport(job(state).uid, "web", f"id-{name}", False, f"exit code 7 on {name}")
        done(state, ReportHealth(f"id-{name}", 1, (report,)))


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_job_that_no_node_is_well_enough_for_is_found_after_a_few_slots(overlap: Overlap) -> None:
    state = cluster("n1", "n2")
    put(state, overlap=overlap, checks=(Check("web", CommandProbe(("true",))),))
    unwell(state, "n1", "n2")
    for n in range(1, UNSTARTED_IN_ROW):
        fired(state, NOW + n * SECOND)
        assert of_job(state, NOW + n * SECOND) == {}
    fired(state, NOW + UNSTARTED_IN_ROW * SECOND)
    (finding,) = jobs.of_job(state, job(state), NOW + UNSTARTED_IN_ROW * SECOND)
    assert (finding.severity, finding.check, finding.where) == (Severity.WARNING, "slots_unstarted", "job default/job")
    assert finding.what == (
        "its last 3 slots were not started, since no node may run it: n1: check web: exit code 7 on n1, and 1 more"
    )
    later_ms = NOW + 3 * SECOND + WAITS_LONG_MS
    assert (of_job(state, later_ms), set(found(jobs.of_waiting(state, later_ms)))) == ({}, {"run_waits"})


def test_of_many_slots_that_were_not_started_it_is_said_that_there_may_be_more() -> None:
    state = cluster("n1")
    put(state, checks=(Check("web", CommandProbe(("true",))),))
    unwell(state, "n1")
    for n in range(1, ENTRIES_LOOKED_AT + 10):
        fired(state, NOW + n * SECOND)
    (finding,) = jobs.of_job(state, job(state), NOW + 60 * SECOND)
    assert finding.what.startswith("its last 51 or more slots were not started")


def test_slots_that_a_busy_node_has_no_room_for_or_that_fell_into_a_pause_are_no_such_thing() -> None:
    state = cluster("n1")
    put(state, overlap=Overlap.ALLOW, concurrency=Concurrency(per_node=1))
    for n in range(1, 6):
        fired(state, NOW + n * SECOND)
    assert len(state.unplaced) == 4
    assert of_job(state, NOW + 6 * SECOND) == {}
    state = cluster("n1")
    put(state, checks=(Check("web", CommandProbe(("true",))),))
    done(state, PauseJob("default/job"))
    done(state, ResumeJob("default/job"), NOW + 5 * SECOND)
    fired(state, *[NOW + n * SECOND for n in range(1, 7)])
    assert list(outcomes(state).values()) == ["skipped"] * 5
    assert len(state.unplaced) == 1
    assert of_job(state, NOW + 6 * SECOND) == {}


def test_a_run_that_waits_for_a_lock_is_noted() -> None:
    state = cluster("n1")
    done(state, AcquireLock("default", "db", Claim("me", 10 * SECOND, "r"), wait=False))
    put(state, lock="default/db")
    done(state, RunJob("default/job"))
    assert found(jobs.of_waiting(state, NOW + WAITS_LONG_MS)) == {"run_waits": Severity.NOTE}


# Queues and locks.


def test_an_old_item_is_found_and_a_delayed_one_is_not() -> None:
    state = cluster("n1")
    done(state, PutItem("default", "mail", b"1", delay_ms=10 * ITEM_OLD_MS))
    assert found(traffic.of_queues(state, NOW + ITEM_OLD_MS)) == {}
    done(state, PutItem("default", "mail", b"2"))
    assert found(traffic.of_queues(state, NOW + ITEM_OLD_MS - 1)) == {}
    assert found(traffic.of_queues(state, NOW + ITEM_OLD_MS)) == {"queue_old": Severity.WARNING}


def test_dead_letters_are_found_at_the_queue_that_they_died_in() -> None:
    state = cluster("n1")
    done(state, PutQueue("default", "mail", 10 * SECOND, 1, ""))
    item = done(state, PutItem("default", "mail", b"1")).value
    token = done(state, ReceiveItems("default", "mail")).index
    done(state, NackItems(token, (item,), reason="no such address"))
    (finding,) = traffic.of_queues(state, NOW + 10 * ITEM_OLD_MS)
    assert (finding.check, finding.where) == ("dead_letters", "queue default/mail")
    assert finding.what == "1 items were given up; the last one: no such address"


def _locked(waiters: int) -> ClusterState:
    state = cluster("n1")
    for n in range(waiters + 1):
        claim = Claim(f"n1/{n}/main", 30 * SECOND, f"r{n}")
        done(state, AcquireLock("default", "db", claim, wait=True, member="id-n1", session=1))
    return state


def test_a_lock_that_is_held_for_long_is_found_sooner_where_others_wait() -> None:
    assert found(traffic.of_lock(_locked(0), "default/db", NOW + HELD_WANTED_MS)) == {}
    assert found(traffic.of_lock(_locked(0), "default/db", NOW + HELD_LONG_MS)) == {"lock_held": Severity.NOTE}
    wanted = _locked(1)
    assert found(traffic.of_lock(wanted, "default/db", NOW + HELD_WANTED_MS - 1)) == {}
    assert found(traffic.of_lock(wanted, "default/db", NOW + HELD_WANTED_MS)) == {"lock_held": Severity.WARNING}


def test_a_long_line_is_found() -> None:
    assert found(traffic.of_lock(_locked(LINE_LONG - 1), "default/db", NOW)) == {}
    assert found(traffic.of_lock(_locked(LINE_LONG), "default/db", NOW)) == {"lock_line": Severity.WARNING}


# Members.


def test_a_cluster_that_is_well_has_no_findings() -> None:
    state = cluster("a", "b", "c")
    assert found(members.of_cluster(status(), state)) == {}
    assert found(members.of_members(status(), state, NOW)) == {}


def test_no_leader_is_critical_and_its_note_is_told() -> None:
    told = status(leader=None, survives=0, notes=["no leader: this node reaches 1 of 3 voters"])
    (finding,) = members.of_cluster(told, cluster("a"))
    assert (finding.severity, finding.check) == (Severity.CRITICAL, "no_leader")
    assert finding.what == "no leader: this node reaches 1 of 3 voters"


def test_a_cluster_that_bears_no_failure_any_more_is_found() -> None:
    assert found(members.of_cluster(status(survives=0), cluster("a"))) == {"no_spare": Severity.WARNING}


@pytest.mark.parametrize(
    ("roles", "wanted"),
    [
        (("voter",), {"one_voter": Severity.NOTE}),
        (("voter", "voter"), {"two_voters": Severity.WARNING}),
        (("voter", "witness"), {"two_voters": Severity.WARNING}),
        (("voter", "voter", "witness"), {}),
        (("voter", "voter", "voter", "voter"), {"even_voters": Severity.NOTE}),
        (("voter", "voter", "voter", "learner"), {}),
    ],
)
def test_how_many_vote(roles: tuple[str, ...], wanted: dict[str, Severity]) -> None:
    rows = [{**WELL, "name": str(n), "role": role} for n, role in enumerate(roles)]
    voters = sum(role in members.VOTING for role in roles)
    told = status(members=rows, voters=voters, survives=(voters - 1) // 2, quorum=voters // 2 + 1)
    assert found(members.of_cluster(told, cluster("a"))) == wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"state": "unreachable", "silent_ms": DEAD_MS}, {"member_dead": Severity.CRITICAL}),
        ({"state": "unreachable", "silent_ms": DEAD_MS - 1}, {"member_unreachable": Severity.WARNING}),
        ({"state": "connected"}, {"member_silent": Severity.WARNING}),
        ({"state": "halted"}, {"member_halted": Severity.CRITICAL}),
        ({"behind": BEHIND_MAX}, {}),
        ({"behind": BEHIND_MAX + 1}, {"member_behind": Severity.WARNING}),
        ({"drained": True, "running": 2}, {"member_drained": Severity.NOTE}),
        ({"drained": True, "running": 0}, {"member_drained": Severity.WARNING}),
        ({"state": "invited"}, {}),
    ],
)
def test_how_a_member_is(changes: dict[str, Any], wanted: dict[str, Severity]) -> None:
    told = status(members=[{**WELL, "name": "a", **changes}])
    assert found(members.of_members(told, cluster("a"), NOW)) == wanted


def test_who_was_expected_long_ago_is_noted() -> None:
    state = cluster("a")
    done(state, Invite("d:7400", Role.VOTER, "d"))
    assert found(members.of_members(status(), state, NOW + INVITED_LONG_MS - 1)) == {}
    assert found(members.of_members(status(), state, NOW + INVITED_LONG_MS)) == {"invited_long": Severity.NOTE}


def test_mixed_versions_and_a_level_that_is_behind_are_noted() -> None:
    state = cluster("a", "b", "c")
    rows = [{**WELL, "name": "a"}, {**WELL, "name": "b", "version": "2"}]
    assert found(members.of_cluster(status(members=rows, voters=3), state))["versions_mixed"] is Severity.NOTE
    state.level = LEVEL - 1
    assert "level_behind" not in found(members.of_cluster(status(), state)), "it is about to be raised"
    old = state.members["id-a"]
    state.members["id-a"] = replace(old, info=replace(old.info, level=LEVEL - 1))
    assert found(members.of_cluster(status(), state)) == {"level_behind": Severity.NOTE}


def test_a_paused_cluster_is_found() -> None:
    state = cluster("a")
    done(state, PauseCluster())
    assert found(members.of_cluster(status(), state)) == {"cluster_paused": Severity.WARNING}
