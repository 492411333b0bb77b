"""Collector: Python's garbage collector, kept from looking through a large state again and again.

Rows are frozen and hold no cycles: what the collector finds is what the shell leaves behind, which is young. But a look
at everything takes as long as there is much, and stops the loop. So what has grown old in large numbers is put where
it is not looked at any more: a state when it was read, and later whatever made a look at everything take long.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from peercron.clock import thread_seconds

#: Allocations, less what was freed, before a look at the youngest objects; looks of the youngest before one at those
#: that outlived it; and looks at those before one at everything. Each costs some milliseconds at most.
THRESHOLDS: Final = (5_000, 10, 2)
#: A look at everything that took longer found much that stays.
LONG_S: Final = 0.004


@contextmanager
def resting() -> Iterator[None]:
    """No looks while much is made that stays; none at it afterwards."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Calm:
    """From `begin` to `end`: looks are small, and what made one take long is put aside."""

    def __init__(self, seconds: Callable[[], float] = thread_seconds) -> None:
        self._seconds = seconds
        self._began_s = 0.0
        self._before = gc.get_threshold()

    def begin(self) -> None:
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._looked)

    def end(self) -> None:
        gc.callbacks.remove(self._looked)
        gc.set_threshold(*self._before)

    def _looked(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < len(THRESHOLDS) - 1:
            return
        if phase == "start":
            self._began_s = self._seconds()
        elif self._seconds() - self._began_s > LONG_S:
            gc.freeze()
