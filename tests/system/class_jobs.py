"""Job classes for real nodes: one that goes on where it was, and some that mean no good."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

from peercron import Job, PlainRunContext, RunContext, every

FOLDER = "folder"


class Counts(Job):
    """Says which step it makes, on which node; a step is made after the checkpoint of the one before."""

    def run(self, ctx: PlainRunContext) -> None:
        step = ctx.last_checkpoint or 0
        with (Path(ctx.params[FOLDER]) / "steps").open("a", encoding="utf-8") as told:
            while not ctx.cancelled.wait(0.05):
                told.write(f"{ctx.attempt} {ctx.node} {step}\n")
                told.flush()
                step += 1
                ctx.checkpoint(step)


class Shares(Job):
    """The example of the documents."""

    overlap = "queue_all"

    async def run(self, ctx: RunContext) -> None:
        async with ctx.lock("search/index", ttl="30s", wait="10s") as lock:
            n = await ctx.state.incr("search/generation")
            await ctx.queue("mail").put({"generation": n}, key=ctx.run_id)
            await ctx.checkpoint({"done": n, "token": lock.token})


class First(Job):
    """Of those who contend one does the slot's work, in the slot's own name; the first one fails on its way."""

    mode = "contend"
    losers = "skip"

    async def run(self, ctx: RunContext) -> None:
        async with ctx.lock("search/first", wait="10s"):
            if ctx.last_checkpoint is None:
                await ctx.checkpoint(ctx.node)
                raise RuntimeError("the next one goes on")
            await ctx.state.put("search/first", [ctx.last_checkpoint, ctx.node])


class Blocks(Job):
    """Holds its loop in C and hears nothing."""

    kill_grace = "500ms"

    async def run(self, ctx: RunContext) -> None:
        _note(ctx, "blocks")
        while True:
            ctypes.CDLL(None).sleep(3_600)


class Vanishes(Job):
    def run(self, ctx: PlainRunContext) -> None:
        os._exit(7)


class Eats(Job):
    memory_max = "512MiB"

    def run(self, ctx: PlainRunContext) -> None:
        eaten = []
        while True:
            eaten.append(bytearray(16 << 20))


class Forks(Job):
    """A family that has left its parents, its session and its environment; one of them works hard.

    With more of those the test would be one of the machine: where the kernel shares the processor between sessions
    (autogroup), each has as much of it as all nodes together.
    """

    kill_grace = "500ms"

    def run(self, ctx: PlainRunContext) -> None:
        for work in ("while :; do :; done", "sleep 3600", "sleep 3600", "sleep 3600"):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execve("/bin/sh", ["sh", "-c", work], {})
                os._exit(0)
        _note(ctx, "forks")
        threading.Event().wait()


@every("1s", overlap="queue_all")
async def innocent(ctx: RunContext) -> None:
    """Runs beside them all."""


def _note(ctx: RunContext | PlainRunContext, name: str) -> None:
    (Path(ctx.params[FOLDER]) / name).write_text(f"{os.getpid()}\n", encoding="ascii")
