"""Mode turns: the head of the line runs and goes to the back; who is dead has no place, and comes back at the end."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from peercron.core.commands import DeleteJob, ExpireSession, OpenSession, PutJob, RunJob
from peercron.core.job import Mode
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    definition,
    done,
    entries,
    finished,
    fired,
    info,
    job,
    node_of,
    only_run,
    put,
)


def takers(state: ClusterState, count: int) -> list[str]:
    """Who had each of the next slots."""
    had = []
    for _ in range(count):
        done(state, RunJob("default/job"))
        run = only_run(state)
        had.append(node_of(state, run))
        done(state, finished(run))
    return had


def line(state: ClusterState) -> list[str]:
    return [state.members[place.member].info.name for place in state.turns[job(state).uid]]


def test_each_has_its_turn_in_the_order_in_which_they_came() -> None:
    state = cluster("b", "a", "c")
    put(state, mode=Mode.TURNS)
    assert takers(state, 7) == ["b", "a", "c", "b", "a", "c", "b"]
    assert line(state) == ["a", "c", "b"]


def test_the_attempt_says_why_it_is_there_and_who_is_next() -> None:
    state = cluster("a", "b", "c")
    put(state, mode=Mode.TURNS)
    fired(state, NOW + SECOND)
    assert attempt_of(only_run(state)).why == "head of the line of 3; next is b"


def test_a_thousand_slots_over_five_nodes_differ_by_at_most_one() -> None:
    state = cluster("a", "b", "c", "d", "e")
    put(state, mode=Mode.TURNS)
    for n in range(1, 1_001):
        fired(state, NOW + n * SECOND)
        done(state, finished(only_run(state)), NOW + n * SECOND)
    shares = Counter(entry.member for entry in entries(state).values())
    assert max(shares.values()) - min(shares.values()) <= 1
    assert sum(shares.values()) == 1_000


def test_a_newcomer_joins_at_the_end() -> None:
    state = cluster("a", "b")
    put(state, mode=Mode.TURNS)
    assert takers(state, 1) == ["a"]
    done(state, OpenSession(info("c"), 1))
    assert takers(state, 4) == ["b", "a", "c", "b"]


def test_a_dead_node_leaves_the_line_and_joins_at_its_end_when_it_is_back() -> None:
    state = cluster("a", "b", "c")
    put(state, mode=Mode.TURNS)
    assert takers(state, 1) == ["a"]
    done(state, ExpireSession("id-b", 1))
    assert takers(state, 1) == ["c"]
    done(state, OpenSession(info("b"), 2))
    assert takers(state, 4) == ["a", "c", "b", "a"]


def test_a_node_that_was_dead_between_two_slots_has_lost_its_place_too() -> None:
    state = cluster("a", "b", "c")
    put(state, mode=Mode.TURNS)
    assert takers(state, 1) == ["a"]
    done(state, OpenSession(info("b"), 2))  # it was its turn next, and it has just come back from the dead
    assert takers(state, 3) == ["c", "a", "b"]


def test_what_the_head_lost_is_done_by_the_next() -> None:
    state = cluster("a", "b")
    put(state, mode=Mode.TURNS)
    done(state, RunJob("default/job"))
    done(state, ExpireSession("id-a", 1))
    assert node_of(state, only_run(state)) == "b"
    done(state, finished(only_run(state), AttemptState.SUCCEEDED))


def test_the_line_goes_with_the_job_and_with_the_mode() -> None:
    state = cluster("a", "b")
    put(state, mode=Mode.TURNS)
    takers(state, 1)
    done(state, PutJob(definition()))
    assert state.turns == {}
    put(state, mode=Mode.TURNS)
    takers(state, 1)
    done(state, DeleteJob("default/job"))
    assert state.turns == {}


@pytest.mark.parametrize("seed", range(10))
def test_while_nobody_comes_or_goes_shares_differ_by_at_most_one(seed: int) -> None:
    """Also after any history of deaths and returns: from then on it is fair again."""
    dice, state = Random(seed), cluster("a", "b", "c", "d", "e")
    put(state, mode=Mode.TURNS)
    sessions = dict.fromkeys("abcde", 1)
    for _ in range(100):
        name = dice.choice("abcde")
        member = state.members[f"id-{name}"]
        if member.open and sum(other.open for other in state.members.values()) > 1 and dice.random() < 0.5:
            done(state, ExpireSession(f"id-{name}", sessions[name]))
        elif not member.open:
            sessions[name] += 1
            done(state, OpenSession(info(name), sessions[name]))
        takers(state, dice.randrange(4))
    here = [member.info.name for member in state.members.values() if member.open]
    shares = Counter(takers(state, 50))
    assert set(shares) == set(here)
    assert max(shares.values()) - min(shares.values()) <= 1
