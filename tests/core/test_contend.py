"""Mode contend: who asks first in the log runs, the others wait for it, and two are never alive at once."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.commands import CancelRun, Checkpoint, Contend, ExpireSession, OpenSession, RunJob
from peercron.core.dispatcher import Ask, decide
from peercron.core.job import Guarantee, Losers, Mode
from peercron.core.run import AttemptState, RunState
from peercron.core.shards import holder_of
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import attempt_of, cluster, done, finished, info, put, refused, run_row, started
from tests.core.test_parallel import die, end, grant, nodes, shard


def contended(*nodes: str, **changes: Any) -> tuple[ClusterState, str]:
    """A run of these nodes that all are asked about."""
    state = cluster(*(nodes or "abc"))
    put(state, mode=Mode.CONTEND, **changes)
    return state, str(done(state, RunJob("default/job")).value)


def ask(state: ClusterState, run_id: str, *names: str) -> None:
    for name in names:
        done(state, Contend(run_id, f"id-{name}", state.members[f"id-{name}"].session))
    grant(state)


def states(state: ClusterState, run_id: str) -> dict[str, str]:
    return {each.member.removeprefix("id-"): each.state.value for each in run_row(state, run_id).ended}


def test_every_node_asks_and_the_first_in_the_log_runs_with_that_commands_token() -> None:
    state, run_id = contended()
    assert decide(state, "id-b", 1, ()) == [Ask(run_id)]
    assert nodes(state, run_id) == []
    verdict = done(state, Contend(run_id, "id-b", 1))
    assert attempt_of(shard(state, "b")).token == verdict.index
    ask(state, run_id, "a", "c")
    assert nodes(state, run_id) == ["b"]
    assert [type(each) for each in decide(state, "id-b", 1, ())] != [Ask]


def test_losers_wait_and_each_runs_in_its_turn_with_a_larger_token() -> None:
    state, run_id = contended()
    ask(state, run_id, "b", "c", "a")
    tokens = []
    for name in "bca":
        assert nodes(state, run_id) == [name]
        tokens.append(attempt_of(shard(state, name)).token)
        end(state, name)
    assert tokens == sorted(tokens)
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_losers_skip_when_one_has_done_it_and_who_lost_is_recorded() -> None:
    state, run_id = contended(losers=Losers.SKIP)
    ask(state, run_id, "b", "a")
    end(state, "b")
    run = run_row(state, run_id)
    assert (run.state, states(state, run_id)) == (RunState.SUCCEEDED, {"b": "succeeded", "a": "skipped"})
    assert run.ended[1].reason == "b was first and has done it (losers skip)"
    assert refused(state, Contend(run_id, "id-c", 1)) is Refusal.NOT_READY


def test_where_the_first_fails_the_next_tries_it() -> None:
    state, run_id = contended(losers=Losers.SKIP)
    ask(state, run_id, "b", "a", "c")
    end(state, "b", AttemptState.FAILED)
    assert nodes(state, run_id) == ["a"]
    end(state, "a")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_who_does_the_slots_work_goes_on_where_the_one_before_was() -> None:
    state, run_id = contended(losers=Losers.SKIP)
    ask(state, run_id, "b", "a")
    holder = shard(state, "b")
    token = attempt_of(holder).token
    assert holder_of(state, run_id, token) == holder_of(state, holder.id, token) == holder.id
    assert holder_of(state, run_id, token + 1) == run_id
    done(state, Checkpoint(holder.id, token, b"7"))
    assert (run_row(state, run_id).checkpoint, run_row(state, holder.id).checkpoint) == (b"7", b"")
    end(state, "b", AttemptState.FAILED)
    assert refused(state, Checkpoint(holder.id, token, b"8")) is Refusal.STALE_TOKEN
    assert (run_row(state, run_id).checkpoint, nodes(state, run_id)) == (b"7", ["a"])


@pytest.mark.parametrize("losers", Losers)
def test_when_the_holder_is_killed_the_next_in_line_runs_in_the_same_command(losers: Losers) -> None:
    state, run_id = contended("a", "b", losers=losers)
    ask(state, run_id, "b", "a")
    before = attempt_of(shard(state, "b")).token
    verdict = done(state, ExpireSession("id-b", 1))
    assert attempt_of(shard(state, "a")).token == verdict.index > before
    end(state, "a")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_where_everybody_who_asked_has_died_the_nodes_are_asked_anew() -> None:
    state, run_id = contended("a", "b")
    ask(state, run_id, "b")
    die(state, "a")  # before it could ask
    die(state, "b")
    assert run_row(state, run_id).state is RunState.QUEUED
    done(state, OpenSession(info("a"), 2))
    grant(state)
    assert decide(state, "id-a", 2, ()) == [Ask(run_id)]
    ask(state, run_id, "a")
    end(state, "a")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_what_may_start_once_is_not_tried_by_the_next() -> None:
    state, run_id = contended("a", "b", losers=Losers.SKIP, guarantee=Guarantee.AT_MOST_ONCE)
    ask(state, run_id, "b", "a")
    done(state, started(shard(state, "b")))
    die(state, "b")
    assert run_row(state, run_id).state is RunState.LOST
    assert states(state, run_id) == {"b": "lost", "a": "skipped"}


def test_a_session_that_has_ended_asks_for_nothing() -> None:
    state, run_id = contended("a", "b")
    done(state, OpenSession(info("a"), 2))
    assert refused(state, Contend(run_id, "id-a", 1)) is Refusal.STALE_SESSION
    assert decide(state, "id-a", 2, ()) == []  # it is another boot than the one that was asked


def test_cancelling_the_run_ends_the_line() -> None:
    state, run_id = contended()
    ask(state, run_id, "b", "a")
    done(state, CancelRun(run_id))
    assert (state.contests, states(state, run_id)) == ({}, {"a": "cancelled"})
    done(state, finished(shard(state, "b"), AttemptState.CANCELLED))
    assert run_row(state, run_id).state is RunState.CANCELLED


def test_a_thousand_kills_and_never_two_alive() -> None:
    """Whoever holds it is killed, again and again: the next in line has it, with a larger token, and it alone."""
    state, token, kills = cluster("a", "b", "c", "d", "e"), 0, 0
    put(state, mode=Mode.CONTEND)
    while kills < 1_000:
        run_id = str(done(state, RunJob("default/job")).value)
        ask(state, run_id, *"abcde")
        for last in (False, False, False, False, True):
            (holder,) = nodes(state, run_id)
            assert attempt_of(shard(state, holder)).token > token
            token = attempt_of(shard(state, holder)).token
            if last:
                done(state, finished(shard(state, holder)))
            else:
                done(state, ExpireSession(f"id-{holder}", state.members[f"id-{holder}"].session))
                kills += 1
        assert run_row(state, run_id).state is RunState.SUCCEEDED
        for name in "abcde":
            if not state.members[f"id-{name}"].open:
                done(state, OpenSession(info(name), state.members[f"id-{name}"].session + 1))
