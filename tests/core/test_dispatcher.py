"""decide: the difference between what the state wants here and what runs here."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.commands import CancelRun, ExpireSession, OpenSession
from peercron.core.dispatcher import CANCELLED, SUPERSEDED, Announce, Forgo, Instruction, Start, Stop, decide
from peercron.core.job import Guarantee, Overlap
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from tests.core.builders import NOW, SECOND, attempt_of, cluster, done, finished, fired, info, only_run, put, started

SLOT = NOW + SECOND


def running(guarantee: Guarantee = Guarantee.AT_LEAST_ONCE) -> ClusterState:
    state = cluster("a")
    put(state, guarantee=guarantee)
    fired(state, SLOT)
    return state


def told(state: ClusterState, *here: tuple[str, int], session: int = 1) -> list[Instruction]:
    return decide(state, "id-a", session, here)


def key(state: ClusterState) -> tuple[str, int]:
    run = only_run(state)
    return run.id, attempt_of(run).token


def test_what_is_granted_and_does_not_run_is_started() -> None:
    state = running()
    run = only_run(state)
    assert run.definition is not None
    assert told(state) == [Start(run, attempt_of(run), run.definition)]
    assert told(state, key(state)) == []


def test_after_a_missed_event_the_answer_is_the_same() -> None:
    state = running()
    done(state, started(only_run(state)))
    assert [type(each) for each in told(state)] == [Start]


def test_at_most_once_is_announced_before_it_is_started() -> None:
    state = running(Guarantee.AT_MOST_ONCE)
    assert told(state) == [Announce(*key(state))]
    done(state, started(only_run(state)))
    assert [type(each) for each in told(state)] == [Start]


def test_a_cancelled_run_is_stopped_or_never_begun() -> None:
    for guarantee in Guarantee:
        state = running(guarantee)
        done(state, CancelRun(only_run(state).id))
        reason = only_run(state).reason
        assert told(state) == [Forgo(*key(state), reason)]
        assert told(state, key(state)) == [Stop(*key(state), reason)]


def test_a_cancellation_has_a_reason_even_if_nobody_gave_one() -> None:
    state = running()
    run = only_run(state)
    state.runs[run.id] = replace(run, cancel_requested=True)
    assert told(state) == [Forgo(*key(state), CANCELLED)]


def test_what_has_ended_in_the_state_is_stopped_here() -> None:
    state = running()
    here = key(state)
    done(state, finished(only_run(state), AttemptState.FAILED))
    assert told(state, here) == [Stop(*here, SUPERSEDED)]
    assert told(state) == []


def test_an_older_token_of_a_run_is_stopped_and_the_newer_started() -> None:
    state = running()
    old = key(state)
    done(state, OpenSession(info("a"), 2))
    assert [type(each) for each in told(state, old, session=2)] == [Start, Stop]
    assert told(state, old, session=2)[1] == Stop(*old, SUPERSEDED)


def test_a_session_that_is_not_the_open_one_holds_nothing() -> None:
    state = running()
    here = key(state)
    assert told(state, here, session=2) == [Stop(*here, SUPERSEDED)]
    done(state, ExpireSession("id-a", 1))
    assert told(state, here) == [Stop(*here, SUPERSEDED)]
    assert decide(state, "id-nobody", 1, ()) == []


def test_instructions_come_in_the_order_of_the_grants() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.ALLOW)
    for n in range(1, 6):
        fired(state, NOW + n * SECOND)
    tokens = [each.attempt.token for each in told(state) if isinstance(each, Start)]
    assert len(tokens) == 5
    assert tokens == sorted(tokens)
