"""A proposal is applied once, whoever repeats it, and only for the session that is open."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core import apply as applying
from peercron.core.apply import apply_proposal
from peercron.core.commands import Command, ExpireSession, OpenSession, Proposal, PutKey, RunJob
from peercron.core.limits import RESULTS_PER_SESSION_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict
from tests.core.builders import NOW, cluster, code, done, info, put


def propose(state: ClusterState, seq: int, command: Command, *, session: int = 1, floor: int = 0) -> Verdict:
    return apply_proposal(state, Proposal("id-a", session, seq, floor, command), NOW)


def write(value: bytes = b"v") -> PutKey:
    return PutKey("default", "k", value)


def test_a_retry_gets_the_first_answer_and_changes_nothing() -> None:
    state = cluster("a")
    put(state)
    first = propose(state, 1, RunJob("default/job"))
    index = state.index
    assert propose(state, 1, RunJob("default/job")) == first
    assert state.index == index
    assert len(state.runs) == 1


def test_a_refusal_is_remembered_too() -> None:
    state = cluster("a")
    first = propose(state, 1, RunJob("default/job"))
    put(state)
    assert code(first) is Refusal.NOT_FOUND
    assert propose(state, 1, RunJob("default/job")) == first


def test_who_is_no_member_or_of_another_session_is_refused() -> None:
    state = cluster("a")
    index = state.index
    assert code(apply_proposal(state, Proposal("id-z", 1, 1, 0, write()), NOW)) is Refusal.STALE_SESSION
    assert code(propose(state, 1, write(), session=2)) is Refusal.STALE_SESSION
    assert state.index == index
    assert not state.keys


def test_an_expired_session_is_answered_what_it_has_done_and_nothing_new() -> None:
    state = cluster("a")
    first = propose(state, 1, write())
    done(state, ExpireSession("id-a", 1))
    assert propose(state, 1, write()) == first
    assert code(propose(state, 2, write())) is Refusal.STALE_SESSION


def test_a_new_session_begins_its_own_numbers() -> None:
    state = cluster("a")
    propose(state, 1, write(b"old"), floor=1)
    assert isinstance(propose(state, 1, OpenSession(info("a"), 2), session=2), Done)
    assert isinstance(propose(state, 2, write(b"new"), session=2), Done)
    assert state.keys["default"]["k"].value == b"new"
    assert code(propose(state, 1, write(b"old"))) is Refusal.STALE_SESSION


def test_answers_below_the_floor_are_forgotten_and_never_applied_again() -> None:
    state = cluster("a")
    for seq in range(1, 6):
        propose(state, seq, write())
    propose(state, 6, write(), floor=5)
    assert sorted(state.results["id-a"]) == [5, 6]
    assert code(propose(state, 3, write(b"again"), floor=5)) is Refusal.STALE_SESSION
    assert state.keys["default"]["k"].value == b"v"


def test_a_floor_that_leaps_costs_no_more_than_what_is_kept() -> None:
    state = cluster("a")
    propose(state, 1, write())
    assert isinstance(propose(state, 10**15, write(), floor=10**15), Done)
    assert list(state.results["id-a"]) == [10**15]


def test_a_floor_above_the_proposal_itself_does_not_forget_its_answer() -> None:
    state = cluster("a")
    first = propose(state, 7, write(), floor=100)
    assert propose(state, 7, write(), floor=100) == first


def test_a_sender_that_never_fetches_its_answers_is_stopped() -> None:
    state = cluster("a")
    for seq in range(RESULTS_PER_SESSION_MAX):
        assert isinstance(propose(state, seq, write()), Done)
    assert code(propose(state, RESULTS_PER_SESSION_MAX, write())) is Refusal.LIMIT
    assert code(propose(state, RESULTS_PER_SESSION_MAX, OpenSession(info("a"), 1))) is Refusal.LIMIT
    assert isinstance(propose(state, RESULTS_PER_SESSION_MAX, write(), floor=9), Done)
    assert isinstance(propose(state, 1, OpenSession(info("a"), 2), session=2), Done)


def test_the_first_command_of_a_session_is_its_opening_and_may_be_repeated() -> None:
    state = ClusterState()
    first = propose(state, 1, OpenSession(info("a"), 1))
    assert isinstance(first, Done)
    assert propose(state, 1, OpenSession(info("a"), 1)) == first
    assert isinstance(propose(state, 2, OpenSession(info("a"), 1)), Done)
    assert state.index == 2


def test_nobody_opens_a_session_for_another() -> None:
    state = ClusterState()
    assert code(propose(state, 1, OpenSession(info("b"), 1))) is Refusal.INVALID
    assert code(propose(state, 1, OpenSession(info("a"), 2))) is Refusal.INVALID
    assert not state.members


def deliver(dice: Random, state: ClusterState, sent: list[Proposal]) -> list[tuple[Proposal, Verdict]]:
    """Every proposal at least once, in any order, some often."""
    queue = [*sent, *(dice.choice(sent) for _ in range(2 * len(sent)))]
    dice.shuffle(queue)
    return [(proposal, apply_proposal(state, proposal, NOW)) for proposal in queue]


def applied_twice(dice: Random) -> bool:
    """Whether repeats in any order make more keys than there were writes, or an answer that differs from the first."""
    state = cluster("a")
    sent = [Proposal("id-a", 1, seq, 0, PutKey("default", f"k{seq}", b"", if_revision=0)) for seq in range(12)]
    answers: dict[int, Verdict] = {}
    told = deliver(dice, state, sent)
    same = all(answers.setdefault(proposal.seq, verdict) == verdict for proposal, verdict in told)
    return not same or state.index != 1 + len(sent) or any(isinstance(verdict, Refused) for verdict in answers.values())


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_repeats_in_any_order_are_applied_once(dice: Random) -> None:
    assert not applied_twice(dice)


def test_without_the_table_repeats_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def plainly(state: ClusterState, proposal: Proposal, now_ms: int) -> Verdict:
        return applying.apply(state, proposal.command, now_ms)

    monkeypatch.setitem(globals(), "apply_proposal", plainly)
    assert applied_twice(Random(0))
