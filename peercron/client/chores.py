"""Chores: what is still to be said to the cluster when whoever wanted it has gone on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from peercron.client.tenure import PASSING
from peercron.errors import PeercronError

#: Between two tries where nobody could be asked.
PAUSE_S: Final = 0.5
#: How long what is being said when the client is closed is waited for.
LAST_S: Final = 0.5

Say = Callable[[], Awaitable[object]]


class Chores:
    """Said in the background until somebody has heard it, or the client is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        #: Whose is what is said when the client is closed.
        self._last: dict[object, Say] = {}

    def add(self, say: Say) -> None:
        """From now on, until it is answered; a refusal is an answer, too."""
        task = asyncio.get_running_loop().create_task(_until_heard(say))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def at_close(self, whose: object, say: Say) -> None:
        """When the client is closed, unless that is `done` before."""
        self._last[whose] = say

    def done(self, whose: object) -> None:
        self._last.pop(whose, None)

    async def close(self) -> None:
        """What is to be said at the end is said once; the rest is not said any more than it can be at once."""
        last, self._last = self._last, {}
        await asyncio.gather(*[_heard_or_not(say) for say in last.values()])
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _until_heard(say: Say) -> None:
    heard = await _heard_or_not(say)
    while not heard:
        await asyncio.sleep(PAUSE_S)
        heard = await _heard_or_not(say)


async def _heard_or_not(say: Say) -> bool:
    try:
        await say()
    except PASSING:
        return False
    except PeercronError:
        return True  # it is so already, or cannot be
    return True
