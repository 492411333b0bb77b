"""Mode queue: a slot puts an item, and is done when the item is, whoever pulled it."""

from __future__ import annotations

from json import loads
from random import Random
from typing import Any

import pytest

from peercron.core.apply import apply, delivery, feeding, posting, run
from peercron.core.commands import (
    AckItems,
    CancelRun,
    Command,
    DeleteJob,
    ExpireLease,
    ExpireSession,
    NackItems,
    OpenSession,
    PauseJob,
    PurgeQueue,
    PutItem,
    PutJob,
    PutQueue,
    ReceiveItems,
    ReplayItems,
    RunJob,
)
from peercron.core.explain import explain
from peercron.core.history import entries_of, find_entry
from peercron.core.job import EveryTrigger, Guarantee, Job, ManualTrigger, Mode, Overlap
from peercron.core.limits import ATTEMPTS_MAX, POSTED_RUNS_MAX
from peercron.core.occasion import QueueTrigger
from peercron.core.pace import Concurrency, Retry
from peercron.core.planner import Planner
from peercron.core.queue import Item
from peercron.core.run import AttemptState, Run, RunState
from peercron.core.simulation import cluster_of, simulate
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal
from peercron.core.views import find_run_view
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    complaint,
    definition,
    done,
    entries,
    finished,
    fired,
    info,
    job,
    node_of,
    only_run,
    outcomes,
    refused,
)
from tests.core.invariants import History, violations

Q = ("default", "q")
SLOT = NOW + SECOND


def posting_job(state: ClusterState, **changes: Any) -> Job:
    done(state, PutJob(_posting(**changes)))
    return job(state, "mails")


def _posting(**changes: Any) -> Any:
    usual = {"mode": Mode.QUEUE, "queue": "default/q", "concurrency": Concurrency(1)}
    return definition("mails", **usual | changes)


def fire(state: ClusterState, *slots: int) -> None:
    fired(state, *slots, name="mails")


def feed(state: ClusterState, now_ms: int = SLOT) -> list[Run]:
    """Let the leader go on until it has nothing more to say now; the runs that are alive."""
    planner = Planner(state)
    while commands := [each for each in planner.plan(now_ms) if type(each).__name__ != "Fire"]:
        for command in commands:
            planner.settle(command, apply(state, command, now_ms))
    assert violations(state) == []
    return list(state.runs.values())


def items(state: ClusterState, key: str = "default/q") -> list[Item]:
    return list(state.items.get(key, {}).values())


def test_a_slot_becomes_an_item_and_a_node_with_room_pulls_it() -> None:
    state = cluster("a", "b")
    posting_job(state)
    fire(state, SLOT)
    waiting = only_run(state, "mails")
    (item,) = items(state)
    assert (waiting.state, item.key) == (RunState.QUEUED, waiting.id)
    assert waiting.reason == f"item {item.id} waits in queue default/q"
    assert loads(item.payload) == {"job": "default/mails", "run": waiting.id, "slot": SLOT, "params": {}}
    (run_,) = feed(state)
    assert (run_.id, run_.state) == (waiting.id, RunState.RUNNING)
    assert attempt_of(run_).why == f"item {item.id} of queue default/q was next; 0 of 1 ran there"
    view = find_run_view(state, run_.id) or {}
    assert (view["mode"], view["queue"], view["item"]) == ("queue", "default/q", item.id)
    done(state, finished(run_))
    assert (items(state), state.deliveries, outcomes(state, "mails")) == ([], {}, {SLOT: "succeeded"})
    assert find_run_view(state, run_.id)["item"] is None  # type: ignore[index]


def test_items_are_pulled_in_order_each_by_the_node_that_has_least_of_them() -> None:
    state = cluster("a", "b")
    posting_job(state, overlap=Overlap.ALLOW, concurrency=Concurrency(2))
    slots = [NOW + n * SECOND for n in range(1, 7)]
    fire(state, *slots[:1])
    for slot in slots[1:]:
        fire(state, slot)
    running = [each for each in feed(state, slots[-1]) if each.live_attempt]
    assert [each.slot_ms for each in running] == slots[:4]
    assert [node_of(state, each) for each in running[:2]] != [node_of(state, each) for each in running[1:3]]
    assert sorted(node_of(state, each) for each in running) == ["a", "a", "b", "b"]


def test_a_failed_attempt_gives_the_item_back_and_the_last_one_makes_it_a_dead_letter() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=2))
    posting_job(state)
    fire(state, SLOT)
    (first,) = feed(state)
    done(state, finished(first, AttemptState.FAILED, reason="exit code 1"))
    again = only_run(state, "mails")
    assert (again.state, again.delivery) == (RunState.QUEUED, 0)
    assert again.reason.endswith("waits in queue default/q again: exit code 1")
    (second,) = feed(state)
    assert (second.id, [attempt.n for attempt in second.attempts]) == (first.id, [1, 2])
    done(state, finished(second, AttemptState.TIMED_OUT, reason="too long"))
    entry = entries(state, "mails")[SLOT]
    assert (entry.outcome, entry.attempts) == (RunState.FAILED, 2)
    assert entry.reason == "it is a dead letter in default/q.dead after 2 deliveries: too long"
    assert [letter.key for letter in items(state, "default/q.dead")] == [first.id]


def test_a_dead_letter_that_is_replayed_is_an_item_like_any_and_the_slot_keeps_its_outcome() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=1))
    posting_job(state)
    fire(state, SLOT)
    (first,) = feed(state)
    done(state, finished(first, AttemptState.FAILED))
    assert done(state, ReplayItems(*Q, 1)).value == 1
    (replayed,) = feed(state)
    assert replayed.id != first.id
    done(state, finished(replayed))
    assert find_entry(state, first.id).outcome is RunState.FAILED  # type: ignore[union-attr]
    assert find_entry(state, replayed.id).outcome is RunState.SUCCEEDED  # type: ignore[union-attr]
    assert items(state) == items(state, "default/q.dead") == []


def test_a_node_that_is_lost_does_not_end_the_slot() -> None:
    state = cluster("a", "b")
    posting_job(state)
    fire(state, SLOT)
    (run_,) = feed(state)
    loser = node_of(state, run_)
    done(state, ExpireSession(f"id-{loser}", 1))
    (again,) = feed(state, SLOT + 60_000)
    assert (again.id, attempt_of(again).token > attempt_of(run_).token) == (run_.id, True)
    assert node_of(state, again) != loser
    assert refused(state, finished(run_)) is Refusal.STALE_TOKEN
    done(state, finished(again))
    assert outcomes(state, "mails") == {SLOT: "succeeded"}
    assert [entry.attempts for entry in entries(state, "mails").values()] == [2]


def test_another_worker_that_pulls_the_item_ends_the_run_by_its_ack() -> None:
    state = cluster("a")
    posting_job(state, nodes=("nobody",))
    fire(state, SLOT)
    token = done(state, ReceiveItems(*Q, 1, owner="outside")).value
    assert isinstance(token, int)
    assert only_run(state, "mails").reason.endswith("of queue default/q is in the hands of outside")
    done(state, NackItems(token, reason="later"))
    assert only_run(state, "mails").reason.endswith("again: later")
    token = done(state, ReceiveItems(*Q, 1, owner="outside")).value
    assert isinstance(token, int)
    done(state, ExpireLease(token))
    token = done(state, ReceiveItems(*Q, 1, owner="outside")).value
    assert isinstance(token, int)
    done(state, AckItems(token))
    entry = entries(state, "mails")[SLOT]
    assert (entry.outcome, entry.reason) == (RunState.SUCCEEDED, "its item was done by outside")
    assert violations(state) == []


def test_a_job_that_works_through_the_same_queue_does_it_too() -> None:
    state = cluster("a")
    posting_job(state, nodes=("nobody",))
    done(state, PutJob(definition("w", trigger=ManualTrigger(), queue="default/q", concurrency=Concurrency(1))))
    fire(state, SLOT)
    waiting, working = feed(state)
    assert (waiting.live_attempt, working.job_key) == (None, "default/w")
    done(state, finished(working))
    assert entries(state, "mails")[SLOT].reason == f"its item was done by run {working.id}"
    assert list(state.runs) == []


def test_items_of_others_are_runs_of_their_own_and_in_nobodys_way() -> None:
    state = cluster("a")
    posting_job(state)
    done(state, PutItem(*Q, b"1"))
    (foreign,) = feed(state)
    fire(state, SLOT)
    assert len(state.runs) == 2, "overlap forbid: what others put does not count"
    done(state, finished(foreign))
    (own,) = feed(state)
    assert own.slot_ms == SLOT


def test_overlap_is_about_the_slots_that_are_not_done() -> None:
    state = cluster("a", "b")
    posting_job(state, concurrency=Concurrency(2))
    fire(state, SLOT)
    feed(state)
    fire(state, SLOT + SECOND)
    assert entries(state, "mails")[SLOT + SECOND].outcome is RunState.SKIPPED
    posting_job(state, concurrency=Concurrency(2), overlap=Overlap.QUEUE_ONE)
    fire(state, SLOT + 2 * SECOND)
    assert len([each for each in feed(state) if each.live_attempt]) == 1, "one after the other, although there is room"
    posting_job(state, concurrency=Concurrency(2), overlap=Overlap.REPLACE)
    fire(state, SLOT + 3 * SECOND)
    first, last = feed(state)
    assert (first.cancel_requested, last.live_attempt) == (True, None)
    done(state, finished(first, AttemptState.CANCELLED))
    (last,) = feed(state)
    assert attempt_of(last).n == 1
    kept = {slot: entry.outcome.value for slot, entry in entries(state, "mails").items()}
    assert [kept[SLOT + n * SECOND] for n in range(3)] == ["cancelled", "skipped", "cancelled"]


def test_so_many_slots_may_wait_and_no_more() -> None:
    state = cluster("a")
    posting_job(state, overlap=Overlap.ALLOW, nodes=("nobody",))
    for _ in range(POSTED_RUNS_MAX + 1):
        done(state, RunJob("default/mails"))
    assert len(state.runs) == POSTED_RUNS_MAX


def test_retries_of_the_job_come_before_the_item_is_given_back() -> None:
    state = cluster("a")
    posting_job(state, retry=Retry(1, base_ms=1_000, jitter=False))
    fire(state, SLOT)
    (run_,) = feed(state)
    done(state, finished(run_, AttemptState.FAILED))
    assert only_run(state, "mails").delivery == run_.delivery
    (again,) = feed(state, SLOT + 2_000)
    done(state, finished(again, AttemptState.FAILED))
    assert only_run(state, "mails").delivery == 0
    assert items(state)[0].attempts == 1


def test_a_queue_without_a_limit_does_not_make_a_run_endless() -> None:
    state = cluster("a")
    done(state, PutQueue(*Q, 1_000, max_attempts=0))
    posting_job(state)
    fire(state, SLOT)
    for _ in range(ATTEMPTS_MAX):
        (run_,) = feed(state)
        done(state, finished(run_, AttemptState.FAILED, reason="no"))
    assert entries(state, "mails")[SLOT].outcome is RunState.FAILED
    assert [letter.reason for letter in items(state, "default/q.dead")] == ["no"]


@pytest.mark.parametrize("in_hand", [False, True])
def test_what_ends_the_run_takes_its_item_away(in_hand: bool) -> None:
    for end in (lambda row: CancelRun(row.id), lambda row: DeleteJob("default/mails")):
        state = cluster("a")
        posting_job(state)
        fire(state, SLOT)
        token = done(state, ReceiveItems(*Q, 1)).value if in_hand else 0
        done(state, end(only_run(state, "mails")))
        assert (state.items, state.deliveries, state.runs, state.item_count) == ({}, {}, {}, 0)
        if isinstance(token, int) and token:
            assert refused(state, AckItems(token)) is Refusal.STALE_TOKEN
        assert violations(state) == []


def test_a_cancelled_attempt_takes_the_item_with_it() -> None:
    state = cluster("a")
    posting_job(state)
    fire(state, SLOT)
    (run_,) = feed(state)
    done(state, CancelRun(run_.id))
    done(state, finished(run_, AttemptState.CANCELLED))
    assert (outcomes(state, "mails"), state.items) == ({SLOT: "cancelled"}, {})


def test_a_purge_ends_what_waits_and_not_what_runs() -> None:
    state = cluster("a")
    posting_job(state, overlap=Overlap.ALLOW)
    fire(state, SLOT)
    fire(state, SLOT + SECOND)
    running, _ = feed(state)
    done(state, PurgeQueue(*Q))
    assert outcomes(state, "mails") == {SLOT + SECOND: "cancelled"}
    done(state, finished(running))
    assert outcomes(state, "mails")[SLOT] == "succeeded"


def test_a_queue_that_takes_nothing_fails_the_slot_and_says_so() -> None:
    state = cluster("a")
    posting_job(state)
    state.queues.clear()
    state.item_count = 10**9
    fire(state, SLOT)
    entry = entries(state, "mails")[SLOT]
    assert entry.outcome is RunState.FAILED
    assert entry.reason.startswith("queue default/q did not take it: the queues hold")


def test_a_key_that_was_used_up_is_not_waited_for() -> None:
    state = cluster("a")
    row = posting_job(state)
    done(state, PutItem(*Q, b"1", key=f"{row.uid}/{SLOT}"))
    token = done(state, ReceiveItems(*Q, 1)).value
    assert isinstance(token, int)
    done(state, AckItems(token))
    fire(state, SLOT)
    assert "which is done or a dead letter" in entries(state, "mails")[SLOT].reason


def test_waiting_runs_follow_their_job_into_another_queue_and_out_of_all() -> None:
    state = cluster("a")
    posting_job(state, nodes=("nobody",), overlap=Overlap.ALLOW)
    fire(state, SLOT)
    posting_job(state, nodes=("nobody",), overlap=Overlap.ALLOW, queue="default/other")
    assert (items(state), len(items(state, "default/other"))) == ([], 1)
    done(state, PutJob(definition("mails", overlap=Overlap.ALLOW)))
    assert state.items == {}
    (run_,) = feed(state)
    assert (run_.posted, run_.state) == ("", RunState.RUNNING)


def test_an_attempt_that_fails_after_the_job_has_another_queue_goes_there() -> None:
    state = cluster("a")
    posting_job(state)
    fire(state, SLOT)
    (run_,) = feed(state)
    posting_job(state, queue="default/other")
    done(state, finished(run_, AttemptState.FAILED))
    assert [item.key for item in items(state, "default/other")] == [run_.id]
    done(state, finished(feed(state)[0], AttemptState.FAILED))
    done(state, PutJob(definition("mails")))
    (plain,) = feed(state)
    assert (plain.id, plain.posted, plain.delivery, attempt_of(plain).n) == (run_.id, "", 0, 3)


def test_a_paused_job_pulls_nothing_and_jitter_delays_the_item() -> None:
    state = cluster("a")
    posting_job(state, jitter_ms=10_000)
    fire(state, SLOT)
    (item,) = items(state)
    assert item.not_before_ms >= SLOT
    assert feed(state, SLOT + 10_000)[0].live_attempt
    posting_job(state)
    done(state, RunJob("default/mails"))
    done(state, PauseJob("default/mails"))
    assert all(each.manual is False for each in feed(state, SLOT + 20_000) if each.live_attempt)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"queue": ""}, "queue"),
        ({"queue": "default/" + "x" * 124}, "queue"),
        ({"guarantee": Guarantee.AT_MOST_ONCE}, "guarantee"),
        ({"trigger": QueueTrigger("default", "q")}, "on.queue"),
        ({"concurrency": Concurrency()}, "concurrency"),
    ],
    ids=str,
)
def test_a_wrong_definition_is_told_its_field(changes: dict[str, Any], field: str) -> None:
    assert complaint(cluster("a"), PutJob(_posting(**changes))) == field


def test_explain_and_simulate_know_the_mode() -> None:
    state = cluster("a")
    row = posting_job(state)
    fire(state, SLOT)
    why = explain(state, row)["why"]
    assert "queue default/q: 1 wait, 0 are delayed, 0 are in somebody's hands" in why
    assert any(sentence.endswith("waits in queue default/q") for sentence in why)
    ahead = cluster_of((_posting(trigger=EveryTrigger(10_000)),), ("a", "b"), NOW)
    told = list(simulate(ahead, from_ms=NOW, through_ms=NOW + 30_000, lasting_ms=1_000))
    assert [(each.slot_ms - NOW, each.what) for each in told] == [(n * 10_000, "starts") for n in (1, 2, 3)]


def played(dice: Random) -> str:
    """Slots, workers inside and outside, failures and lost nodes by dice; the first thing that is wrong."""
    state, history, now_ms = cluster("a", "b"), History(), NOW
    done(state, PutQueue(*Q, 1_000, max_attempts=3))
    row = posting_job(state, overlap=dice.choice(tuple(Overlap)), concurrency=Concurrency(dice.choice((1, 2))))
    planner, held = Planner(state), list[int]()
    for _ in range(150):
        now_ms += dice.choice((0, 100, 1_000))
        for command in planner.plan(now_ms):
            planner.settle(command, apply(state, command, now_ms))
        verdict = apply(state, happening(dice, state, held), now_ms)
        if isinstance(verdict, Done) and isinstance(verdict.value, int) and verdict.value in state.leases:
            held.append(verdict.value)
        problems = history.violations(state)
        if problems:
            return str(problems)
    named = {entry.run_id for entry in entries_of(state, row.uid)} | set(state.runs)
    due = range(NOW + SECOND, state.cursors[row.uid].after_ms + 1, SECOND)
    lost = [slot for slot in due if f"{row.uid}/{slot}" not in named]
    return f"slots {lost} were lost" if lost or not due else ""


def happening(dice: Random, state: ClusterState, held: list[int]) -> Command:
    live = [each for each in state.runs.values() if each.live_attempt]
    name = dice.choice("ab")
    session = state.members[f"id-{name}"].session
    if live and dice.random() < 0.4:
        outcome = dice.choice((AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST))
        return finished(dice.choice(live), outcome)
    if held and dice.random() < 0.5:
        return dice.choice((AckItems, NackItems, ExpireLease))(held.pop())
    if dice.random() < 0.3:
        return dice.choice((ExpireSession(f"id-{name}", session), OpenSession(info(name), session + 1)))
    return dice.choice((ReceiveItems(*Q, dice.choice((1, 2)), owner="x"), PutItem(*Q, b"1"), ReplayItems(*Q, 1)))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_slot_has_one_item_and_one_outcome(seed: int) -> None:
    assert played(Random(seed)) == ""


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (run, "waits_in_queue", lambda run: False),
        (delivery, "withdraw", lambda state, run: None),
        (feeding, "posted_run", lambda state, key, item: None),
        (posting, "payload_of", lambda run: b"x" * 10**7),
    ],
    ids=["the job starts it, item or not", "its item stays", "its item is a run of its own", "no queue takes it"],
)
def test_a_broken_rule_is_noticed(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, broken: Any) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        _all_is_well()


def _all_is_well() -> None:
    test_what_ends_the_run_takes_its_item_away(in_hand=False)
    test_a_slot_becomes_an_item_and_a_node_with_room_pulls_it()
    for seed in range(8):
        assert played(Random(seed)) == ""
