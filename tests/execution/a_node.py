"""A process that is nothing but a supervisor with a lease that it renews: for tests that kill and stop whole nodes.

    python a_node.py FOLDER LEASE_STOP_S LEASE_KILL_S SPEC…

Each SPEC is a JSON object: `shell` and fields of AttemptSpec. Every result is written to FOLDER/results as a line of
JSON; FOLDER/ready is there when it has started. It runs until it is killed, or gets a line on its standard input.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from peercron.clock import SystemClock
from peercron.core.job import CommandTask
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.execution.supervisor import Supervisor

RENEWALS_PER_LEASE = 20


def write_result(folder: Path, result: AttemptResult) -> None:
    with (folder / "results").open("a") as results:
        results.write(json.dumps(dataclasses.asdict(result)) + "\n")


def spec(folder: Path, n: int, given: dict[str, object]) -> AttemptSpec:
    task = CommandTask(shell=str(given.pop("shell")), cwd=str(folder))
    fields: dict[str, object] = {"timeout_ms": 0, "kill_grace_ms": 10_000, "env": {}}
    return AttemptSpec(f"uid/{n}", n, 1, "default/job", 0, task, **fields | given)  # type: ignore[arg-type]


async def renew(supervisor: Supervisor, stop_s: float, kill_s: float) -> None:
    while True:
        now = SystemClock().monotonic()
        supervisor.set_lease(now + stop_s, now + kill_s)
        await asyncio.sleep(stop_s / RENEWALS_PER_LEASE)


async def main(folder: Path, stop_s: float, kill_s: float, specs: list[str]) -> None:
    supervisor = Supervisor(
        folder / "data", "a", SystemClock(), lambda *_: None, lambda result: write_result(folder, result)
    )
    await supervisor.start()
    renewing = asyncio.create_task(renew(supervisor, stop_s, kill_s))
    await asyncio.sleep(0)
    for n, given in enumerate(specs, 1):
        supervisor.launch(spec(folder, n, json.loads(given)))
    (folder / "ready").write_text(f"{supervisor.guardian_pid}\n")
    await asyncio.to_thread(sys.stdin.readline)
    renewing.cancel()
    await supervisor.close(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
