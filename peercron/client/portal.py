"""Portal: the way from plain threads into an event loop that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from peercron.errors import PeercronError

P = ParamSpec("P")
T = TypeVar("T")
#: What lives in the loop, and its face outside.
Inner = TypeVar("Inner")
Face = TypeVar("Face")


CLOSED: Final = "this SyncClient is closed"


class Portal:
    """An event loop in a thread of its own, and the way into it from all others."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        #: Whether work may begin; read and written with the gate in hand, also by the handler of a signal.
        self._open, self._gate = True, threading.RLock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peercron", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Its outcome; an interrupt of this thread ends it there too."""
        future = self._begin(work)
        try:
            return _result(future)
        except BaseException:
            future.cancel()
            raise

    def enter(self, work: Coroutine[Any, Any, object], undo: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Do what a block begins with. Where an interrupt of this thread comes too late to end it, `undo` follows it
        there: nobody has entered the block.
        """
        tasks: list[asyncio.Task[object]] = []
        try:
            # The last thing that is called here: an interrupt comes at the latest when it is over.
            _result(self._begin(_told(work, tasks)))
        except Exception:
            raise
        except BaseException:
            self._loop.call_soon_threadsafe(_give_up, work, tasks, undo)
            raise

    def leave(self, work: Coroutine[Any, Any, object]) -> None:
        """Do what a block ends with. It is done also when this thread is interrupted, and does not wait for it."""
        _result(self._begin(work))

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if os.getpid() != self._pid:
            work.close()
            raise PeercronError("a SyncClient does not outlive a fork: make one in each process")
        with self._gate:
            if self._open:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise PeercronError(CLOSED)

    def close(self) -> None:
        """Other threads whose work is under way are told that it is closed."""
        if os.getpid() == self._pid and self._thread.is_alive():
            with self._gate:
                self._open = False  # nothing begins behind the end of all
                ending = asyncio.run_coroutine_threadsafe(_end_all(), self._loop)
            ending.result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except CancelledError:
        raise PeercronError(CLOSED) from None


async def _end_all() -> None:
    """Whatever still runs in this loop, which comes to its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _told(work: Coroutine[Any, Any, T], tasks: list[asyncio.Task[T]]) -> T:
    """The same, once it is known which task does it."""
    tasks.append(asyncio.current_task())  # type: ignore[arg-type]
    return await work


def _give_up(
    work: Coroutine[Any, Any, object],
    tasks: list[asyncio.Task[object]],
    undo: Callable[[], Coroutine[Any, Any, object]],
) -> None:
    """Undo what the task does, when it has done it."""

    def follow(task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is None:
            undoing.append(asyncio.get_running_loop().create_task(undo()))

    undoing: list[asyncio.Task[object]] = []  # or they might be forgotten while they run
    for task in tasks:
        task.cancel()
        task.add_done_callback(follow)
    if not tasks:
        work.close()


class Twin(Generic[Inner]):
    """The blocking face of something that lives in the portal's loop: what `blocking` makes of its methods."""

    def __init__(self, portal: Portal, inner: Inner) -> None:
        self._portal, self._inner = portal, inner


#: What ends a block that nobody came to enter.
INTERRUPTED: Final = (KeyboardInterrupt, KeyboardInterrupt(), None)


class Block(Twin[Inner]):
    """One that is used in a `with` block."""

    def __enter__(self) -> Self:
        inner: Any = self._inner
        self._portal.enter(inner.__aenter__(), lambda: inner.__aexit__(*INTERRUPTED))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.leave(self._inner.__aexit__(kind, error, trace))  # type: ignore[attr-defined]


def blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Twin[Any], P], T]:
    """The same method, whose caller waits in a thread of its own."""

    @wraps(method)
    def call(self: Twin[Any], /, *args: P.args, **more: P.kwargs) -> T:
        return self._portal.call(method(self._inner, *args, **more))

    return call


def facing(
    method: Callable[Concatenate[Any, P], Inner], face: Callable[[Portal, Inner], Face]
) -> Callable[Concatenate[Twin[Any], P], Face]:
    """The same method, which waits for nothing, with a face around what it gives."""

    @wraps(method)
    def call(self: Twin[Any], /, *args: P.args, **more: P.kwargs) -> Face:
        return face(self._portal, method(self._inner, *args, **more))

    return call


def iterating(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Twin[Any], P], Iterator[T]]:
    """The same method: the next of what it gives is waited for by the thread that asks for it."""

    @wraps(method)
    def call(self: Twin[Any], /, *args: P.args, **more: P.kwargs) -> Iterator[T]:
        return each(self._portal, method(self._inner, *args, **more))

    return call


def arguments_of(
    made: Callable[P, Any],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Of an `__init__` that takes what `made` does."""

    def like(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        @wraps(made)
        def begin(self: Any, /, *args: P.args, **more: P.kwargs) -> None:
            init(self, *args, **more)

        return begin

    return like


def each(portal: Portal, source: AsyncGenerator[T, None]) -> Iterator[T]:
    turn = asyncio.Lock()
    try:
        while True:
            try:
                yield portal.call(_next(source, turn))
            except StopAsyncIteration:
                return
    finally:
        portal.leave(_close(source, turn))


async def _next(source: AsyncGenerator[T, None], turn: asyncio.Lock) -> T:
    async with turn:
        return await anext(source)


async def _close(source: AsyncGenerator[object, None], turn: asyncio.Lock) -> None:
    async with turn:  # a step whose thread was interrupted may be on its way to its end
        await source.aclose()
