"""Tries: whoever lives has the time to say that it cannot, and a definite no is not lost."""

from __future__ import annotations

import pytest

from peercron.client.tries import Tries
from peercron.errors import NoLeader, Unreachable

TURN = ("a", "b", "c")


def test_the_time_is_shared_by_those_that_may_hang() -> None:
    tries = Tries(10.0, 6.0)
    assert tries.share_s(TURN, 10.0, 3) == 2.0
    assert tries.share_s(TURN, 10.0, 2) == 3.0, "by the first with one other, where that is enough"
    assert tries.share_s(TURN, 10.0, 1) == 6.0, "or by none"
    assert tries.share_s(TURN[2:], 14.0, 3) == 2.0, "the last has what is left"


def test_nothing_is_kept_for_who_was_not_there() -> None:
    tries = Tries(10.0, 6.0)
    tries.failed("b", Unreachable(), 0.001)
    tries.failed("c", Unreachable(), 2.0)
    assert tries.share_s(TURN, 10.0, 3) == 3.0, "c hung"
    tries.failed("c", Unreachable(), 0.001)
    assert tries.share_s(TURN, 10.0, 3) == 6.0


def test_there_is_hope_as_long_as_one_of_them_only_had_too_little_time() -> None:
    tries = Tries(10.0, 6.0)
    tries.failed("a", Unreachable(), 2.0)
    tries.failed("b", Unreachable(), 0.001)
    assert not tries.in_vain(("a", "b"))
    tries.failed("a", Unreachable(), 0.001)
    assert tries.in_vain(("a", "b"))
    tries.failed("a", NoLeader(), 0.001)
    assert not tries.in_vain(("a", "b"))


def test_who_has_answered_has_the_time_to_do_so_again() -> None:
    tries = Tries(10.0, 6.0)
    tries.failed("a", NoLeader(), 1.2)
    assert tries.share_s(TURN, 13.0, 3) == 1.5
    assert tries.share_s(TURN, 13.0, 1) == 3.0
    assert tries.share_s(TURN, 15.5, 3) == 0.5, "of what is left"


@pytest.mark.parametrize(("timeout_s", "over_s"), [(6.0, 4.5), (0.4, 0.2)])
def test_no_answer_is_waited_for_that_cannot_come_in_time_once_there_is_one(timeout_s: float, over_s: float) -> None:
    tries = Tries(0.0, timeout_s)
    assert not tries.is_over(timeout_s - 0.01)
    tries.failed("a", NoLeader("why"), 0.0)
    tries.failed("b", Unreachable("gone"), 0.0)
    assert str(tries.told) == "why"
    assert not tries.is_over(over_s - 0.01)
    assert tries.is_over(over_s + 0.01)
