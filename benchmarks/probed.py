"""probed: a peercron node that writes down what kept its loop, for the benchmarks: python -m benchmarks.probed FILE …

One JSON line for each callback of the loop that took longer than SLOW_MS, and one for each such pause of the collector.
The time is taken inside the process, so it holds when the machine is busy with others too: `cpu_ms` is what the thread
itself used of `wall_ms`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import IO, Any

SLOW_MS = 5.0


def watch_loop(out: IO[str]) -> None:
    """Time every callback that an asyncio loop of this process runs from here on."""
    run = asyncio.Handle._run  # noqa: SLF001 - where every callback of every loop passes
    clock, cpu_clock = time.perf_counter, time.thread_time

    def timed(handle: asyncio.Handle) -> None:
        callback, began, cpu = getattr(handle, "_callback", None), clock(), cpu_clock()
        run(handle)
        wall_ms = (clock() - began) * 1e3
        if wall_ms > SLOW_MS:
            _write(out, wall_ms, (cpu_clock() - cpu) * 1e3, _name(callback))

    asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]  # noqa: SLF001


def watch_collector(out: IO[str]) -> None:
    """Time every run of the garbage collector."""
    began = [0.0]

    def noted(phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            began[0] = now
        elif (now - began[0]) * 1e3 > SLOW_MS:
            _write(out, (now - began[0]) * 1e3, 0.0, f"collector of generation {info['generation']}")

    gc.callbacks.append(noted)


def _write(out: IO[str], wall_ms: float, cpu_ms: float, what: str) -> None:
    line = {"at_ns": time.monotonic_ns(), "wall_ms": round(wall_ms, 2), "cpu_ms": round(cpu_ms, 2), "what": what}
    out.write(json.dumps(line) + "\n")


def _name(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", owner))
    return str(getattr(callback, "__qualname__", callback))


def main() -> None:
    from peercron.cli import main as peercron

    out = open(sys.argv.pop(1), "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process
    watch_loop(out)
    watch_collector(out)
    peercron()


if __name__ == "__main__":
    main()
