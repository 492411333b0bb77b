"""Portal: the way from plain threads into an event loop that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from peercron.errors import PeercronError

P = ParamSpec("P")
T = TypeVar("T")
#: What lives in the loop, and its face outside.
Inner = TypeVar("Inner")
Face = TypeVar("Face")


class Portal:
    """An event loop in a thread of its own, and the way into it from all others."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peercron", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Its outcome; an interrupt of this thread ends it there too."""
        if os.getpid() != self._pid:
            work.close()
            raise PeercronError("a SyncClient does not outlive a fork: make one in each process")
        if not self._thread.is_alive():
            work.close()
            raise PeercronError("this SyncClient is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        if os.getpid() == self._pid and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class Twin(Generic[Inner]):
    """The blocking face of something that lives in the portal's loop: what `blocking` makes of its methods."""

    def __init__(self, portal: Portal, inner: Inner) -> None:
        self._portal, self._inner = portal, inner


class Block(Twin[Inner]):
    """One that is used in a `with` block."""

    def __enter__(self) -> Self:
        self._portal.call(self._inner.__aenter__())  # type: ignore[attr-defined]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.call(self._inner.__aexit__(kind, error, trace))  # type: ignore[attr-defined]


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
    try:
        while True:
            try:
                yield portal.call(_next(source))
            except StopAsyncIteration:
                return
    finally:
        portal.call(source.aclose())


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)
