"""Probes: one look at a process, a service or an endpoint, and what was seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector

from peercron.core.check import CommandProbe, EndpointProbe, FileProbe, Probe, ProcessProbe, UrlProbe
from peercron.health.command import run_command
from peercron.health.limits import PID_FILE_BYTES_MAX, PROCESS_NAME_BYTES_MAX, THREADS_MAX


class Result(NamedTuple):
    """What one look saw, with a sentence for people."""

    well: bool
    detail: str


class Prober:
    """Makes probes; `close` it in the end."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        #: Their own, so that a disk that hangs keeps nobody else waiting.
        self._threads = ThreadPoolExecutor(THREADS_MAX, "health")

    async def look(self, probe: Probe, host: str, timeout_s: float) -> Result:
        """One result, within the time-out. `host`: that of the node that is looked at."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._look(probe, host)
        except TimeoutError:
            return Result(False, f"no answer within {timeout_s:g} s")
        except (OSError, ClientError, ValueError) as error:
            return Result(False, str(error) or type(error).__name__)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, look: Callable[[str], Result], what: str) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, look, what)

    async def _look(self, probe: Probe, host: str) -> Result:
        match probe:
            case ProcessProbe(pid_file, name):
                return await self._aside(_pid_file, pid_file) if pid_file else await self._aside(_name, name)
            case CommandProbe(argv):
                code, said = await run_command(argv)
                return Result(code == 0, f"exit code {code}" + (f": {said}" if said else ""))
            case UrlProbe(url, expect_status):
                return await self._url(url, expect_status)
            case EndpointProbe(its_host, port):
                return await _endpoint(its_host or host, port)
            case FileProbe(path):
                return await self._aside(_file, path)

    async def _url(self, url: str, expect_status: tuple[int, ...]) -> Result:
        if self._session is None:
            # A connection of its own for each look: a kept one says nothing about whether a new one can be had.
            connector = TCPConnector(limit=0, force_close=True)
            self._session = ClientSession(connector=connector, cookie_jar=DummyCookieJar())
        async with self._session.get(url, allow_redirects=False) as answer:
            well = answer.status in expect_status if expect_status else 200 <= answer.status < 300
            return Result(well, f"HTTP {answer.status} {answer.reason or ''}".rstrip())


async def _endpoint(host: str, port: int) -> Result:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Result(True, f"{host} port {port} takes connections")


def _file(path: str) -> Result:
    there = os.path.lexists(path)
    return Result(there, f"{path} is there" if there else f"{path} is not there")


def _pid_file(path: str) -> Result:
    with open(path, "rb") as file:
        text = file.read(PID_FILE_BYTES_MAX).split()
    if not text or not text[0].isdigit():
        return Result(False, f"{path} holds no process id")
    pid = int(text[0])
    alive = _state_of(str(pid)) not in (None, b"Z", b"X")
    return Result(alive, f"process {pid} of {path} " + ("is alive" if alive else "is not there"))


def _name(name: str) -> Result:
    wanted = name.encode()[:PROCESS_NAME_BYTES_MAX]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if _name_of(pid) == wanted and _state_of(pid) not in (None, b"Z", b"X"):
            return Result(True, f"process {pid} is a {name}")
    return Result(False, f"no process is named {name}")


def _name_of(pid: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip(b"\n")
    except OSError:  # it ended meanwhile
        return None


def _state_of(pid: str) -> bytes | None:
    """The letter of its state; None: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read(4_096)
    except OSError:
        return None
    return line[line.rfind(b")") + 2 :][:1]  # the name stands in parentheses and may itself have some
