"""worker: the process in which a job class runs: it imports, waits for one attempt, runs it, and is gone.

One attempt and no more: what the class leaks, leaves running or changes in its process is gone with it, and its output,
its memory and its children are its own. What a new process costs, the import, is paid before, by workers that wait.

TERM cancels: `ctx.cancelled` is set, and a coroutine gets CancelledError. Who does not heed it is killed when its grace
ends, by the guardian.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from peercron import registry
from peercron.errors import ConfigError
from peercron.execution import kernel
from peercron.execution.limits import IMPORT_BYTES_MAX
from peercron.execution.orders import encode
from peercron.jobs.job import Job, perform
from peercron.jobs.reach import HttpReach, context_from

CANCELLED = 128 + signal.SIGTERM
FAILED = 1
#: When memory runs out, a job shall be killed and not the node.
OOM_SCORE = "500"
#: After this without work the client of locks, queues and state is imported too; it takes a while.
IDLE_S = 0.5
#: A class that takes all processors it can get, with all its children, must not keep the node from renewing its lease.
NICE = 5
#: What tasks that a job left running have for their own end.
LEFT_TASKS_S = 1.0

#: Modules whose part of a traceback tells a user nothing.
_OURS = ("peercron.", "asyncio.", "importlib", "_frozen_importlib")

log = logging.getLogger(__name__)


class Line:
    """The socket to the shepherd, which no child of the job inherits."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(0))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def work(self) -> dict[str, Any]:
        """What there is to do, when it comes; no longer needed: this process ends."""
        if not select.select([self._socket], [], [], IDLE_S)[0]:
            # Who waits so long has the time for what only some runs need, and those need at once.
            importlib.import_module("peercron.client.client")
        with self._socket.makefile("rb") as lines:
            text = lines.readline()
        if not text:
            os._exit(0)
        found: dict[str, Any] = json.loads(text)
        return found

    def tell(self, **said: Any) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(said))


def main(modules: list[str]) -> NoReturn:
    """Import, wait, run. Standard input is the socket to the shepherd."""
    kernel.set_name("peercron-work")
    kernel.set_oom_score(OOM_SCORE)
    os.nice(NICE)
    line = Line()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream here
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for module in modules:
        with contextlib.suppress(Exception):  # who needs it will be told, when it is imported again
            registry.imported(module)
    order = line.work()
    code = FAILED
    try:
        code = _obey(order, line)
    except SystemExit as stop:
        code = _code(stop)
    except BaseException as error:  # noqa: BLE001 - whatever the job raised is its end, and is told
        _print(error)
        line.tell(failed=_named(error))
    _leave(code)


def _obey(order: dict[str, Any], line: Line) -> int:
    os.environ.update(order["environment"])
    if order["cwd"]:
        os.chdir(order["cwd"])
    work = order["work"]
    if "scan" in work:
        _scan(work, line)
        return 0
    _bound_memory(work["memory_max"])
    try:
        job = registry.load(work["target"])
    except registry.Absent as absent:
        line.tell(absent=str(absent))
        return FAILED
    line.tell(begun=True)
    loop = asyncio.new_event_loop()
    code = loop.run_until_complete(_run(job, work))
    loop.run_until_complete(_cancel_rest())
    return code


def _scan(work: dict[str, Any], line: Line) -> None:
    """Write what these modules define, for the node to read."""
    try:
        text = json.dumps(registry.documents(work["scan"])).encode()
    except (registry.Absent, ConfigError) as error:  # sentences; where in our code they come from says nothing
        first, _, rest = str(error).partition("\n")
        sys.stderr.write(rest)
        line.tell(failed=f"--import: {first}")
        sys.exit(FAILED)
    if len(text) > IMPORT_BYTES_MAX:
        line.tell(failed=f"the jobs of the modules take {len(text)} bytes, at most {IMPORT_BYTES_MAX} are read")
        sys.exit(FAILED)
    with open(work["into"], "wb") as file:
        file.write(text)


async def _run(job: type[Job], work: dict[str, Any]) -> int:
    loop = asyncio.get_running_loop()
    reach = HttpReach(os.environ, work["ca"])
    context = context_from(os.environ, work, reach)
    task = loop.create_task(perform(job, context))

    def cancel() -> None:
        context.cancel()
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not context.cancelled.is_set():
            raise
        return CANCELLED
    finally:
        await _closed(reach)
    return 0


async def _closed(reach: HttpReach) -> None:
    with contextlib.suppress(Exception):  # the run has had its outcome
        async with asyncio.timeout(LEFT_TASKS_S):
            await reach.close()


async def _cancel_rest() -> None:
    """Tasks that the job left running are cancelled, and not waited for long."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=LEFT_TASKS_S)


def _bound_memory(size: int) -> None:
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _print(error: BaseException) -> None:
    """The traceback from where the job's own code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace or error.__traceback__)


def _named(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    sys.stderr.write(f"{stop.code}\n")
    return FAILED


def _leave(code: int) -> NoReturn:
    """At once: threads that the job left running must not keep it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code & 0xFF)
