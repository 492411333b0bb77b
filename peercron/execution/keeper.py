"""keeper: sees to it that a node has one living guardian, and that nothing of a dead one is left before the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from peercron.errors import DataDirError
from peercron.execution.guardlink import GuardLink
from peercron.execution.leftovers import claim, take
from peercron.execution.limits import (
    LEFTOVER_KILL_S,
    OWN_LOCK_WAIT_S,
    PING_S,
    PINGS_UNANSWERED_MAX,
    RESTART_FORGOTTEN_S,
    RESTART_S_MAX,
    RESTART_S_MIN,
)
from peercron.space import disk_full

log = logging.getLogger(__name__)

LOCK_NAME = "execution.lock"


class Keeper:
    """`on_line`: the guardian said something. `on_dead`: one has died, and all of its attempts with it. `on_ready`: a
    new one is there. `is_needed`: there are attempts, so it must give signs of life.
    """

    def __init__(
        self,
        data_dir: Path,
        node_name: str,
        *,
        on_line: Callable[[dict[str, Any]], None],
        on_dead: Callable[[], None],
        on_ready: Callable[[], None],
        is_needed: Callable[[], bool],
    ) -> None:
        self._data_dir = data_dir
        self._node_name = node_name
        self._on_line = on_line
        self._on_dead = on_dead
        self._on_ready = on_ready
        self._is_needed = is_needed
        self._own_lock = -1
        self._link: GuardLink | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._ousting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._pinging: asyncio.TimerHandle | None = None
        self._unanswered = 0
        self._started_at = 0.0
        self._restart_s = RESTART_S_MIN

    @property
    def guardian_pid(self) -> int | None:
        return self._link.pid if self._link else None

    async def start(self) -> None:
        """Returns when all processes of earlier boots are dead and a guardian is there.

        Raises DataDirError, or OSError when no guardian can be started.
        """
        self._own_lock = await asyncio.to_thread(self._take_own_lock)
        try:
            await self._start_guardian()
        except BaseException:
            os.close(self._own_lock)
            self._own_lock = -1
            raise

    def say(self, line: dict[str, Any]) -> bool:
        """False: there is no guardian at the moment; `on_ready` will be called."""
        if self._link is None:
            return False
        self._link.say(line)
        self._watch()
        return True

    async def close(self, grace_s: float) -> None:
        """End every attempt, and the guardian; returns when all are dead."""
        self._closing.set()
        if self._replacing is not None:
            await self._replacing
        if (link := self._link) is not None:
            link.say({"do": "close", "reason": "the node was stopped", "grace_s": grace_s})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.gone.wait(), grace_s + LEFTOVER_KILL_S)
            await link.kill()
        if self._own_lock >= 0:
            await self._bury()
            os.close(self._own_lock)
            self._own_lock = -1

    # One node per directory.

    def _take_own_lock(self) -> int:
        try:
            for folder in ("attempts", "output"):
                (self._data_dir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            cannot = DataDirError(f"{self._data_dir}: {error.strerror}: {error.filename}")
            raise disk_full(error, self._data_dir) or cannot from None
        if not take(lock, OWN_LOCK_WAIT_S):
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            os.close(lock)
            raise DataDirError(f"{self._data_dir}: another node, process {holder}, uses it")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    # The guardian.

    async def _start_guardian(self) -> None:
        lock = await asyncio.to_thread(claim, self._data_dir)
        self._link = await GuardLink.start(self._data_dir, self._node_name, lock, self._hear, self._lose)
        self._started_at = asyncio.get_running_loop().time()

    def _hear(self, line: dict[str, Any]) -> None:
        self._unanswered = 0
        if line["is"] == "log":
            log.error("guardian: %s", line["text"])
        elif line["is"] != "alive":
            self._on_line(line)

    def _lose(self) -> None:
        link, self._link = self._link, None
        if not self._closing.is_set() and link is not None:
            log.error("the guardian %d died", link.pid)
            self._replacing = asyncio.get_running_loop().create_task(self._replace(link))

    async def _replace(self, dead: GuardLink) -> None:
        pause_s = self._next_pause_s()
        await dead.wait()
        await self._until_done(self._bury)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause_s)
        await self._until_done(self._start_guardian)
        if self._link is not None:
            self._on_ready()

    def _next_pause_s(self) -> float:
        """Short for a rare mishap, growing when guardians die again and again."""
        if asyncio.get_running_loop().time() - self._started_at > RESTART_FORGOTTEN_S:
            self._restart_s = RESTART_S_MIN
        pause_s, self._restart_s = self._restart_s, min(2 * self._restart_s, RESTART_S_MAX)
        return pause_s

    async def _bury(self) -> None:
        os.close(await asyncio.to_thread(claim, self._data_dir))
        self._on_dead()

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        while not self._closing.is_set():
            try:
                await step()
            except (OSError, TimeoutError, DataDirError):
                log.exception("the guardian cannot be replaced yet")
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), RESTART_S_MAX)

    # Signs of life.

    def _watch(self) -> None:
        if self._pinging is None:
            self._unanswered = 0
            self._pinging = asyncio.get_running_loop().call_later(PING_S, self._ping)

    def _ping(self) -> None:
        """Pings are counted, not seconds: a node that was stopped itself must not blame its guardian."""
        self._pinging = None
        if self._link is None or not self._is_needed():
            return
        loop = asyncio.get_running_loop()
        if self._unanswered >= PINGS_UNANSWERED_MAX:
            log.error("the guardian %d does not answer; it is replaced", self._link.pid)
            self._ousting = loop.create_task(self._link.kill())
            return
        self._unanswered += 1
        self._link.say({"do": "ping"})
        self._pinging = loop.call_later(PING_S, self._ping)
