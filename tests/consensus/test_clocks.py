"""A wall clock that is wrong or that is set, against the clocks of the peers."""

from __future__ import annotations

import pytest

from peercron.consensus.clocks import CLOCK_BOUND_MS, FRESH_S, KNOWN_MAX, Clocks, Moved

NOON_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def three_in_step(now_s: float = 100.0) -> Clocks:
    clocks = Clocks()
    clocks.read(NOON_MS, now_s)
    for peer in ("b", "c"):
        clocks.told(peer, NOON_MS, now_s)
    return clocks


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, CLOCK_BOUND_MS + 1])
def test_a_clock_that_is_set_is_suspect_at_once_and_its_stamps_go_by_the_others(step_ms: int) -> None:
    clocks = three_in_step()
    clocks.read(NOON_MS + 10 + step_ms, 100.01)
    assert clocks.suspect
    assert clocks.deviation_ms() == step_ms
    assert clocks.stamp_ms(100.01) == NOON_MS + 10


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
def test_where_all_are_set_together_the_next_messages_clear_it(step_ms: int) -> None:
    """Nodes on one host, or a laptop that wakes: what the peers said before is worth nothing."""
    clocks = three_in_step()
    clocks.read(NOON_MS + 10 + step_ms, 100.01)
    for peer in ("b", "c"):
        clocks.told(peer, NOON_MS + 20 + step_ms, 100.02)
    assert not clocks.suspect


def test_a_wrong_clock_that_is_set_right_is_trusted_at_once() -> None:
    clocks = Clocks()
    clocks.read(NOON_MS + HOUR_MS, 100.0)
    for peer in ("b", "c"):
        clocks.told(peer, NOON_MS, 100.0)
    assert clocks.suspect
    clocks.read(NOON_MS + 10, 100.01)
    assert not clocks.suspect


def test_many_looks_within_a_millisecond_move_nothing() -> None:
    clocks = three_in_step()
    for tenths in range(1, int(2 * FRESH_S) * 10_000, 4):
        clocks.read(NOON_MS + tenths // 10, 100.0 + tenths / 10_000)
    assert abs(clocks.deviation_ms()) <= 1


def test_two_clocks_cannot_tell_which_is_wrong() -> None:
    clocks = Clocks()
    clocks.read(NOON_MS, 100.0)
    clocks.told("b", NOON_MS + HOUR_MS, 100.0)
    assert not clocks.suspect


# Two clocks.


class Two:
    """Our clock and that of the only other node, which speaks every second while it is there."""

    def __init__(self, *, apart_ms: int = 0) -> None:
        self.clocks, self.now_s = Clocks(), 100.0
        self.ours_ms, self.theirs_ms = apart_ms, 0
        self.go_on(3)

    def go_on(self, seconds: int, *, heard: bool = True) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            self.clocks.read(self.true_ms + self.ours_ms, self.now_s)
            if heard:
                self.clocks.told("b", self.true_ms + self.theirs_ms, self.now_s)

    def set_ours(self, step_ms: int) -> None:
        """Seen at once, before anybody says anything."""
        self.ours_ms += step_ms
        self.clocks.read(self.true_ms + self.ours_ms, self.now_s)

    @property
    def true_ms(self) -> int:
        return NOON_MS + round(self.now_s * 1_000)

    @property
    def stamp_ms(self) -> int:
        """By how much a stamp of the log is ahead of true time."""
        return self.clocks.stamp_ms(self.now_s) - self.true_ms


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, CLOCK_BOUND_MS + 1])
def test_of_two_whose_clock_was_set_stamps_with_the_other_s_until_they_agree(step_ms: int) -> None:
    """What is in the log is time that has been: a leap that gets there stays until true time has caught up."""
    two = Two()
    two.set_ours(step_ms)
    assert (two.clocks.moved(), two.stamp_ms) == (Moved.OURS, 0)
    two.go_on(60)
    assert (two.clocks.moved(), two.stamp_ms) == (Moved.OURS, 0)
    two.set_ours(-step_ms)
    assert (two.clocks.moved(), two.stamp_ms) == (None, 0)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
def test_of_two_who_saw_the_other_leap_stamps_with_its_own(step_ms: int) -> None:
    two = Two()
    two.theirs_ms += step_ms
    two.go_on(2 + int(FRESH_S))
    assert (two.clocks.moved(), two.stamp_ms) == (Moved.THEIRS, 0)


def test_of_two_that_were_both_set_and_do_not_agree_nobody_can_say() -> None:
    two = Two()
    two.theirs_ms += 10_000
    two.go_on(2)
    two.set_ours(60_000)
    assert (two.clocks.moved(), two.stamp_ms) == (Moved.UNKNOWN, 60_000)
    two.theirs_ms += 50_000
    two.go_on(2)
    assert two.clocks.moved() is None, "they were set together, and agree"


def test_two_that_crept_apart_did_not_leap_however_far_they_get() -> None:
    """Or each would think that the other has, and both go on."""
    for direction in (1, -1):
        two = Two()
        for _ in range(200):
            two.theirs_ms += 20 * direction
            two.go_on(1)
        assert two.clocks.moved() is Moved.UNKNOWN


def test_two_that_met_again_after_long_may_have_crept_and_after_a_moment_have_not() -> None:
    for away_s, moved in ((1_000, Moved.UNKNOWN), (10, Moved.THEIRS)):
        two = Two()
        two.clocks.forget("b")
        two.go_on(away_s, heard=False)
        two.theirs_ms += 5_000
        two.go_on(1)
        assert two.clocks.moved() is moved


def test_who_was_just_started_has_agreed_with_nobody() -> None:
    two = Two(apart_ms=5_000)
    assert (two.clocks.moved(), two.stamp_ms) == (Moved.NEVER_AGREED, 5_000)
    two.set_ours(-5_000)
    two.go_on(1)
    two.set_ours(5_000)
    assert two.clocks.moved() is Moved.OURS


def test_of_many_peers_that_come_and_go_those_met_last_are_known() -> None:
    clocks = Clocks()
    clocks.read(NOON_MS, 100.0)
    peers = [f"p{n}" for n in range(KNOWN_MAX + 1)]
    for peer in peers:
        clocks.told(peer, NOON_MS + HOUR_MS, 100.0)
    for peer in peers[1:]:
        clocks.forget(peer)
    assert (clocks.only_other, clocks.moved()) == (None, None)
    clocks.told("p0", NOON_MS + HOUR_MS, 100.0)
    assert clocks.moved() is Moved.NEVER_AGREED


def test_a_leap_gets_nowhere_either_while_the_other_is_away_for_a_moment() -> None:
    """A leader that lost its only peer may write for a moment yet, and when that is back it is committed."""
    two = Two()
    two.clocks.forget("b")
    two.set_ours(HOUR_MS)
    assert two.stamp_ms == 0
    two.go_on(int(FRESH_S), heard=False)
    assert two.stamp_ms == HOUR_MS, "for good, its own clock is all that there is"


def test_of_three_of_which_one_went_the_one_that_was_set_still_knows() -> None:
    clocks = three_in_step()
    clocks.read(NOON_MS + 10 + HOUR_MS, 100.01)
    clocks.forget("c")
    assert (clocks.moved(), clocks.stamp_ms(100.01)) == (Moved.OURS, NOON_MS + 10)
