"""supervisor: the attempts of this node, whatever their kind: starts them, ends them in time, tells how they ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from peercron.clock import Clock
from peercron.core.job import ClassTask, CommandTask, HttpTask, TcpTask
from peercron.core.run import AttemptState
from peercron.execution.commands import Commands, file_stem
from peercron.execution.http_calls import HttpCalls
from peercron.execution.limits import (
    ENDED_REMEMBERED_MAX,
    OUTPUT_FILES_MAX,
    OUTPUT_PRUNE_EVERY,
    OUTPUT_TOTAL_BYTES_MAX,
    RUNNING_MAX,
)
from peercron.execution.output import prune
from peercron.execution.port import AttemptResult, AttemptSpec

log = logging.getLogger(__name__)


class Supervisor:
    """Runs attempts by one event loop and one guardian; the callbacks come in that loop, never from within a call.

    Nothing runs without a lease: call `set_lease` before the first `launch` (with `math.inf` where there is nobody to
    lease from), and again before it ends; but for attempts that have their own time (`until`). An attempt that is
    refused, for that or for RUNNING_MAX, is reported as lost.
    `modules`: those with job classes, which `scan` reads. `ca`: of the certificate that this node's HTTP shows.

        supervisor = Supervisor(data_dir, "a", SystemClock(), on_started=…, on_finished=…)
        await supervisor.start()
        supervisor.set_lease(loop.time() + 2.0, loop.time() + 3.0)
        supervisor.launch(spec)
    """

    def __init__(
        self,
        data_dir: Path,
        node_name: str,
        clock: Clock,
        on_started: Callable[[str, int, int], None],
        on_finished: Callable[[AttemptResult], None],
        *,
        modules: tuple[str, ...] = (),
        ca: Path | None = None,
    ) -> None:
        self._outputs = data_dir / "output"
        self._on_started = on_started
        self._on_finished = on_finished
        self._clock = clock
        self._commands = Commands(
            *(data_dir, node_name, clock, self._started, self._finished, self._prepared), modules=modules, ca=ca
        )
        self._modules = modules
        self._calls = HttpCalls(clock, self._started, self._finished)
        self._running: dict[tuple[str, int], AttemptSpec] = {}
        self._ended: dict[tuple[str, int], None] = {}
        #: Held ones that are prepared; of those that are no commands, nothing more is to be prepared.
        self._ready: dict[tuple[str, int], AttemptSpec] = {}
        #: Set by the node; called in the loop with (run id, token) when a held attempt is prepared.
        self.on_ready: Callable[[str, int], None] = lambda _run_id, _token: None
        self._told = asyncio.Event()
        self._closing = False
        self._ended_since_pruning = 0
        self._pruning: asyncio.Task[None] | None = None

    @property
    def running(self) -> dict[tuple[str, int], AttemptSpec]:
        """(run id, token) of every attempt that was launched and whose end was not told yet. To be read only."""
        return self._running

    @property
    def ready(self) -> dict[tuple[str, int], AttemptSpec]:
        """(run id, token) of every held attempt that is prepared and was not released. To be read only."""
        return self._ready

    @property
    def guardian_pid(self) -> int | None:
        """None: there is none at the moment; a new one is on its way."""
        return self._commands.keeper.guardian_pid

    async def start(self) -> None:
        """Returns when every process of earlier boots is dead. Raises DataDirError: in use, or one cannot be killed."""
        await self._commands.keeper.start()
        self._prune()

    def launch(self, spec: AttemptSpec) -> None:
        """Start an attempt. One that runs or has run is not started again."""
        key = (spec.run_id, spec.token)
        if key in self._running or key in self._ended:
            log.warning("attempt %d of %s is not started twice", spec.token, spec.run_id)
            return
        self._running[key] = spec
        if self._closing or len(self._running) > RUNNING_MAX:
            self._refuse(spec)
        elif spec.held and not isinstance(spec.task, CommandTask):
            asyncio.get_running_loop().call_soon(self._prepared, spec)
        else:
            self._begin(spec)

    def release(self, run_id: str, token: int) -> None:
        """Start what was held. What was released already, or has ended, stays as it is."""
        spec = self._ready.pop((run_id, token), None)
        if spec is None:
            return
        if isinstance(spec.task, CommandTask):
            self._commands.release(run_id, token)
        else:
            self._begin(replace(spec, held=False))

    def _begin(self, spec: AttemptSpec) -> None:
        match spec.task:
            case CommandTask() | ClassTask() as task:
                self._commands.launch(spec, task)
            case HttpTask() | TcpTask() as task:
                self._calls.launch(spec, task)
            case _ as never:
                assert_never(never)

    def stop(self, run_id: str, token: int, reason: str) -> None:
        """End an attempt (TERM, its grace, KILL); it is reported as cancelled unless it was faster."""
        self._give_up_held(AttemptState.CANCELLED, reason, [(run_id, token)])
        self._commands.stop(run_id, token, reason)
        self._calls.stop(run_id, token, reason)

    def set_lease(self, stop_at_monotonic_s: float, kill_at_monotonic_s: float) -> None:
        """All attempts get TERM at the first instant and KILL at the second, unless a later call comes before."""
        self._commands.set_lease(stop_at_monotonic_s, kill_at_monotonic_s)
        self._calls.set_lease(stop_at_monotonic_s)

    async def kill_all(self, reason: str) -> None:
        """The session was lost: returns when all are dead, at the latest soon after the lease's KILL.

        Those that outlive a session live on.
        """
        self._give_up_held(AttemptState.LOST, reason, list(self._ready))
        self._commands.end_all(reason)
        self._calls.end_all(reason)
        await self._until(lambda: all(spec.outlives_session for spec in self._running.values()))

    async def close(self, grace_s: float) -> None:
        """End everything, TERM first and KILL after its grace or `grace_s`; returns when all are dead and reported."""
        self._closing = True
        self._commands.workers.close()
        self._give_up_held(AttemptState.LOST, "the node was stopped", list(self._ready))
        self._commands.end_all("the node was stopped")
        await self._calls.close()
        await self._commands.keeper.close(grace_s)
        await self._until(lambda: not self._running)
        if self._pruning is not None:
            await self._pruning

    async def scan(self) -> list[dict[str, Any]]:
        """What the modules with job classes define, as documents of jobs; then workers have imported them and wait.

        Waits for a lease. ImportFailed: they could not be imported; the text says why.
        """
        found = await self._commands.workers.scan(self._modules)
        self._commands.workers.refill()
        return found

    def log_path(self, run_id: str, token: int) -> Path | None:
        """The output of an attempt; None: it wrote nothing, is no command, or is too long ago."""
        path = self._outputs / f"{file_stem(run_id, token)}.log"
        return path if path.is_file() else None

    def _prepared(self, spec: AttemptSpec) -> None:
        key = (spec.run_id, spec.token)
        if key in self._running and not self._closing:
            self._ready[key] = spec
            self.on_ready(*key)
        elif key in self._running and not isinstance(spec.task, CommandTask):
            self._refuse(spec)

    def _give_up_held(self, outcome: AttemptState, reason: str, keys: list[tuple[str, int]]) -> None:
        """What was prepared and is no command has nobody else who ends it."""
        for key in keys:
            spec = self._ready.pop(key, None)
            if spec is not None and not isinstance(spec.task, CommandTask):
                now_ms = self._clock.wall_ms()
                self._finished(AttemptResult(*key, outcome, None, None, now_ms, f"it was not started: {reason}"))

    def _refuse(self, spec: AttemptSpec) -> None:
        why = "the node is stopping" if self._closing else f"the node already runs {RUNNING_MAX} attempts"
        reason = f"the command was not started: {why}"
        now_ms = self._clock.wall_ms()
        self._finished(AttemptResult(spec.run_id, spec.token, AttemptState.LOST, None, None, now_ms, reason))

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._told.clear()
            await self._told.wait()

    def _started(self, spec: AttemptSpec, started_ms: int) -> None:
        try:
            self._on_started(spec.run_id, spec.token, started_ms)
        except Exception:
            log.exception("the start of attempt %d of %s could not be told", spec.token, spec.run_id)

    def _finished(self, result: AttemptResult) -> None:
        asyncio.get_running_loop().call_soon(self._tell, result)

    def _tell(self, result: AttemptResult) -> None:
        key = (result.run_id, result.token)
        del self._running[key]
        self._ready.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > ENDED_REMEMBERED_MAX:
            del self._ended[next(iter(self._ended))]
        self._told.set()
        try:
            self._on_finished(result)
        except Exception:
            log.exception("the end of attempt %d of %s could not be told", result.token, result.run_id)
        self._ended_since_pruning += 1
        if self._ended_since_pruning >= OUTPUT_PRUNE_EVERY:
            self._prune()

    def _prune(self) -> None:
        if self._pruning is not None and not self._pruning.done():
            return
        self._ended_since_pruning = 0
        keep = frozenset(f"{file_stem(run_id, token)}.log" for run_id, token in self._running)
        work = asyncio.to_thread(
            prune, self._outputs, keep=keep, files_max=OUTPUT_FILES_MAX, bytes_max=OUTPUT_TOTAL_BYTES_MAX
        )
        self._pruning = asyncio.get_running_loop().create_task(self._pruned(work))

    async def _pruned(self, work: Awaitable[int]) -> None:
        try:
            await work
        except OSError:
            log.exception("old output could not be removed")
