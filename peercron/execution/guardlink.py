"""guardlink: the node's end of its socket to the guardian, and the guardian as a child process of the node."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peercron.execution.limits import GUARDIAN_START_S
from peercron.execution.orders import Lines, LineTooLong, decode, encode

log = logging.getLogger(__name__)

#: -I and -S: nothing from the user's environment, working directory or .pth files gets into the guardian, and it starts
#: in half the time. It finds peercron where this process found it.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from peercron.execution.guardhouse import main;"
    " main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
_ROOT = Path(__file__).resolve().parents[2]


def _spawn(data_dir: Path, node_name: str, link: socket.socket, lock: int) -> subprocess.Popen[bytes]:
    words = (str(_ROOT), str(data_dir.resolve()), str(link.fileno()), str(lock), f"guardian-of-{node_name}")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(link.fileno(), lock),
        start_new_session=True,
    )


class GuardLink(asyncio.Protocol):
    """A running guardian. `on_line` gets what it says, `on_gone` is called once when it has died after it was ready."""

    def __init__(
        self, process: subprocess.Popen[bytes], on_line: Callable[[dict[str, Any]], None], on_gone: Callable[[], None]
    ) -> None:
        self._process = process
        self._on_line = on_line
        self._on_gone = on_gone
        self._lines = Lines()
        self.ready = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self.gone = asyncio.Event()

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        node_name: str,
        lock: int,
        on_line: Callable[[dict[str, Any]], None],
        on_gone: Callable[[], None],
    ) -> GuardLink:
        """Start a guardian and hand it the lock (this process's copy is closed). Raises OSError or TimeoutError."""
        own, its = socket.socketpair()
        try:
            process = _spawn(data_dir, node_name, its, lock)
        except OSError:
            own.close()
            raise
        finally:
            its.close()
            os.close(lock)
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(process, on_line, on_gone), sock=own)
        try:
            await asyncio.wait_for(link.ready, GUARDIAN_START_S)
        except BaseException:
            await link.kill()
            raise
        return link

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(encode(line))

    async def kill(self) -> None:
        """End the guardian by force; its shepherds end their attempts."""
        self._process.kill()
        await self.wait()

    async def wait(self) -> None:
        """Until the guardian is dead and reaped."""
        await self.gone.wait()
        await asyncio.to_thread(self._process.wait)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for line in self._lines.feed(data):
                self._hear(line)
        except LineTooLong:
            log.exception("the guardian does not speak our language any more; it is replaced")
            self._process.kill()

    def _hear(self, line: bytes) -> None:
        try:
            told = decode(line)
            if told.get("is") != "ready":
                self._on_line(told)
            elif not self.ready.done():
                self.ready.set_result(None)
        except Exception:
            log.exception("a line of the guardian was not understood")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone.set()
        if self.ready.done() and not self.ready.cancelled():
            self._on_gone()
        elif not self.ready.done():
            self.ready.set_exception(OSError("the guardian died while it started"))
