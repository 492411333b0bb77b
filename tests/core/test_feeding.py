"""Jobs that work through a queue: items become runs where nodes have room, and what becomes of a run decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peercron.core.apply.queue import line_of
from peercron.core.commands import (
    CancelRun,
    DeleteJob,
    DrainMember,
    ExpireSession,
    PauseJob,
    PlaceRun,
    PurgeQueue,
    PutItem,
    PutJob,
    PutQueue,
    ReceiveItems,
    ReplayItems,
    ResumeJob,
    TakeItem,
)
from peercron.core.job import HttpTask, Job, ManualTrigger, Mode
from peercron.core.pace import Concurrency, Retry
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal
from peercron.core.work import item_facts, with_item
from tests.core.builders import (
    NOW,
    attempt_of,
    cluster,
    complaint,
    definition,
    done,
    finished,
    job,
    node_of,
    refused,
    run_row,
)

Q = ("default", "q")


def worker(state: ClusterState, **changes: Any) -> Job:
    done(state, PutJob(_worker(**changes)))
    return job(state, "mailer")


def _worker(**changes: Any) -> Any:
    return definition(
        "mailer", **{"trigger": ManualTrigger(), "queue": "default/q", "concurrency": Concurrency(1)} | changes
    )


def put(state: ClusterState, payload: bytes = b"1", **more: Any) -> int:
    return int(done(state, PutItem(*Q, payload, **more)).value or 0)


def fed(planner: Planner, state: ClusterState, now_ms: int = NOW) -> list[Run]:
    """Let the leader go on until it has nothing to say; the runs that are alive."""
    while commands := planner.plan(now_ms):
        for command in commands:
            planner.settle(command, done(state, command, now_ms))
    return list(state.runs.values())


def items_of(state: ClusterState, runs: list[Run]) -> list[int]:
    return [state.deliveries[run.delivery].items[0] for run in runs]


def test_each_item_becomes_a_run_on_a_node_that_has_room() -> None:
    state = cluster("a", "b")
    worker(state, concurrency=Concurrency(2))
    planner = Planner(state)
    items = [put(state) for _ in range(6)]
    runs = fed(planner, state)
    assert items_of(state, runs) == items[:4]
    assert sorted(node_of(state, run) for run in runs) == ["a", "a", "b", "b"]
    assert planner.next_due_ms() is None
    done(state, finished(runs[1]))
    assert items_of(state, fed(planner, state)) == [items[0], *items[2:5]]
    assert list(state.items["default/q"]) == [items[0], *items[2:]]


def test_a_run_that_succeeds_has_done_its_item_and_any_other_end_gives_it_back() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=2))
    worker(state)
    planner, item = Planner(state), put(state, key="k")
    for outcome in (AttemptState.FAILED, AttemptState.TIMED_OUT):
        (run,) = fed(planner, state)
        done(state, finished(run, outcome, reason="exit code 1"))
        assert run_row(state, run.id).delivery == 0
    assert fed(planner, state) == []
    dead = state.items["default/q.dead"][item]
    assert (dead.attempts, dead.reason) == (2, "exit code 1")
    done(state, ReplayItems(*Q, 1))
    (run,) = fed(planner, state)
    done(state, finished(run))
    assert (state.items, state.deliveries, state.item_count) == ({}, {}, 0)


def test_a_run_goes_on_elsewhere_with_the_same_item() -> None:
    state = cluster("a", "b")
    worker(state)
    planner, item = Planner(state), put(state)
    (run,) = fed(planner, state)
    done(state, ExpireSession(f"id-{node_of(state, run)}", 1))
    (again,) = fed(planner, state, NOW + 60_000)
    assert (again.id, items_of(state, [again])) == (run.id, [item])
    assert (attempt_of(again).n, attempt_of(again).token > attempt_of(run).token) == (2, True)
    assert state.items["default/q"][item].attempts == 1


def test_retries_of_the_job_come_before_the_item_is_given_back() -> None:
    state = cluster("a")
    worker(state, retry=Retry(1, base_ms=1_000, jitter=False))
    planner, item = Planner(state), put(state)
    (run,) = fed(planner, state)
    done(state, finished(run, AttemptState.FAILED))
    assert items_of(state, fed(planner, state, NOW + 1_000)) == [item]
    assert len(state.runs[run.id].attempts) == 2
    assert state.items["default/q"][item].attempts == 1


def test_the_order_of_a_group_is_kept_over_all_nodes() -> None:
    state = cluster("a", "b")
    worker(state, concurrency=Concurrency(4))
    planner = Planner(state)
    first, second = put(state, group="g"), put(state, group="g")
    (run,) = fed(planner, state)
    assert items_of(state, [run]) == [first]
    done(state, finished(run))
    assert items_of(state, fed(planner, state)) == [second]


def test_a_paused_job_takes_nothing_and_a_delayed_item_is_taken_at_its_time() -> None:
    state = cluster("a")
    worker(state)
    planner, item = Planner(state), put(state, delay_ms=5_000)
    done(state, PauseJob("default/mailer"))
    assert fed(planner, state) == []
    done(state, ResumeJob("default/mailer"))
    assert fed(planner, state) == []
    assert planner.next_due_ms() == NOW + 5_000
    assert items_of(state, fed(planner, state, NOW + 5_000)) == [item]


def test_a_new_leader_and_new_nodes_find_what_there_is_to_do() -> None:
    state = cluster("a")
    done(state, DrainMember("id-a"))
    worker(state)
    put(state)
    planner = Planner(state)
    assert fed(planner, state) == []
    done(state, DrainMember("id-a", False))
    assert len(fed(planner, state)) == 1
    done(state, finished(next(iter(state.runs.values()))))
    put(state)
    planner.close()
    assert len(fed(Planner(state), state)) == 1


def test_a_cancelled_run_and_a_deleted_job_give_their_items_back() -> None:
    state = cluster("a")
    worker(state, concurrency=Concurrency(2))
    planner = Planner(state)
    items = [put(state), put(state)]
    one, other = fed(planner, state)
    done(state, CancelRun(one.id))
    done(state, finished(one, AttemptState.CANCELLED))
    done(state, DeleteJob("default/mailer"))
    done(state, finished(other, AttemptState.CANCELLED))
    assert line_of(state, "default/q").ready == len(items)
    assert fed(planner, state) == []
    assert refused(state, TakeItem(one.job_uid)) is Refusal.NOT_FOUND


def test_an_item_that_was_purged_under_a_run_is_gone_and_the_run_ends_as_it_ends() -> None:
    state = cluster("a")
    worker(state)
    planner = Planner(state)
    put(state)
    (run,) = fed(planner, state)
    done(state, PurgeQueue(*Q))
    done(state, finished(run))
    assert (state.items, state.deliveries) == ({}, {})


def test_nothing_is_taken_without_room_without_an_item_or_under_a_pause() -> None:
    state = cluster("a")
    uid = worker(state).uid
    assert refused(state, TakeItem(uid)) is Refusal.NOT_READY
    put(state)
    put(state)
    done(state, TakeItem(uid))
    assert refused(state, TakeItem(uid)) is Refusal.NOT_READY
    plain = done(state, PutJob(definition("plain"))).index
    assert refused(state, TakeItem(str(plain))) is not None


def test_who_receives_by_hand_and_a_job_share_a_queue() -> None:
    state = cluster("a")
    worker(state)
    planner = Planner(state)
    first, second = put(state), put(state)
    (run,) = fed(planner, state)
    token = int(done(state, ReceiveItems(*Q)).value or 0)
    assert (items_of(state, [run]), state.deliveries[token].items) == ([first], (second,))


def test_a_waiting_run_is_placed_when_a_node_has_room_again() -> None:
    state = cluster("a", "b")
    worker(state)
    planner = Planner(state)
    put(state)
    put(state)
    one, other = fed(planner, state)
    done(state, ExpireSession(f"id-{node_of(state, one)}", 1))
    assert fed(planner, state, NOW + 60_000)[0].reason.startswith(
        "no node that may run it is there with less than 1 of it running"
    )
    done(state, finished(other))
    (again,) = fed(planner, state, NOW + 60_000)
    assert (again.id, node_of(state, again)) == (one.id, node_of(state, other))
    assert refused(state, PlaceRun(one.id)) is Refusal.NOT_READY


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"queue": "mail"}, "queue"),
        ({"queue": "a/b c"}, "queue"),
        ({"after": ("default/x",)}, "queue"),
        ({"mode": Mode.TURNS}, "queue"),
        ({"concurrency": Concurrency()}, "concurrency"),
    ],
    ids=str,
)
def test_a_wrong_definition_is_told_its_field(changes: dict[str, Any], field: str) -> None:
    assert complaint(cluster("a"), PutJob(_worker(**changes))) == field


def test_what_a_run_sees_of_its_item() -> None:
    state = cluster("a")
    worker(state)
    planner = Planner(state)
    item = put(state, b'{"to":"\xc3\xa9"}')
    (run,) = fed(planner, state)
    task, told = with_item(state, run, definition().task)
    assert task == definition().task
    assert told == {
        "PEERCRON_QUEUE": "default/q",
        "PEERCRON_ITEM_ID": str(item),
        "PEERCRON_ITEM_ATTEMPT": "1",
        "PEERCRON_ITEM": '{"to":"é"}',
    }
    call = HttpTask("POST", "http://127.0.0.1/x")
    task, told = with_item(state, run, call)
    assert task == replace(call, body=b'{"to":"\xc3\xa9"}')
    assert "PEERCRON_ITEM" not in told
    assert with_item(state, replace(run, delivery=0), call) == (call, {})


def test_bytes_and_long_payloads() -> None:
    state = cluster("a")
    worker(state)
    planner = Planner(state)
    for payload, binary, name in ((b"\x00\xff", True, "PEERCRON_ITEM_BASE64"), (b"1" * 200_000, False, "")):
        put(state, payload, binary=binary)
        (run,) = fed(planner, state)
        _, told = with_item(state, run, definition().task)
        assert told.keys() - {"PEERCRON_QUEUE", "PEERCRON_ITEM_ID", "PEERCRON_ITEM_ATTEMPT"} == ({name} - {""})
        assert isinstance(done(state, finished(run)), Done)


@pytest.mark.parametrize(
    ("payload", "binary", "seen"), [(b'{"a":1}', False, {"a": 1}), (b"\x00\xff", True, b"\x00\xff")]
)
def test_a_class_is_told_its_item_as_what_it_is(payload: bytes, binary: bool, seen: object) -> None:
    state = cluster("a")
    worker(state)
    id_ = put(state, payload, binary=binary)
    (run,) = fed(Planner(state), state)
    assert item_facts(state, run) == {"item": seen, "item_id": id_}
    assert item_facts(state, replace(run, delivery=0)) == {}
