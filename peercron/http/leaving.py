"""Leaving: a place in the line of a lock that nobody waits at any more is given up, however long that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from peercron.core.commands import ForsakeLock
from peercron.errors import ProposalError, Refused
from peercron.http.asking import NODE, TIMEOUT_S
from peercron.http.port import NodePort

#: Between two tries, and how often it is tried: what is granted to nobody comes to its end by itself, too.
PAUSE_S: Final = 0.2
TRIES_MAX: Final = 50


class Leaving:
    """Those who leave the lines of this server and were not heard yet."""

    def __init__(self, node: NodePort) -> None:
        self._node = node
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, command: ForsakeLock) -> None:
        """Say it until it is heard; what was granted meanwhile is given back. Who asked again since keeps its place."""
        task = asyncio.get_running_loop().create_task(self._leave(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _leave(self, command: ForsakeLock) -> None:
        for _ in range(TRIES_MAX):
            try:
                await self._node.propose(command, TIMEOUT_S)
            except Refused:  # it is there no more, or somebody else's
                return
            except ProposalError:
                await asyncio.sleep(PAUSE_S)
            else:
                return


LEAVING: web.AppKey[Leaving] = web.AppKey("leaving", Leaving)


async def leaving(app: web.Application) -> AsyncIterator[None]:
    """For `app.cleanup_ctx`."""
    app[LEAVING] = Leaving(app[NODE])
    yield
    app[LEAVING].close()
