"""workers: the orders by which job classes run, and the few processes that have imported them already and wait.

The guardian starts them like any attempt and treats them like one: whoever is handed an attempt has its timeout, its
lease and its end. A worker that is not there when it is wanted costs the time of an import, nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from peercron.core.job import ClassTask
from peercron.execution.limits import (
    IMPORT_PAUSE_S,
    IMPORT_S_MAX,
    PROCESSES_MAX,
    WORKER_MODULES_MAX,
    WORKER_PAUSE_S_MAX,
    WORKER_PAUSE_S_MIN,
    WORKERS_WAITING,
)
from peercron.execution.orders import Launch
from peercron.execution.port import AttemptSpec, ImportFailed

log = logging.getLogger(__name__)

#: A worker finds modules where the node finds them, also when it was started with another directory or PYTHONPATH.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from peercron.execution.worker import main; main(json.loads(sys.argv[2]))"
)
_GRACE_S = 10.0


def _search_path() -> list[str]:
    """As this process searches; and, as `python -m` would and the installed script does not, where it was started."""
    try:
        here = os.getcwd()
    except OSError:  # that folder is gone
        return [entry for entry in sys.path if os.path.isabs(entry)]
    return list(dict.fromkeys([*(os.path.abspath(entry) for entry in sys.path), here]))


class Workers:
    """`say` takes an order for the guardian; False: there is none at the moment."""

    def __init__(self, data_dir: Path, modules: Iterable[str], ca: Path | None, say: Callable[[Any], bool]) -> None:
        self._folder, self._say = data_dir, say
        self._path = json.dumps(_search_path())
        self._ca = str(ca.resolve()) if ca else ""
        #: Modules that a waiting worker has imported, the last used last.
        self._modules = list(modules)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, None] = {}
        self._scans: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._pause_s = WORKER_PAUSE_S_MIN
        self._pausing: asyncio.TimerHandle | None = None

    def assign(self, key: str, spec: AttemptSpec, task: ClassTask, now_ms: int) -> dict[str, Any]:
        """The order that begins an attempt: in a worker that waits, or else in a new process."""
        self._remember(task.target.partition(":")[0])
        worker = next(iter(self._waiting), "")
        if worker:
            del self._waiting[worker]
            self._pause_s = WORKER_PAUSE_S_MIN
        work = {
            "target": task.target,
            "memory_max": task.memory_max_bytes,
            "deadline_ms": now_ms + spec.timeout_ms if spec.timeout_ms else 0,
            "params": [list(pair) for pair in spec.params],
            "checkpoint": spec.checkpoint.decode(),
            "ca": self._ca,
        }
        launch = self._order(key, json.dumps(work)) | {
            "env": [[entry.name, entry.source.value, entry.value] for entry in task.env],
            "cwd": task.cwd,
            "variables": dict(spec.env),
            "timeout_s": spec.timeout_ms / 1_000,
            "grace_s": spec.kill_grace_ms / 1_000,
            "keep": spec.outlives_session,
            "until": list(spec.until or ()),
            "processes": spec.processes_max or PROCESSES_MAX,
        }
        return {"do": "assign", "worker": worker, "launch": launch}

    def refill(self) -> None:
        """Start workers until enough of them wait."""
        while self._modules and self._pausing is None and len(self._waiting) < WORKERS_WAITING:
            key = f"worker-{next(self._numbers)}"
            if not self._say({"do": "warm", "launch": self._order(key, "", self._modules) | {"keep": True}}):
                return
            self._waiting[key] = None

    async def scan(self, modules: Iterable[str]) -> list[dict[str, Any]]:
        """What these modules define, as documents of jobs; waits for a lease. Raises ImportFailed."""
        modules = list(modules)
        line: dict[str, Any] = {"outcome": "lost"}
        while line["outcome"] == "lost":
            line = await self._scan(modules)
        if line["outcome"] != "succeeded":
            raise ImportFailed("\n".join(filter(None, (line["reason"], line["output_tail"].strip()))))
        found: list[dict[str, Any]] = line["found"]
        return found

    async def _scan(self, modules: list[str]) -> dict[str, Any]:
        """How it ended; with what was found, if it was."""
        key = f"import-{next(self._numbers)}"
        into = self._folder.resolve() / f"{key}.json"
        work = json.dumps({"scan": modules, "into": str(into)})
        ended = self._scans[key] = asyncio.get_running_loop().create_future()
        try:
            # It does nothing for the cluster, so it may outlast the lease that it began under.
            launch = self._order(key, work) | {"timeout_s": IMPORT_S_MAX, "keep": True}
            line: dict[str, Any] = {"outcome": "lost"}
            if self._say({"do": "assign", "worker": "", "launch": launch}):
                line = await ended
            if line["outcome"] == "lost":
                await asyncio.sleep(IMPORT_PAUSE_S)  # there is no guardian or no lease at the moment
            elif line["outcome"] == "succeeded":
                line = line | {"found": json.loads(await asyncio.to_thread(into.read_bytes))}
            return line
        finally:
            self._scans.pop(key, None)
            await asyncio.to_thread(into.unlink, missing_ok=True)

    def hear(self, line: dict[str, Any]) -> bool:
        """A line of the guardian; False: it is of an attempt."""
        key = line["key"]
        if key in self._scans:
            if line["is"] == "ended" and not self._scans[key].done():
                self._scans[key].set_result(line)
            return True
        if not key.startswith("worker-"):
            return False
        if line["is"] == "ended" and key in self._waiting:
            del self._waiting[key]
            self._mourn(line)
        return True

    def bury(self) -> None:
        """The guardian has died, and everybody with it."""
        self._waiting.clear()
        for scan in self._scans.values():
            if not scan.done():
                scan.set_result({"outcome": "lost"})

    def close(self) -> None:
        self._modules.clear()
        if self._pausing is not None:
            self._pausing.cancel()

    def _mourn(self, line: dict[str, Any]) -> None:
        """One has died while it waited: what it imports is to blame, so it is not tried again at once."""
        if self._pausing is not None or not self._modules:
            return
        tail = line["output_tail"].strip().rpartition("\n")[2]
        log.warning("worker_died", extra={"reason": line["reason"], "output": tail, "pause_s": self._pause_s})
        self._pausing = asyncio.get_running_loop().call_later(self._pause_s, self._resume)
        self._pause_s = min(2 * self._pause_s, WORKER_PAUSE_S_MAX)

    def _resume(self) -> None:
        self._pausing = None
        self.refill()

    def _remember(self, module: str) -> None:
        if module in self._modules:
            self._modules.remove(module)
        self._modules.append(module)
        del self._modules[:-WORKER_MODULES_MAX]

    def _order(self, key: str, work: str, modules: Iterable[str] = ()) -> Launch:
        return Launch(
            key=key,
            argv=[sys.executable, "-X", "utf8", "-c", _PROGRAM, self._path, json.dumps(list(modules))],
            shell="",
            env=[],
            cwd="",
            user="",
            variables={},
            timeout_s=0,
            grace_s=_GRACE_S,
            keep=False,
            until=[],
            held=False,
            worker=True,
            work=work,
            processes=PROCESSES_MAX,
        )
