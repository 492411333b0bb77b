"""A wall clock that is wrong or that is set, against the clocks of the peers."""

from __future__ import annotations

import pytest

from peercron.consensus.clocks import CLOCK_BOUND_MS, FRESH_S, Clocks

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
