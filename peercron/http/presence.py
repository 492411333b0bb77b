"""Presence: a request that waits for long learns that its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiohttp import web

from peercron.errors import PeercronError

T = TypeVar("T")

#: How often those who wait are looked at, all with one look.
LOOK_S: Final = 0.5


class Gone(PeercronError):
    """The client went away; nobody reads this."""

    code = "gone"


class Presence:
    """Who waits at this server. One timer for all, which runs only while somebody waits."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], web.Request] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def during(self, request: web.Request, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of the work. Gone: nobody waits for it any more, and it was given up."""
        task = asyncio.get_running_loop().create_task(work)
        self._waiting[task] = request
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        try:
            await asyncio.wait([task])
        finally:
            del self._waiting[task]
            task.cancel()
        self.ask(request)
        return task.result()

    @staticmethod
    def ask(request: web.Request) -> None:
        """Raises Gone."""
        if request.transport is None or request.transport.is_closing():
            raise Gone

    @staticmethod
    async def linger(seconds: float) -> None:
        """Give the client time to come back by another way."""
        if seconds:
            await asyncio.sleep(seconds)

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._waiting else None
        for task, request in self._waiting.items():
            if request.transport is None or request.transport.is_closing():
                task.cancel()


PRESENCE: web.AppKey[Presence] = web.AppKey("presence", Presence)
