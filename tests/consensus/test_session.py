"""A member's right to run ends for itself before it ends for the cluster, whatever clocks and messages do."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.consensus import session
from peercron.consensus.session import CLOCK_RATE_SHARE, RENEWALS_REMEMBERED, Lease, Sessions

LEASE_S = 1.0
HOLDER = ("m", 1)


@dataclass
class Leader:
    """One leader after another; `rate` is its clock's against the true one. It looks at its sessions now and then."""

    rate: float
    elected_s: float
    sessions: Sessions

    def local(self, true_s: float) -> float:
        return true_s * self.rate + 1_000

    def look(self, true_s: float, every_s: float) -> bool:
        return HOLDER in self.sessions.expired([HOLDER], self.local(true_s), every_s)


def play(seed: int, *, share: float = CLOCK_RATE_SHARE) -> tuple[float, float]:
    """(until when the holder ran by its own clock, when its work was given away), in true seconds."""
    dice = random.Random(seed)

    def rate() -> float:
        # Each off by half of what two clocks may differ.
        return dice.choice((1 - share / 2, 1, 1 + share / 2))

    member_rate, every_s = rate(), 0.05
    lease, leader = Lease(LEASE_S), Leader(rate(), 0.0, Sessions(LEASE_S))
    events: list[tuple[float, int, str, tuple[int, float]]] = []
    now_s, next_renewal_s, silent_from_s = 0.0, 0.0, dice.uniform(0.0, 4.0)
    lease.begin(0.0)
    # It is not heard for about a lease, comes back, and falls silent for good.
    back_s = silent_from_s + dice.uniform(0.9, 1.5)
    held_up, deposed = dice.choice((0, 0, 0.05)), dice.choice((0, 0, 0.02))  # how often, for a leader
    steps, ways = dice.choice((((0.01, 0.03, 0.05), (0.001, 0.02, 0.4, 3.0)), ((0.002,), (0.0001,))))
    given_s = float("inf")
    while now_s < 60:
        if now_s > silent_from_s + 8:
            held_up = deposed = 0  # all is well with the leaders from here on
        now_s += dice.choice((0.1, 0.6)) if dice.random() < held_up else dice.choice(steps)
        if dice.random() < deposed and given_s == float("inf"):
            leader = Leader(rate(), now_s, Sessions(LEASE_S))
        while next_renewal_s <= now_s:
            number = lease.renewal(next_renewal_s * member_rate, 0)
            if next_renewal_s < silent_from_s or back_s < next_renewal_s < silent_from_s + 6:
                events.append((next_renewal_s + dice.choice(ways), number, "renew", (number, 0.0)))
            next_renewal_s += 0.25
        for event in sorted(e for e in events if e[0] <= now_s):
            events.remove(event)
            _, number, kind, (_, heard_s) = event
            if kind == "renew":
                # Heard when the leader gets to it; confirmed after a round trip to a majority, if it leads still then.
                leader.sessions.heard(HOLDER, leader.local(now_s))
                proven_s = now_s + dice.choice(ways)
                events.append((proven_s, number, "proven", (number, now_s)))
            elif kind == "proven" and leader.elected_s <= heard_s and not leader.sessions.is_doomed(HOLDER):
                events.append((now_s + dice.choice(ways), number, "renewed", (number, 0.0)))
            elif kind == "renewed":
                lease.confirmed(number, now_s * member_rate, 0.0, 0)
        if leader.look(now_s, every_s):
            # The end of the session is proposed, and in the log a while later.
            given_s = min(given_s, now_s + dice.choice((0.0, 0.2, 1.0)))
        if now_s >= given_s:
            # What was confirmed and is on its way may still arrive.
            for _, number, kind, _ in sorted(events):
                if kind == "renewed":
                    lease.confirmed(number, now_s * member_rate, 0.0, 0)
            return lease.ends_s / member_rate, given_s
    raise AssertionError("a silent member's session never ended")


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.integers(0, 2**32))
def test_the_rival_never_begins_before_the_holder_ends(seed: int) -> None:
    holder_s, rival_s = play(seed)
    assert holder_s <= rival_s


def test_clocks_that_differ_by_more_than_what_is_allowed_for_are_noticed_here() -> None:
    """The property above can fail."""
    assert any(holder_s > rival_s for holder_s, rival_s in (play(seed, share=0.4) for seed in range(400)))


def rival_is_early(seeds: range) -> bool:
    return any(holder_s > rival_s for holder_s, rival_s in map(play, seeds))


def test_a_leader_that_trusts_clocks_to_run_alike_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CLOCK_RATE_SHARE", 0.0)
    assert rival_is_early(range(200))


def test_a_member_that_counts_from_the_confirmation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed = Lease.confirmed

    def later(lease: Lease, number: int, now_s: float, held_ms: float, leader_wall_ms: int) -> bool:
        known = confirmed(lease, number, now_s, held_ms, leader_wall_ms)
        lease.sent_s = now_s if known else lease.sent_s
        return known

    monkeypatch.setattr(Lease, "confirmed", later)
    assert rival_is_early(range(20))


def test_a_leader_that_confirms_what_it_has_given_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sessions, "is_doomed", lambda *_: False)
    assert rival_is_early(range(216, 217))


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    lease = Lease(LEASE_S)
    number = lease.renewal(10.0, 5_000)
    assert lease.confirmed(number, 10.4, 100.0, 5_150)
    assert lease.ends_s == 11.0
    assert lease.rtt_ms is not None
    assert round(lease.rtt_ms) == 300
    assert lease.clock_ms == 100  # 5_000 + 400 - 150 here, when it was 5_150 there


def test_an_older_confirmation_takes_nothing_back() -> None:
    lease = Lease(LEASE_S)
    first, second = lease.renewal(1.0, 0), lease.renewal(2.0, 0)
    assert lease.confirmed(second, 2.1, 0, 0)
    assert lease.confirmed(first, 2.2, 0, 0)
    assert lease.ends_s == 3.0


def test_a_confirmation_counts_once_and_only_for_what_was_sent() -> None:
    lease = Lease(LEASE_S)
    number = lease.renewal(1.0, 0)
    assert not lease.confirmed(number + 1, 1.1, 0, 0)
    assert lease.confirmed(number, 1.1, 0, 0)
    assert not lease.confirmed(number, 1.2, 0, 0)


def test_renewals_of_the_session_before_count_no_more() -> None:
    lease = Lease(LEASE_S)
    number = lease.renewal(5.0, 0)
    lease.begin(4.0)
    assert not lease.confirmed(number, 5.1, 0, 0)
    assert lease.ends_s == 5.0


def test_renewals_that_nobody_answers_are_forgotten() -> None:
    lease = Lease(LEASE_S)
    numbers = [lease.renewal(float(i), 0) for i in range(RENEWALS_REMEMBERED + 5)]
    assert not lease.confirmed(numbers[4], 99.0, 0, 0)
    assert lease.confirmed(numbers[5], 99.0, 0, 0)


def test_a_session_is_given_a_whole_lease_by_each_new_leader() -> None:
    sessions = Sessions(LEASE_S)
    assert sessions.expired([HOLDER], 100.0, 0.1) == []
    assert sessions.expired([HOLDER], 100.1, 0.1) == []
    times = [100.1 + 0.1 * i for i in range(20)]
    ended = next(at for at in times if sessions.expired([HOLDER], at, 0.1))
    assert ended > 100.0 + LEASE_S * (1 + CLOCK_RATE_SHARE)


def test_a_leader_that_was_held_up_does_not_blame_the_members() -> None:
    sessions = Sessions(LEASE_S)
    sessions.expired([HOLDER], 0.0, 0.1)
    sessions.heard(HOLDER, 0.5)
    assert sessions.expired([HOLDER], 30.0, 0.1) == []


def test_who_is_doomed_stays_so_until_it_is_gone() -> None:
    sessions = Sessions(LEASE_S)
    at = 0.0
    while not sessions.expired([HOLDER], at, 0.1):
        at += 0.1
    sessions.heard(HOLDER, at)
    assert sessions.is_doomed(HOLDER)
    assert sessions.expired([HOLDER], at, 0.1) == [HOLDER]
    assert sessions.expired([], at, 0.1) == []
    assert not sessions.is_doomed(HOLDER)
    assert not sessions.is_doomed(("m", 2))
