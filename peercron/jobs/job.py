"""job: the class that users inherit from, the functions that make one of a function, and how one is run."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar

from peercron.jobs.context import PlainRunContext, RunContext

Run = Callable[[Any], Any]
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Job:
    """A job of the cluster; inherit from it and write `run`.

    Every key of jobs.toml can stand as an attribute (`schedule`, `every`, `mode`, `timeout`, `retry`, …). With neither
    `schedule` nor `every` nor `at` it runs when it is asked to (`peercron job run NAME`).

        class Report(Job):
            name = "nightly-report"
            schedule = "0 2 * * *"
            timeout = "15m"

            async def run(self, ctx):
                ctx.log.info("slot %s, attempt %d", ctx.slot, ctx.attempt)

    With `queue = "mail"` it works through a queue: each item is a run, `ctx.item` its payload; a run that succeeds has
    done the item, any other end gives it back; `concurrency` says how many at a time on each node. With
    `mode = "queue"` it has a schedule too, and each of its slots puts an item there, for whichever node has room first.

    A plain `def run` has a thread to itself. The run succeeds when `run` returns; an exception fails it, and its
    traceback is in the run's output.
    """

    #: Names the job for ever: with it, the class can be renamed and moved. Default: the class's name in lower case with
    #: dashes.
    name: ClassVar[str] = ""
    #: A class to inherit from that is no job itself says `abstract = True`; it is not inherited.
    abstract: ClassVar[bool] = False

    def run(self, ctx: Any) -> Any:
        """Do the work of one slot. `ctx` is a RunContext, or a PlainRunContext where this is no coroutine."""
        raise NotImplementedError(f"{type(self).__qualname__} has no run(self, ctx)")


def name_of(kind: type[Job]) -> str:
    """What the job of a class is called.

    >>> name_of(type("NightlyReport", (Job,), {}))
    'nightly-report'
    """
    return kind.name or _HUMP.sub("-", kind.__name__).replace("_", "-").lower()


def cron(expression: str, **keys: Any) -> Callable[[Run], type[Job]]:
    """Make a job of a function, by a cron expression; `keys` are those of jobs.toml.

    @cron("0 2 * * *", timezone="Europe/Berlin")
    async def nightly_report(ctx): ...
    """
    return _made(schedule=expression, **keys)


def every(period: str, **keys: Any) -> Callable[[Run], type[Job]]:
    """Make a job of a function, in a period: `@every("30s")`; `keys` are those of jobs.toml."""
    return _made(every=period, **keys)


def once(at: Any, **keys: Any) -> Callable[[Run], type[Job]]:
    """Make a job of a function, at one instant (a datetime or "2026-12-01T10:00:00Z"); `keys` as in jobs.toml."""
    return _made(at=at, **keys)


def _made(**keys: Any) -> Callable[[Run], type[Job]]:
    def make(function: Run) -> type[Job]:
        own = {"__module__": function.__module__, "__qualname__": function.__qualname__, "__doc__": function.__doc__}
        return type(function.__name__, (Job,), own | keys | {"run": staticmethod(function)})

    return make


async def perform(kind: type[Job], context: RunContext) -> None:
    """Run a job once, to its end: a coroutine in this loop, a plain function in a thread.

    When this is cancelled, so is the coroutine; a thread cannot be: its `ctx.cancelled` is set, and it is waited for.
    """
    job = kind()
    if inspect.iscoroutinefunction(inspect.unwrap(job.run)):
        await job.run(context)
        return
    plain = PlainRunContext(context, asyncio.get_running_loop())
    work = asyncio.ensure_future(asyncio.to_thread(job.run, plain))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        plain.cancelled.set()
        await work
        raise
