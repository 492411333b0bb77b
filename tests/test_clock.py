"""The manual clock moves only when told, and the system clock is the machine's."""

from __future__ import annotations

import time

import pytest

from peercron.clock import ManualClock, SystemClock


def test_both_times_move_together() -> None:
    clock = ManualClock(monotonic=5.0, wall_ms=1_000)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall_ms()) == (7.5, 3_500)


def test_many_small_steps_lose_no_time() -> None:
    clock = ManualClock()
    for _ in range(10_000):
        clock.advance(0.0001)
    assert clock.wall_ms() == 1_000


def test_a_step_of_the_wall_clock_takes_no_time() -> None:
    clock = ManualClock(wall_ms=1_000)
    clock.step_wall(-400)
    assert (clock.monotonic(), clock.wall_ms()) == (0.0, 600)


def test_monotonic_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)


def test_the_system_clock_reads_the_machine() -> None:
    before = (time.monotonic(), time.time_ns() // 1_000_000)
    now = (SystemClock().monotonic(), SystemClock().wall_ms())
    after = (time.monotonic(), time.time_ns() // 1_000_000)
    assert before[0] <= now[0] <= after[0]
    assert before[1] <= now[1] <= after[1]
