"""loop: an event loop under a clock that stands still while somebody works and leaps when everybody waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from peercron.clock import ManualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Stuck(Exception):
    """The job waits for something that cannot come: no time-out is set, no thread works, no file is open."""


class _Selector(selectors.DefaultSelector):
    """Waits by turning the clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        #: Threads that work: what they do takes real time.
        self.threads = 0
        #: Called once, when all that can be done at this instant is done.
        self.at_rest: list[Callable[[], None]] = []

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.threads:
            ready = super().select(timeout)
        elif self.at_rest:
            self.at_rest.pop()()
            return []
        elif timeout is None:
            # One descriptor is the loop's own, by which threads wake it.
            if len(self.get_map()) <= 1:
                raise Stuck("the job waits for something that cannot come")
            return super().select()
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the clock's. Whoever sleeps in it sleeps no real time."""

    def __init__(self, clock: ManualClock) -> None:
        self._turned = _Selector(clock)
        self._wheel = clock
        super().__init__(self._turned)

    def time(self) -> float:
        return self._wheel.monotonic()

    async def rest(self) -> None:
        """Until all that can be done at this instant is done: everybody else waits for a time or for somebody."""
        rested = self.create_future()
        self._turned.at_rest.append(lambda: rested.set_result(None))
        await rested

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        work = super().run_in_executor(executor, func, *args)
        self._turned.threads += 1
        work.add_done_callback(self._thread_ended)
        return work

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._turned.threads -= 1
