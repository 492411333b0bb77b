"""Who may stand and who may be voted for, by itself; what the replica makes of it is in test_replica.py."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from peercron.consensus.election import RANK_DELAY_S, RANK_JITTER_S, REGRET_S, RETRY_SHARE, SPLIT_DELAY_S, Election

MIN_S = 0.3


def election(*peers: str) -> Election:
    return Election(MIN_S, random.Random(1), peers)


def test_one_who_is_alone_stands_at_once() -> None:
    assert election().may_stand(0.0, transferring=False) == (True, None)


@pytest.mark.parametrize(("peers", "needed"), [("b", 1), ("bc", 1), ("bcd", 2), ("bcde", 2)])
def test_a_majority_of_all_must_have_said_yes(peers: str, needed: int) -> None:
    standing = election(*peers)
    stand, number = standing.may_stand(0.0, transferring=False)
    assert (stand, number) == (False, 1)
    assert number is not None
    answers = [standing.granted(peer, number) for peer in [peers[0], peers[0], *peers[1:]]]
    # One who says it twice is one.
    assert answers.index(True) == (needed if needed > 1 else 0)
    assert standing.may_stand(0.1, transferring=False) == (True, None)


def test_a_yes_to_an_earlier_round_counts_for_nothing() -> None:
    standing = election("b", "c")
    standing.may_stand(0.0, transferring=False)
    standing.may_stand(1.0, transferring=False)
    assert not standing.granted("b", 1)
    assert standing.granted("b", 2)


def test_a_yes_from_before_a_leader_was_heard_counts_for_nothing() -> None:
    standing = election("b", "c")
    standing.may_stand(0.0, transferring=False)
    standing.heard_leader(0.1)
    assert not standing.granted("b", 1)
    standing.may_stand(1.0, transferring=False)
    standing.granted("b", 2)
    standing.heard_leader(1.1)
    assert standing.may_stand(1.2, transferring=False)[0] is False


def test_rounds_are_not_repeated_faster_than_others_can_answer() -> None:
    standing = election("b", "c")
    times = [step / 1_000 for step in range(2_000)]
    begun = [now_s for now_s in times if standing.may_stand(now_s, transferring=False)[1] is not None]
    assert len(begun) > 5
    for before, after in pairwise(begun):
        assert MIN_S * RETRY_SHARE[0] <= after - before <= MIN_S * RETRY_SHARE[1] + 0.002


def test_who_is_asked_to_take_over_needs_no_round_and_says_so_once() -> None:
    standing = election("b", "c")
    assert standing.may_stand(0.0, transferring=True) == (True, None)
    assert standing.transfer
    standing.may_stand(1.0, transferring=False)
    standing.granted("b", 1)
    assert standing.may_stand(1.1, transferring=False) == (True, None)
    assert not standing.transfer


def test_after_the_leaders_end_members_stand_one_after_another() -> None:
    names = ("a", "b", "c", "d", "e")
    delays = []
    for me in ("a", "b", "d", "e"):
        one = Election(MIN_S, random.Random(5), tuple(n for n in names if n != me), names)
        one.heard_leader(9.9)
        delays.append(one.lost_leader(me, "c", 10.0) - 10.0)
        assert not one.hears_leader(10.0)
    for rank, delay in enumerate(delays):
        assert rank * RANK_DELAY_S <= delay <= rank * RANK_DELAY_S + RANK_JITTER_S
    assert RANK_JITTER_S < RANK_DELAY_S


def test_a_split_vote_is_repeated_within_milliseconds() -> None:
    assert SPLIT_DELAY_S[0] <= election("b").split_retry_at(0.0) <= SPLIT_DELAY_S[1] < MIN_S


def test_a_leader_is_heard_for_the_least_time_out() -> None:
    one = election("b", "c")
    one.heard_leader(5.0)
    assert one.hears_leader(5.0 + MIN_S - 0.001)
    assert not one.hears_leader(5.0 + MIN_S + 0.001)


def test_one_vote_counts_per_member_and_term() -> None:
    one = election("b", "c")
    assert one.first_vote(3, "b")
    assert not one.first_vote(3, "b")
    assert one.first_vote(3, "c")
    assert one.first_vote(4, "b")


def test_a_refusal_is_regretted_once_and_soon() -> None:
    one = election("b", "c")
    one.refuse_for_now("b", {"term": 4}, 1.0)
    assert one.regretted(1.0 + REGRET_S / 2) == ("b", {"term": 4})
    assert one.regretted(1.0 + REGRET_S / 2) is None
    one.refuse_for_now("b", {"term": 4}, 1.0)
    assert one.regretted(1.0 + REGRET_S * 1.1) is None


def test_only_a_log_at_least_as_new_is_voted_for() -> None:
    one = election("b", "c")
    for theirs, expected in (((2, 5), True), ((2, 6), True), ((3, 1), True), ((2, 4), False), ((1, 99), False)):
        assert one.would_vote("b", 9, (2, 5), theirs, doubt=False) is expected


def test_in_doubt_a_vote_needs_word_of_every_other_member() -> None:
    one = election("b", "c", "d")
    mine, theirs = (2, 5), (2, 8)
    assert not one.would_vote("b", 9, mine, theirs, doubt=True)
    one.told["c"] = ((2, 8), 3)
    assert not one.would_vote("b", 9, mine, theirs, doubt=True)
    one.told["d"] = ((2, 7), 8)
    assert one.would_vote("b", 9, mine, theirs, doubt=True)
    # Somebody's log is newer: what we forgot may be there.
    one.told["d"] = ((2, 9), 8)
    assert not one.would_vote("b", 9, mine, theirs, doubt=True)
    # Somebody is in that term already: we may have voted in it.
    one.told["d"] = ((2, 7), 9)
    assert not one.would_vote("b", 9, mine, theirs, doubt=True)


def test_in_doubt_one_trusts_not_even_itself() -> None:
    one = election("b", "c")
    assert not one.would_vote("a", 9, (2, 5), (2, 5), doubt=True)
    one.told.update(b=((2, 5), 3), c=((2, 4), 3))
    assert one.would_vote("a", 9, (2, 5), (2, 5), doubt=True)
