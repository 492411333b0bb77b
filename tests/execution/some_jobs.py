"""Job classes that behave, and some that do not: what the tests of workers run."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any

from peercron import Job


class Hello(Job):
    async def run(self, ctx: Any) -> None:
        sys.stdout.write(
            f"{ctx.job} {ctx.attempt} {ctx.token} {ctx.params} {ctx.last_checkpoint} {os.environ['MORE']}\n"
        )
        ctx.log.info("logged")
        sys.stdout.write(f"{Path.cwd()} {os.environ['HOME']} {threading.current_thread() is threading.main_thread()}\n")


class Plain(Job):
    def run(self, ctx: Any) -> None:
        sys.stdout.write(f"in a thread: {threading.current_thread() is not threading.main_thread()}\n")
        asyncio.run(asyncio.sleep(0))  # no loop runs here


class Raises(Job):
    async def run(self, ctx: Any) -> None:
        raise ValueError("no such page\nsecond line")


class Exits(Job):
    def run(self, ctx: Any) -> None:
        sys.exit(3)


class Vanishes(Job):
    def run(self, ctx: Any) -> None:
        os._exit(7)


class Crashes(Job):
    def run(self, ctx: Any) -> None:
        ctypes.string_at(0)


class Waits(Job):
    """A coroutine that cleans up when it is cancelled."""

    async def run(self, ctx: Any) -> None:
        sys.stdout.write("waits\n")
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            sys.stdout.write(f"cleans up: {ctx.cancelled.is_set()}\n")
            raise


class WaitsPlainly(Job):
    def run(self, ctx: Any) -> None:
        sys.stdout.write("waits\n")
        ctx.cancelled.wait(3_600)
        sys.stdout.write("was told\n")


class Blocks(Job):
    """Holds the loop in C, deaf to everything."""

    async def run(self, ctx: Any) -> None:
        sys.stdout.write("blocks\n")
        ctypes.CDLL(None).sleep(3_600)
        ctypes.CDLL(None).sleep(3_600)


class Eats(Job):
    def run(self, ctx: Any) -> None:
        eaten = []
        while True:
            eaten.append(bytearray(16 << 20))


class Forks(Job):
    """Children and grandchildren in sessions of their own, which have forgotten where they are from."""

    def run(self, ctx: Any) -> None:
        for n in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execve("/bin/sleep", ["sleep", f"36{n}"], {})
                os._exit(0)
        (Path(ctx.params["folder"]) / "forked").write_text(f"{os.getpid()}\n")
        threading.Event().wait()


class Multiplies(Job):
    """Many children, and no end of them but its own."""

    def run(self, ctx: Any) -> None:
        for _ in range(60):
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", "60"])
        threading.Event().wait()


class LeavesThings(Job):
    """Ends, and leaves a thread, a task and a child running."""

    async def run(self, ctx: Any) -> None:
        threading.Thread(target=threading.Event().wait).start()
        self.task = asyncio.create_task(asyncio.sleep(3_600))
        child = await asyncio.create_subprocess_exec("sleep", "3600")
        (Path(ctx.params["folder"]) / "left").write_text(f"{child.pid}\n")


class Deadline(Job):
    async def run(self, ctx: Any) -> None:
        sys.stdout.write(f"{ctx.deadline is not None}\n")
        await asyncio.sleep(3_600)


class NoJob:
    pass


class Numbers(Job):
    """Says which process it is."""

    def run(self, ctx: Any) -> None:
        sys.stdout.write(f"{os.getpid()}\n")


class Priority(Job):
    """Says how it stands with the processor and with memory."""

    def run(self, ctx: Any) -> None:
        sys.stdout.write(f"{os.nice(0)} {Path('/proc/self/oom_score_adj').read_text()}")
