"""commands: the attempts that are processes, as the node's loop sees them; the guardian does the work.

When a guardian dies its attempts are reported as lost, as soon as they are dead; those that were launched since then go
to the next one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from peercron.clock import Clock
from peercron.core.job import ClassTask, CommandTask
from peercron.core.run import AttemptState
from peercron.execution.keeper import Keeper
from peercron.execution.limits import LINE_BYTES_MAX, PROCESSES_MAX
from peercron.execution.orders import Launch, encode
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.execution.workers import Workers

log = logging.getLogger(__name__)


def file_stem(run_id: str, token: int) -> str:
    """The name of an attempt's files.

    >>> file_stem("7f3a/1700000000000", 42)
    '42-7f3a%2F1700000000000'
    """
    return f"{token}-{quote(run_id, safe='')[:180]}"


@dataclass(slots=True)
class _Live:
    spec: AttemptSpec
    #: The encoded order, until a guardian has it.
    order: dict[str, Any] | None


class Commands:
    """`started`, `finished` and `ready` are called in the loop and must not raise."""

    def __init__(
        self,
        data_dir: Path,
        node_name: str,
        clock: Clock,
        started: Callable[[AttemptSpec, int], None],
        finished: Callable[[AttemptResult], None],
        ready: Callable[[AttemptSpec], None],
        *,
        modules: tuple[str, ...] = (),
        ca: Path | None = None,
    ) -> None:
        self._clock = clock
        self._started = started
        self._finished = finished
        self._ready = ready
        self._live: dict[str, _Live] = {}
        self._lease = {"do": "lease", "stop_at": -math.inf, "kill_at": -math.inf}
        self._lease_is_known = False
        self.keeper = Keeper(
            data_dir,
            node_name,
            on_line=self._hear,
            on_dead=self._lose,
            on_ready=self._launch_waiting,
            is_needed=lambda: bool(self._live),
        )
        self.workers = Workers(data_dir, modules, ca, self._say_leased)

    def launch(self, spec: AttemptSpec, task: CommandTask | ClassTask) -> None:
        key = file_stem(spec.run_id, spec.token)
        if isinstance(task, ClassTask):
            order = self.workers.assign(key, spec, task, self._clock.wall_ms())
        else:
            order = {"do": "launch", "launch": _order(key, spec, task)}
        live = self._live[key] = _Live(spec, order)
        if len(encode(order)) > LINE_BYTES_MAX:
            self._end(key, AttemptState.FAILED, f"the task is larger than {LINE_BYTES_MAX} bytes")
        else:
            self._send(live)
        if isinstance(task, ClassTask):
            self.workers.refill()

    def release(self, run_id: str, token: int) -> None:
        """What was held starts now."""
        key = file_stem(run_id, token)
        if key in self._live:
            self.keeper.say({"do": "release", "key": key})

    def stop(self, run_id: str, token: int, reason: str) -> None:
        key = file_stem(run_id, token)
        live = self._live.get(key)
        if live is None:
            return
        if live.order is not None:
            self._end(key, AttemptState.CANCELLED, reason)
        else:
            self.keeper.say({"do": "stop", "key": key, "reason": reason})

    def set_lease(self, stop_at: float, kill_at: float) -> None:
        self._lease = {"do": "lease", "stop_at": stop_at, "kill_at": kill_at}
        # An idle guardian sleeps on; it gets the lease with the next launch.
        self._lease_is_known = bool(self._live) and self.keeper.say(self._lease)

    def end_all(self, reason: str) -> None:
        """End all but those that may live without a session."""
        for key, live in tuple(self._live.items()):
            if live.order is not None:
                self._end(key, AttemptState.LOST, f"the command was not started: {reason}")
        self.keeper.say({"do": "end_all", "reason": reason})

    # The guardian.

    def _send(self, live: _Live) -> None:
        assert live.order is not None
        if self._say_leased(live.order):
            live.order = None

    def _say_leased(self, order: dict[str, Any]) -> bool:
        self._lease_is_known = self._lease_is_known or self.keeper.say(self._lease)
        return self.keeper.say(order)

    def _launch_waiting(self) -> None:
        self._lease_is_known = False  # this guardian has heard of none
        for live in self._live.values():
            if live.order is not None:
                self._send(live)
        self.workers.refill()

    def _lose(self) -> None:
        self.workers.bury()
        for key, live in tuple(self._live.items()):
            if live.order is None:
                self._end(key, AttemptState.LOST, "the guardian of the node died")

    def _hear(self, line: dict[str, Any]) -> None:
        if self.workers.hear(line):
            return
        live = self._live.get(line["key"])
        if live is None:
            log.error("the guardian speaks of an unknown attempt: %s", line["key"])
        elif line["is"] == "started":
            self._started(live.spec, line["started_ms"])
        elif line["is"] == "held":
            self._ready(live.spec)
        elif line["is"] == "ended":
            self._finish(line["key"], _result(live.spec, line))

    def _end(self, key: str, outcome: AttemptState, reason: str) -> None:
        """An end that no guardian has told."""
        spec = self._live[key].spec
        finished_ms = self._clock.wall_ms()
        self._finish(key, AttemptResult(spec.run_id, spec.token, outcome, None, None, finished_ms, reason))

    def _finish(self, key: str, result: AttemptResult) -> None:
        del self._live[key]
        self._finished(result)


def _order(key: str, spec: AttemptSpec, task: CommandTask) -> Launch:
    return Launch(
        key=key,
        argv=list(task.argv),
        shell=task.shell,
        env=[[entry.name, entry.source.value, entry.value] for entry in task.env],
        cwd=task.cwd,
        user=task.user,
        variables=dict(spec.env),
        timeout_s=spec.timeout_ms / 1_000,
        grace_s=spec.kill_grace_ms / 1_000,
        worker=False,
        work="",
        keep=spec.outlives_session,
        until=list(spec.until or ()),
        held=spec.held,
        processes=spec.processes_max or PROCESSES_MAX,
    )


def _result(spec: AttemptSpec, line: dict[str, Any]) -> AttemptResult:
    return AttemptResult(
        run_id=spec.run_id,
        token=spec.token,
        outcome=AttemptState(line["outcome"]),
        exit_code=line["exit_code"],
        started_ms=line["started_ms"],
        finished_ms=line["finished_ms"],
        reason=line["reason"],
        output_tail=line["output_tail"],
    )
