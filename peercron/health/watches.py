"""Watches: probes that are made again and again, each with its standing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from peercron.core.check import Check, Probe
from peercron.core.health import Standing, observed
from peercron.health.limits import PROBES_AT_ONCE_MAX
from peercron.health.probes import Prober, Result


@dataclass(frozen=True, slots=True)
class Target:
    """What is looked at, and how often; `host` is that of the node that is looked at."""

    check: Check
    host: str


def target(check: Check, host: str) -> Target:
    """The same for all jobs that ask the same question, so that they share one watch."""
    return Target(replace(check, name="", observers=0), host if check.by_peers else "")


class Looks(Protocol):
    """Who makes the probes: a `Prober`."""

    async def look(self, probe: Probe, host: str, timeout_s: float) -> Result: ...
    async def close(self) -> None: ...


class Watches:
    """All watches of one node.

    Args:
        turned: called in the loop when a verdict is there or has changed.
        prober: who looks; default: at this machine and its network.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        turned: Callable[[], None],
        prober: Looks | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._turned, self._prober, self._sleep = turned, prober or Prober(), sleep
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._standings: dict[Target, tuple[Standing, str]] = {}
        self._places = asyncio.Semaphore(PROBES_AT_ONCE_MAX)

    def keep(self, wanted: Iterable[Target]) -> None:
        """Look at these from now on, and at nothing else; what is looked at already goes on as it stands."""
        targets = dict.fromkeys(wanted)
        for gone in self._tasks.keys() - targets.keys():
            self._tasks.pop(gone).cancel()
            self._standings.pop(gone, None)
        loop = asyncio.get_running_loop()
        for new in targets.keys() - self._tasks.keys():
            self._tasks[new] = loop.create_task(self._watch(new))

    def standing(self, of: Target) -> tuple[Standing, str]:
        """Where it stands, and what turned it last."""
        return self._standings.get(of, (Standing(), ""))

    async def close(self) -> None:
        """Look no more."""
        self.keep(())
        await self._prober.close()

    async def _watch(self, of: Target) -> None:
        check, loop = of.check, asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            async with self._places:
                result = await self._prober.look(check.probe, of.host, check.timeout_ms / 1_000)
            self._note(of, result)
            await self._sleep(max(0.0, check.interval_ms / 1_000 - (loop.time() - began_s)))

    def _note(self, of: Target, result: Result) -> None:
        before, detail = self.standing(of)
        after = observed(before, of.check, well=result.well)
        turned = after.well is not before.well
        self._standings[of] = (after, result.detail if turned else detail)
        if turned:
            self._turned()
