"""Watch: who waits for the state to move is woken when it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watch:
    """Waiters, each for an index that the state shall go beyond.

    Args:
        index: how far the state is now.
    """

    def __init__(self, index: Callable[[], int]) -> None:
        self._index = index
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def beyond(self, index: int, timeout_s: float) -> None:
        """Returns when the state is beyond `index`, or when the time is up."""
        if self._index() > index:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((index, future))
        await asyncio.wait([future], timeout=timeout_s)
        future.cancel()

    def turn(self) -> None:
        """The state may have moved."""
        if self._waiting:
            index = self._index()
            for wanted, future in self._waiting:
                if index > wanted and not future.done():
                    future.set_result(None)
            self._waiting = [(i, f) for i, f in self._waiting if not f.done()]
