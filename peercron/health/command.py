"""Commands of checks: run in a session of their own, ended as a whole when their time is up, their last line kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from peercron.health.limits import KILL_WAIT_S, OUTPUT_BYTES_MAX

#: Not for commands: what the node itself was told, secrets among it.
_PRIVATE = ("PEERCRON_", "CREDENTIALS_DIRECTORY")


class _Tail(asyncio.Protocol):
    """Keeps the end of what comes."""

    def __init__(self) -> None:
        self.kept = b""

    def data_received(self, data: bytes) -> None:
        self.kept = (self.kept + data)[-OUTPUT_BYTES_MAX:]


async def run_command(argv: Sequence[str]) -> tuple[int, str]:
    """Run it to its end: its exit code (below 0: the signal that ended it), and the last line that it wrote.

    Who cancels this kills it. OSError: it cannot be run.
    """
    reads, writes = os.pipe()
    tail = _Tail()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: tail, os.fdopen(reads, "rb"))
    try:
        try:
            process = await _start(argv, writes)
        finally:
            os.close(writes)
        code = await _ended(process)
        # What it had written is read by now or in this turn; what others hold the pipe open for is not waited for.
        await asyncio.sleep(0)
    finally:
        pipe.close()
    lines = tail.kept.decode("utf-8", "replace").strip().splitlines()
    return code, lines[-1].strip() if lines else ""


async def _start(argv: Sequence[str], output: int) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    return await asyncio.create_subprocess_exec(
        *_bound_to_us(),
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )


@cache
def _bound_to_us() -> tuple[str, ...]:
    """What makes a command die with the node, also one that is killed, where the host has it (util-linux)."""
    found = shutil.which("setpriv")
    return (found, "--pdeathsig", "KILL", "--") if found else ()


async def _ended(process: asyncio.subprocess.Process) -> int:
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_WAIT_S)
        raise
