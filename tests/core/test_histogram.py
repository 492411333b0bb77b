"""Values by their bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peercron.core.histogram import Histogram

BOUNDS = (10, 100, 1_000)


@given(st.lists(st.integers(min_value=0, max_value=5_000)))
def test_counts_are_those_of_a_twin_that_keeps_every_value(values: list[int]) -> None:
    seen = Histogram(BOUNDS)
    for value in values:
        seen.observe(value)
    below = [sum(value <= bound for value in values) for bound in BOUNDS]
    assert [sum(seen.counts[: n + 1]) for n in range(len(BOUNDS))] == below
    assert (seen.count, seen.sum) == (len(values), sum(values))
