"""What the tests of execution share: a supervisor with a witness, commands that leave traces, waiting with an end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.core.job import CommandTask, Task
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.execution.processes import Process, look
from peercron.execution.supervisor import Supervisor


async def until(true: Callable[[], Any] | Callable[[], Awaitable[Any]], timeout_s: float = 15.0) -> Any:
    """Wait until it is true; returns what it gave."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = true()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)


def is_dead(process: Process | None) -> bool:
    if process is None:
        return True
    now = look(process.pid)
    return now is None or now.start != process.start or not now.alive


class Witness:
    """A supervisor, and what it said; a folder where commands write who they are."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.folder = folder
        self.started: dict[tuple[str, int], int] = {}
        self.results: dict[tuple[str, int], AttemptResult] = {}
        self._token = 0
        self.supervisor = self.new_supervisor()

    def new_supervisor(self) -> Supervisor:
        return Supervisor(self.data_dir, "a", SystemClock(), self.on_started, self.on_finished)

    def on_started(self, run_id: str, token: int, started_ms: int) -> None:
        assert (run_id, token) not in self.results
        self.started[run_id, token] = started_ms

    def on_finished(self, result: AttemptResult) -> None:
        assert (result.run_id, result.token) not in self.results, "ended twice"
        self.results[result.run_id, result.token] = result

    def spec(self, task: Task | str, **given: Any) -> AttemptSpec:
        """An attempt at a task, or at a text for the shell, which runs in `folder`."""
        self._token += 1
        if isinstance(task, str):
            task = CommandTask(shell=task, cwd=str(self.folder))
        fields: dict[str, Any] = {
            "run_id": f"uid/{self._token}",
            "token": self._token,
            "attempt": 1,
            "job_key": "default/job",
            "slot_ms": 0,
            "task": task,
            "timeout_ms": 0,
            "kill_grace_ms": 10_000,
            "env": {"PEERCRON_RUN_ID": f"uid/{self._token}"},
        }
        return AttemptSpec(**fields | given)

    def launch(self, task: Task | str, **given: Any) -> tuple[str, int]:
        spec = self.spec(task, **given)
        self.supervisor.launch(spec)
        return spec.run_id, spec.token

    async def result(self, key: tuple[str, int], timeout_s: float = 15.0) -> AttemptResult:
        found = await until(lambda: self.results.get(key), timeout_s)
        assert isinstance(found, AttemptResult)
        return found

    async def run(self, task: Task | str, **given: Any) -> AttemptResult:
        return await self.result(self.launch(task, **given))

    async def process(self, name: str) -> Process:
        """The process that a command has written into a file of that name (`echo $$ > name`)."""
        path = self.folder / name
        await until(lambda: path.exists() and path.read_text().endswith("\n"))
        found = look(int(path.read_text()))
        assert found is not None, f"{name} is dead already"
        return found

    def lease(self, stop_in_s: float, kill_in_s: float) -> float:
        """Lease from now; returns the instant of KILL on the monotonic clock."""
        now = SystemClock().monotonic()
        self.supervisor.set_lease(now + stop_in_s, now + kill_in_s)
        return now + kill_in_s


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Witness]:
    """A started supervisor with an endless lease."""
    witness = Witness(tmp_path)
    await witness.supervisor.start()
    witness.supervisor.set_lease(math.inf, math.inf)
    yield witness
    await witness.supervisor.close(grace_s=0)
    assert not witness.supervisor.running


@pytest.fixture
def cleared() -> Iterator[list[Process]]:
    """Processes that a test started and that are to be gone after it, however it ended."""
    mine: list[Process] = []
    yield mine
    for process in mine:
        if not is_dead(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
