"""Portal: the way from plain threads into an event loop that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from peercron.errors import PeercronError

T = TypeVar("T")


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
