"""Watch: who waits for the state, or for one resource of it, to move is woken when it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peercron.core.state import ClusterState, Resource


class Watch:
    """Waiters, each for an index that the state shall go beyond, or for the next change of one resource.

    Args:
        state: what is applied here.
    """

    def __init__(self, state: Callable[[], ClusterState]) -> None:
        self._state = state
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        #: Resource -> who waits for its next change.
        self._listening: dict[Resource, list[asyncio.Future[None]]] = {}

    async def beyond(self, index: int, timeout_s: float) -> None:
        """Returns when the state is beyond `index`, or when the time is up."""
        if self._state().index <= index:
            future = self._future()
            self._waiting.append((index, future))
            await _settled(future, timeout_s)

    async def change(self, resource: Resource, timeout_s: float) -> bool:
        """Whether the resource was told to have changed after this call; False: the time is up.

        With the name "" any resource of that kind and namespace will do. Look at the state and call this with no
        await in between, and nothing is missed.
        """
        future = self._future()
        listeners = self._listening.setdefault(resource, [])
        listeners.append(future)
        told = await _settled(future, timeout_s)
        if not told:
            listeners.remove(future)
            if not listeners and self._listening.get(resource) is listeners:
                del self._listening[resource]
        return told

    def turn(self) -> None:
        """The state may have moved."""
        state = self._state()
        if self._waiting:
            for wanted, future in self._waiting:
                if state.index > wanted and not future.done():
                    future.set_result(None)
            self._waiting = [(i, f) for i, f in self._waiting if not f.done()]
        news, state.news = state.news, {}
        if news is None:  # it is another state than before: anything may have changed
            self._wake(*self._listening)
        elif news and self._listening:
            self._wake(*news, *{(kind, namespace, ""): None for kind, namespace, _ in news})

    def _wake(self, *resources: Resource) -> None:
        for resource in resources:
            for future in self._listening.pop(resource, ()):
                if not future.done():
                    future.set_result(None)

    @staticmethod
    def _future() -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()


async def _settled(future: asyncio.Future[None], timeout_s: float) -> bool:
    try:
        await asyncio.wait([future], timeout=timeout_s)
        return future.done()
    finally:
        future.cancel()
