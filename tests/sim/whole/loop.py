"""Loop: virtual time for everybody, and an asyncio loop for each simulated process."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.sim.disk import Crash
from tests.sim.whole.network import Wires

#: What one turn of a process's loop costs it, so that what comes in meanwhile is taken together.
TURN_COST_S = 0.000_1
#: Callbacks that a loop runs in one turn before others get theirs.
CALLBACKS_PER_TURN = 1_000


class Time:
    """The one queue of all that is going to happen."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when_s, self._sequence, act))

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        self.at(self.now_s + delay_s, act)

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        queue = self._queue
        while queue and queue[0][0] <= end_s:
            when_s, _, act = heapq.heappop(queue)
            if when_s > self.now_s:
                self.now_s = when_s
            act()
        self.now_s = end_s


class Handle:
    """Something to call; the part of asyncio's handles that is used."""

    __slots__ = ("args", "callback", "context", "when_s")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: Any, when_s: float = 0.0) -> None:
        self.callback, self.args, self.context, self.when_s = callback, args, context, when_s

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_s


class ProcessLoop(asyncio.AbstractEventLoop):
    """The loop of one process. It runs when something is due and the process is neither busy, stopped nor dead.

    Args:
        host: name of its host, as the network knows it.
        time: everybody's.
        local: monotonic seconds of this process's host from everybody's, and back.
        defect: told of an exception that nobody caught.
        died: told when a Crash comes out of a callback.
        thread_s: how long work in a thread takes.
    """

    def __init__(
        self,
        host: str,
        time: Time,
        local: Callable[[float], float],
        world: Callable[[float], float],
        defect: Callable[[str], None],
        died: Callable[[], None],
        thread_s: Callable[[], float],
    ) -> None:
        self.host = host
        self._time, self._local, self._world = time, local, world
        self._defect, self._died, self._thread_s = defect, died, thread_s
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._timer_sequence = 0
        self._wake_s = float("inf")
        self._running = False
        self.alive = True
        self.died_s = float("inf")
        self.wires: Wires | None = None
        #: Within a callback: how much time it has taken by now, for a disk that was slow.
        self.ahead_s = 0.0
        #: Until when the process has no time, or is stopped, in everybody's seconds.
        self.busy_until_s = float("-inf")
        self.stopped_until_s = float("-inf")
        #: Callbacks left until the process dies; None: it lives on.
        self.dies_in: int | None = None

    @property
    def now_s(self) -> float:
        """Everybody's time, as of this point of the callback that runs."""
        return self._time.now_s + self.ahead_s

    def stop_until(self, when_s: float) -> None:
        """The process does not run (SIGSTOP); what comes in waits."""
        self.stopped_until_s = max(self.stopped_until_s, when_s)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.stopped_until_s > self._time.now_s:
            self.stopped_until_s = self._time.now_s
            self._wake(self._time.now_s)

    def die(self) -> None:
        """Nothing of this process runs any more."""
        self.alive = False
        self.died_s = self.now_s
        self._ready.clear()
        self._timers.clear()

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self._local(self._time.now_s + self.ahead_s)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context)
        if self.alive:
            self._ready.append(handle)
            if not self._running:
                self._wake(self._time.now_s)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context, when)
        if not self.alive:
            return handle
        self._timer_sequence += 1
        heapq.heappush(self._timers, (when, self._timer_sequence, handle))
        if not self._running and self._timers[0][2] is handle:
            self._wake(self._world(when))
        return handle

    def create_future(self) -> Any:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        task: Any = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        task._log_destroy_pending = False
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """A thread: it takes its time, and dies and stands still with its process."""
        future = self.create_future()

        def work() -> None:
            if not self.alive:
                return
            if self._time.now_s < self.stopped_until_s:
                self._time.at(self.stopped_until_s, work)
                return
            try:
                result = func(*args)
            except Crash:
                self._died()
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self._time.at(self.now_s + self._thread_s(), work)
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        assert self.wires is not None
        return await self.wires.connect(self, protocol_factory, (host, port))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        assert self.wires is not None
        return self.wires.listen(self, protocol_factory, (host, port))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return not self.alive

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.alive:
            self._defect(f"{context.get('message')}: {context.get('exception')!r}")

    # Running.

    def _wake(self, when_s: float) -> None:
        when_s = max(when_s, self.busy_until_s, self.stopped_until_s)
        if when_s < self._wake_s:
            self._wake_s = when_s
            self._time.at(when_s, lambda: self._run(when_s))

    def _run(self, due_s: float) -> None:
        if not self.alive or due_s != self._wake_s:
            return
        self._wake_s = float("inf")
        if self.stopped_until_s > self._time.now_s:
            self._wake(self.stopped_until_s)
            return
        self._running = True
        events._set_running_loop(self)
        try:
            self._call(self._take_due())
        finally:
            events._set_running_loop(None)
            self._running = False
            self.busy_until_s = self._time.now_s + self.ahead_s + TURN_COST_S
            self.ahead_s = 0.0
        if self._ready:
            self._wake(self.busy_until_s)
        elif self._timers:
            self._wake(self._world(self._timers[0][0]))

    def _take_due(self) -> deque[Handle]:
        timers, ready, now_s = self._timers, self._ready, self.time() + 1e-7
        while timers and (timers[0][0] <= now_s or timers[0][2].callback is None):
            handle = heapq.heappop(timers)[2]
            if handle.callback is not None:
                ready.append(handle)
        return ready

    def _call(self, ready: deque[Handle]) -> None:
        for _ in range(CALLBACKS_PER_TURN):
            if not ready or not self.alive:
                return
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            try:
                if handle.context is None:
                    callback(*handle.args)
                else:
                    handle.context.run(callback, *handle.args)
            except Crash:
                self._died()
            except Exception as error:
                self._defect(f"{type(error).__name__}: {error}")
            if self.dies_in is not None and self.alive:
                self.dies_in -= 1
                if self.dies_in <= 0:
                    self._died()
