"""What the node asks of execution and hears from it: an attempt's specification and its result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from peercron.core.job import Task
from peercron.core.run import AttemptState


class Until(NamedTuple):
    """Until when an attempt may live, whatever becomes of the node's lease: TERM and KILL, in monotonic seconds."""

    stop_at_s: float
    kill_at_s: float


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """One attempt to make here. `env`: the PEERCRON_* variables (headers of an HTTP task). `timeout_ms` 0: none."""

    run_id: str
    token: int
    attempt: int
    job_key: str
    slot_ms: int
    task: Task
    timeout_ms: int
    kill_grace_ms: int
    env: Mapping[str, str]
    #: True: lives on when the node's lease ends or its session is lost (not when the node ends).
    keep_on_disconnect: bool = False
    #: What an earlier attempt of the run last said of how far it was (JSON); empty: nothing.
    checkpoint: bytes = b""
    #: What whoever asked for the run gave it on its way; a job class has them by their own names.
    params: tuple[tuple[str, str], ...] = ()
    #: Its own time, for one that needs neither lease nor session; None: it lives by the node's.
    until: Until | None = None
    #: True: it is only prepared, and starts when it is released.
    held: bool = False
    #: How many processes it may have at once; 0: `limits.PROCESSES_MAX`.
    processes_max: int = 0

    @property
    def outlives_session(self) -> bool:
        """Whether it goes on when the node's lease ends or its session is lost."""
        return self.keep_on_disconnect or self.until is not None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended; none of its processes is alive when this is said.

    `outcome` is one of SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, REFUSED (its job class is not here). `exit_code`
    is None where nothing exited: it was ended by a signal (`reason` names it), was an HTTP call, or never started
    (`started_ms` is None then).
    """

    run_id: str
    token: int
    outcome: AttemptState
    exit_code: int | None
    started_ms: int | None
    finished_ms: int
    reason: str
    output_tail: str = ""


class ImportFailed(Exception):
    """Modules with job classes could not be imported; the text says why."""


class Executor(Protocol):
    """Who runs attempts; `supervisor.Supervisor` says what each of these does."""

    @property
    def running(self) -> Mapping[tuple[str, int], AttemptSpec]: ...
    @property
    def ready(self) -> Collection[tuple[str, int]]: ...

    #: Called with (run id, token) when a held attempt is prepared.
    on_ready: Callable[[str, int], None]

    async def start(self) -> None: ...
    def launch(self, spec: AttemptSpec) -> None: ...
    def release(self, run_id: str, token: int) -> None: ...
    def stop(self, run_id: str, token: int, reason: str) -> None: ...
    def set_lease(self, stop_at_monotonic_s: float, kill_at_monotonic_s: float) -> None: ...
    async def kill_all(self, reason: str) -> None: ...
    async def close(self, grace_s: float) -> None: ...
    async def scan(self) -> list[dict[str, Any]]: ...
    def log_path(self, run_id: str, token: int) -> Path | None: ...
