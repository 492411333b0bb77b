"""Checkpoints: the living attempt says how far the run is, and the next one begins there."""

from __future__ import annotations

from peercron.core.commands import CancelRun, Checkpoint, ExpireSession, RunJob
from peercron.core.limits import CHECKPOINT_BYTES_MAX
from peercron.core.run import AttemptState, Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import attempt_of, cluster, done, finished, only_run, put, refused, run_row, started


def running(*nodes: str) -> tuple[ClusterState, Run]:
    state = cluster(*nodes)
    put(state)
    done(state, RunJob("default/job"))
    done(state, started(only_run(state)))
    return state, only_run(state)


def say(run: Run, data: bytes) -> Checkpoint:
    return Checkpoint(run.id, attempt_of(run).token, data)


def test_the_last_word_counts() -> None:
    state, run = running("a")
    for data in (b"1", b"2"):
        done(state, say(run, data))
    assert only_run(state).checkpoint == b"2"


def test_the_next_attempt_finds_it_and_goes_on_from_there() -> None:
    state, run = running("a", "b")
    done(state, say(run, b"7"))
    done(state, ExpireSession(attempt_of(run).member, 1))
    heir = only_run(state)
    assert (attempt_of(heir).n, heir.checkpoint) == (2, b"7")


def test_a_superseded_attempt_changes_nothing() -> None:
    state, run = running("a", "b")
    done(state, say(run, b"7"))
    done(state, ExpireSession(attempt_of(run).member, 1))
    assert refused(state, say(run, b"stale")) is Refusal.STALE_TOKEN
    done(state, say(only_run(state), b"8"))
    assert only_run(state).checkpoint == b"8"


def test_it_ends_with_the_run() -> None:
    state, run = running("a")
    done(state, say(run, b"7"))
    done(state, finished(only_run(state)))
    assert run_row(state, run.id).checkpoint == b""
    assert refused(state, say(run, b"8")) is Refusal.STALE_TOKEN


def test_a_run_that_is_being_cancelled_may_still_say_how_far_it_came() -> None:
    state, run = running("a")
    done(state, CancelRun(run.id))
    done(state, say(run, b"7"))
    done(state, finished(only_run(state), AttemptState.CANCELLED))
    assert run_row(state, run.id).state.value == "cancelled"


def test_it_has_a_bound() -> None:
    state, run = running("a")
    done(state, say(run, b"x" * CHECKPOINT_BYTES_MAX))
    assert refused(state, say(run, b"x" * (CHECKPOINT_BYTES_MAX + 1))) is Refusal.LIMIT
    assert len(only_run(state).checkpoint) == CHECKPOINT_BYTES_MAX
