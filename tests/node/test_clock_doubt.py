"""Whose clock is in doubt: the wrong one, where that can be known; both, where it cannot."""

from __future__ import annotations

from peercron.consensus.clocks import FRESH_S, Clocks
from peercron.core.limits import CLOCK_BOUND_MS
from peercron.node.clock_doubt import ClockDoubt

START_MS = 1_800_000_000_000


class Pair:
    """Nodes that hear each other's clocks every second, until they do not."""

    def __init__(self, *ahead_ms: int) -> None:
        self.ahead_ms = list(ahead_ms)
        self.clocks = [Clocks() for _ in ahead_ms]
        self.doubts = [ClockDoubt(clocks) for clocks in self.clocks]
        self.now_s = 0.0

    def wall_ms(self, n: int) -> int:
        return START_MS + round(self.now_s * 1000) + self.ahead_ms[n]

    def look(self, seconds: float = 3 * FRESH_S, *, cut: tuple[int, ...] = ()) -> list[str]:
        """What each says after that time; whoever is cut neither hears nor is heard."""
        end_s = self.now_s + seconds
        said: list[str] = []
        while self.now_s < end_s:
            self.now_s += 1.0
            for n, clocks in enumerate(self.clocks):
                clocks.read(self.wall_ms(n), self.now_s)
                for peer in range(len(self.clocks)):
                    if peer == n:
                        continue
                    if n in cut or peer in cut:
                        clocks.forget(str(peer))
                    else:
                        clocks.told(str(peer), self.wall_ms(peer), self.now_s)
            said = [doubt.look(self.wall_ms(n), START_MS) for n, doubt in enumerate(self.doubts)]
        return said


def test_who_is_far_from_the_median_of_all_is_in_doubt() -> None:
    assert Pair(0, 3_000, 10).look()[0::2] == ["", ""]
    assert Pair(0, 3_000, 10).look()[1] == "its clock is 2990 ms off the median of all"


def test_two_that_agree_are_both_right() -> None:
    assert Pair(0, CLOCK_BOUND_MS - 50).look() == ["", ""]


def test_of_two_the_one_whose_clock_was_set_is_in_doubt() -> None:
    for step_ms in (5_000, -5_000):
        pair = Pair(0, 0)
        pair.look()
        pair.ahead_ms[1] += step_ms
        sound, wrong = pair.look()
        assert sound == ""
        assert wrong == "its clock and that of the only other node are 5000 ms apart, and its own was set"
        pair.ahead_ms[1] -= step_ms
        assert pair.look() == ["", ""]


def test_of_two_that_never_agreed_both_are_in_doubt() -> None:
    said = Pair(0, 2_000).look()
    why = "its clock and that of the only other node are 2000 ms apart, and nobody can say which is wrong"
    assert said == [why, why]


def test_of_two_that_crept_apart_both_are_in_doubt() -> None:
    pair = Pair(0, 0)
    for seconds in range(1, 200):
        pair.ahead_ms[1] += 20
        said = pair.look(1.0)
        # Seen late, by as much as a measurement counts.
        if 20 * seconds > CLOCK_BOUND_MS + 20 * (FRESH_S + 1):
            assert all("nobody can say which is wrong" in each for each in said), seconds


def test_who_is_left_alone_goes_on_with_what_it_knew_last() -> None:
    pair = Pair(0, 0)
    pair.look()
    assert pair.look(3_600, cut=(1,)) == ["", ""]
    pair.ahead_ms[0] += 1_500
    alone, _ = pair.look(3_600, cut=(1,))
    assert alone == "its clock is 1500 ms off what it last agreed on"
    pair.ahead_ms[0] -= 1_500
    assert pair.look(10, cut=(1,))[0] == ""


def test_who_was_wrong_is_wrong_alone_too_and_who_was_right_is_right() -> None:
    pair = Pair(0, 0)
    pair.look()
    pair.ahead_ms[1] += 4_000
    pair.look()
    sound, wrong = pair.look(60, cut=(1,))
    assert sound == ""
    assert wrong == "its clock is 4000 ms off what it last agreed on"
    of_three = Pair(0, 0, 9_000)
    of_three.look()
    assert of_three.look(60, cut=(2,))[2] == "its clock is 9000 ms off what it last agreed on"


def test_who_was_never_heard_is_believed() -> None:
    assert Pair(70_000).look() == [""]


def test_a_clock_that_stands_before_what_has_been_is_wrong() -> None:
    doubt = ClockDoubt(Clocks())
    assert doubt.look(START_MS - 5_000, START_MS) == "its clock is 5000 ms before what was"
    assert doubt.look(START_MS - CLOCK_BOUND_MS, START_MS) == ""
