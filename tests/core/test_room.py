"""Room: how many more items a job may work on, by what runs, and never more than its limits and its nodes allow."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.apply.queue import line_of
from peercron.core.commands import (
    Command,
    DrainMember,
    ExpireSession,
    OpenSession,
    PlaceRun,
    PutItem,
    PutJob,
    RunJob,
    TakeItem,
)
from peercron.core.job import Job, ManualTrigger, Mode, Overlap
from peercron.core.pace import Concurrency
from peercron.core.placement import room
from peercron.core.placement.room import room_for
from peercron.core.run import AttemptState, Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import NOW, cluster, definition, done, finished, info, job, node_of, refused

Q = ("default", "q")
#: As many live runs as a job may have, in the plays below.
FEW = 4


def worker(state: ClusterState, mode: Mode = Mode.SINGLE, **limits: int) -> Job:
    concurrency = Concurrency(**{"per_node": 2} | limits)
    more: dict[str, Any] = {"overlap": Overlap.ALLOW} if mode is Mode.QUEUE else {}
    made = definition("job", trigger=ManualTrigger(), queue="default/q", mode=mode, concurrency=concurrency, **more)
    done(state, PutJob(made))
    return job(state)


def put(state: ClusterState, **more: Any) -> None:
    done(state, PutItem(*Q, b"1", **more))


def take(state: ClusterState) -> Run:
    return state.runs[str(done(state, TakeItem(job(state).uid)).value)]


def test_each_node_has_room_for_so_many_and_what_ends_makes_room() -> None:
    state = cluster("a", "b")
    made = worker(state, per_node=2)
    assert room_for(state, made) == 4
    for left in (3, 2, 1, 0):
        put(state)
        run = take(state)
        assert room_for(state, made) == left
    put(state)
    assert refused(state, TakeItem(made.uid)) is Refusal.NOT_READY
    done(state, finished(run))
    assert room_for(state, made) == 1


def test_a_node_that_is_not_there_has_none() -> None:
    state = cluster("a", "b", "c")
    made = worker(state, per_node=2)
    done(state, DrainMember("id-a"))
    done(state, ExpireSession("id-b", 1))
    assert room_for(state, made) == 2


def test_a_job_has_room_for_no_more_than_it_wants_at_once() -> None:
    state = cluster("a", "b")
    assert room_for(state, worker(state, per_node=2, per_job=3)) == 3


def test_a_run_that_lost_its_node_is_waited_for_before_another_item_is_taken() -> None:
    state = cluster("a", "b")
    made = worker(state, per_node=1)
    for _ in range(2):
        put(state)
        run = take(state)
    done(state, ExpireSession(f"id-{node_of(state, run)}", 1))
    assert room_for(state, made) == 0
    other = next(each for each in state.runs.values() if each.id != run.id)
    done(state, finished(other))
    assert room_for(state, made) == 0, "the room that there is now is for the one that lost its node"
    done(state, PlaceRun(run.id))
    assert (node_of(state, state.runs[run.id]), room_for(state, made)) == (node_of(state, other), 0)


def test_a_job_with_as_many_live_runs_as_there_may_be_takes_its_own_items_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own make no new run; those that others put there would, and wait until one of its runs has ended."""
    monkeypatch.setattr(room, "LIVE_RUNS_PER_JOB_MAX", 2)
    state = cluster("a")
    made = worker(state, Mode.QUEUE, per_node=5)
    for _ in range(2):
        done(state, RunJob("default/job"))
    assert len(state.live_runs[made.uid]) == 2
    assert room_for(state, made) == 2, "what waits in the queue takes no room"
    put(state, priority=9)
    assert room_for(state, made) == 0
    assert refused(state, TakeItem(made.uid)) is Refusal.NOT_READY
    head = line_of(state, "default/q").next
    assert head is not None
    assert head.key == "", "the item of somebody else is the next"


def test_with_nothing_in_the_queue_it_has_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LIVE_RUNS_PER_JOB_MAX", 1)
    state = cluster("a")
    made = worker(state, Mode.QUEUE, per_node=5)
    done(state, RunJob("default/job"))
    take(state)
    assert line_of(state, "default/q").next is None
    assert room_for(state, made) == 0


# Whatever happens.


class Play:
    """A job that works through its queue while nodes, runs and items come and go."""

    def __init__(self, dice: Random) -> None:
        self.dice, self.nodes = dice, [f"n{n}" for n in range(dice.randint(1, 4))]
        self.state, self.boots = cluster(*self.nodes), dict.fromkeys(self.nodes, 1)
        self.per_node, self.per_job = dice.randint(1, 3), dice.choice((0, 0, 1, 3, 7))
        mode = dice.choice((Mode.SINGLE, Mode.QUEUE))
        self.job = worker(self.state, mode, per_node=self.per_node, per_job=self.per_job)

    def step(self) -> None:
        node, live = self.dice.choice(self.nodes), self._live()
        commands: list[Command] = [PutItem(*Q, b"1", priority=self.dice.randint(0, 2)), TakeItem(self.job.uid)] * 3
        commands += [RunJob("default/job"), DrainMember(f"id-{node}", drained=self.dice.random() < 0.4)]
        commands += [finished(run, self._outcome()) for run in live if run.live_attempt is not None]
        commands += [PlaceRun(run.id) for run in live if run.live_attempt is None]
        commands.append(self._session(node))
        apply(self.state, self.dice.choice(commands), NOW)

    def _outcome(self) -> AttemptState:
        return self.dice.choice((AttemptState.SUCCEEDED, AttemptState.FAILED))

    def _session(self, node: str) -> Command:
        if self.state.members[f"id-{node}"].open:
            return ExpireSession(f"id-{node}", self.boots[node])
        self.boots[node] += 1
        return OpenSession(info(node), self.boots[node])

    def _live(self) -> list[Run]:
        return [self.state.runs[run_id] for run_id in self.state.live_runs.get(self.job.uid, ())]

    def room(self) -> int:
        """Counted from the rows alone, without what is kept beside them."""
        hands = [run for run in self._live() if not run.posted or run.delivery]
        there = [m for m in self.state.members.values() if m.open and m.info.id not in self.state.drained]
        held = [attempt.member for run in hands if (attempt := run.live_attempt) is not None]
        free = sum(max(0, self.per_node - held.count(member.info.id)) for member in there)
        most = min(self.per_job or FEW, FEW) - len(hands)
        head = line_of(self.state, "default/q").next
        own = head is not None and head.key in self.state.live_runs.get(self.job.uid, ())
        full = len(self._live()) >= FEW and not own
        return 0 if full else max(0, min(most, free - (len(hands) - len(held))))


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_room_is_what_a_count_of_all_rows_finds_and_whoever_takes_so_many_finds_a_node_for_each(dice: Random) -> None:
    with patch.object(room, "LIVE_RUNS_PER_JOB_MAX", FEW):
        play = Play(dice)
        for _ in range(40):
            play.step()
            left = room_for(play.state, play.job)
            assert left == play.room()
        while play.room():
            before = play.room()
            put(play.state, priority=9)
            if not play.room():
                break  # somebody else's item is the next, and there may be no more runs
            assert take(play.state).live_attempt is not None
            assert play.room() < before
        assert max((len(held) for held in play.state.live_attempts.values()), default=0) <= play.per_node
