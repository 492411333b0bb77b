"""The chronicle: what happened is told once, in order and alike by every member, and a bounded part of it is kept."""

from __future__ import annotations

from random import Random

import pytest

from peercron.core import chronicle as chronicles
from peercron.core.apply import apply
from peercron.core.apply.configuration import configure
from peercron.core.chronicle import KINDS, LAST, Chronicle, Event
from peercron.core.commands import (
    DeleteJob,
    DrainMember,
    EmitEvent,
    ExpireLease,
    ExpireSession,
    OpenClient,
    PauseCluster,
    PauseJob,
    PutItem,
    ReportHealth,
    ResumeJob,
    RunJob,
    SetPool,
)
from peercron.core.health import HealthReport
from peercron.core.member import Configuration, Seat
from peercron.core.run import LIVE_RUN_STATES, RunState
from peercron.core.state import ClusterState
from tests.core.builders import NOW, SECOND, cluster, done, finished, fired, only_run, put, started
from tests.core.chance import some_command

A, B = (Seat(f"id-{name}", name, f"{name}:7400") for name in "ab")
OUTCOMES = {state.value for state in RunState if state not in LIVE_RUN_STATES}


def watched(*names: str) -> ClusterState:
    state = cluster(*names)
    state.chronicle = Chronicle(state.index)
    return state


def told(state: ClusterState) -> list[Event]:
    assert state.chronicle is not None
    found = state.chronicle.after(state.chronicle.floor, 100_000)
    assert found is not None
    return found


def words(state: ClusterState) -> list[tuple[str, str, str]]:
    return [(event.kind, event.what, event.name) for event in told(state)]


def test_the_life_of_a_run() -> None:
    state = watched("a", "b")
    put(state)
    fired(state, NOW + SECOND)
    first = only_run(state)
    done(state, started(first))
    done(state, ExpireSession(first.attempts[-1].member, 1))
    done(state, started(only_run(state)))
    done(state, finished(only_run(state)))
    node = "a" if first.attempts[-1].member == "id-a" else "b"
    assert words(state) == [
        ("job", "created", "default/job"),
        ("run", "created", "default/job"),
        ("run", "assigned", "default/job"),
        ("run", "started", "default/job"),
        ("member", "down", node),
        ("run", "retrying", "default/job"),
        ("run", "assigned", "default/job"),
        ("run", "started", "default/job"),
        ("run", "succeeded", "default/job"),
    ]
    assigned = told(state)[2]
    token = first.attempts[-1].token
    assert dict(assigned.facts) == {"run": first.id, "node": node, "attempt": 1, "token": token}
    assert [event.place for event in told(state)[4:7]] == [(state.index - 2, n) for n in (1, 2, 3)]


def test_a_slot_without_a_run_is_told_with_its_reason() -> None:
    state = watched("a")
    put(state)
    done(state, PauseJob("default/job"))
    fired(state, NOW + SECOND)
    done(state, ResumeJob("default/job"))
    assert [(event.what, dict(event.facts).get("reason")) for event in told(state)[1:]] == [
        ("paused", None),
        ("skipped", "the job was paused"),
        ("resumed", None),
    ]


def test_what_people_do_and_what_breaks() -> None:
    state = watched("a")
    for seats in ((A,), (A, B), (A,)):
        configure(state, Configuration(seats))
    done(state, DrainMember("id-a", drained=True))
    done(state, SetPool("db", 3))
    done(state, PauseCluster())
    done(state, PauseCluster())
    done(state, EmitEvent("default", "restocked"))
    client = int(done(state, OpenClient("batch/1", 1_000)).value or 0)
    done(state, ExpireLease(client))
    put(state)
    done(state, RunJob("default/job"))
    done(state, DeleteJob("default/job"))
    assert words(state) == [
        ("member", "joined", "a"),
        ("member", "joined", "b"),
        ("member", "left", "b"),
        ("member", "drained", "a"),
        ("pool", "set", "db"),
        ("cluster", "paused", ""),
        ("event", "emitted", "default/restocked"),
        ("client", "lost", "batch/1"),
        ("job", "created", "default/job"),
        ("run", "created", "default/job"),
        ("job", "deleted", "default/job"),
        ("run", "cancelled", "default/job"),
    ]


def test_what_changes_nothing_is_not_told() -> None:
    state = watched("a")
    put(state)
    before = words(state)
    put(state)
    done(state, ResumeJob("default/job"))
    done(state, PutItem("default", "mail", b"1"))
    done(state, ReportHealth("id-a", 1, (HealthReport(only_job(state), "db", "id-a", well=False),)))
    apply(state, DeleteJob("default/nothing"), NOW)
    assert words(state) == before


def only_job(state: ClusterState) -> str:
    return next(iter(state.jobs))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_is_told_once_and_alike_by_all(seed: int) -> None:
    """A run has one beginning and one end, which come in that order; those without an end are alive."""
    dice, now_ms = Random(seed), 1_000_000
    one, other = (ClusterState(chronicle=Chronicle(0)) for _ in range(2))
    for _ in range(400):
        now_ms += dice.choice((0, 1, 400, 1_000, 5_000))
        command = some_command(dice, one)
        apply(one, command, now_ms)
        apply(other, command, now_ms)
    events = told(one)
    assert events == told(other)
    places = [event.place for event in events]
    assert places == sorted(set(places))
    assert all(event.what in KINDS[event.kind] for event in events)
    if any((event.kind, event.what) == ("cluster", "restored") for event in events):
        return
    alive: dict[str, None] = {}
    ended: set[str] = set()
    for event in events:
        run = str(dict(event.facts).get("run", ""))
        if event.kind != "run" or "#" in run:
            continue
        assert run not in ended, event
        if event.what == "created":
            assert run not in alive
            alive[run] = None
        elif event.what in OUTCOMES:
            alive.pop(run, None)
            ended.add(run)
        else:
            assert run in alive, event
    assert set(alive) == {run for run in one.runs if "#" not in run}


def test_the_oldest_are_forgotten_and_who_is_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicles, "EVENTS_KEPT", 10)
    monkeypatch.setattr(chronicles, "SLACK", 5)
    book = Chronicle(7)
    assert book.after((6, LAST), 10) is None
    assert book.after((7, LAST), 10) == []
    for index in range(8, 8 + 40):
        book.add(index, 0, "pool", "set", "db", {})
        book.add(index, 0, "pool", "deleted", "db", {})
    kept = book.after(book.floor, 1_000)
    assert kept is not None
    assert 10 <= len(kept) < 15
    assert kept[-1].place == (47, 2)
    assert book.after((kept[0].index - 1, 0), 10) is None
    assert book.after((47, 1), 10) == kept[-1:]
    assert book.after(kept[-4].place, 2) == kept[-3:-1]


def test_nothing_is_kept_where_nobody_wants_it() -> None:
    state = cluster("a")
    put(state)
    assert state.chronicle is None
