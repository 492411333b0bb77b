"""Histogram: how many values were how large, in a few numbers that never grow."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values by the first bound that is not below them.

    Args:
        bounds: ascending; what is larger than the last has a place of its own.

    >>> lateness = Histogram((10, 100))
    >>> for value_ms in (3, 10, 11, 5_000):
    ...     lateness.observe(value_ms)
    >>> lateness.counts, lateness.sum
    ([2, 1, 1], 5024)
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)
