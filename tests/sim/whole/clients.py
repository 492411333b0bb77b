"""Clients: programs outside the cluster that ask any node, wait for a while, and write down what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from peercron.core.commands import Command
from peercron.core.verdict import Done
from peercron.errors import Busy, NoLeader, OutcomeUnknown, PeercronError, Unreachable
from peercron.http.asking import TIMEOUT_S
from peercron.node import Node
from tests.sim.whole.cluster import Cluster
from tests.sim.whole.host import Host, Process
from tests.sim.whole.loop import ProcessLoop

#: How long a client waits; longer than the node's own answer takes.
PATIENCE_S = 7.0

Request = Callable[[Node], Awaitable[Any]]


async def commit(node: Node, command: Command) -> Done:
    """What HTTP does with a command (`peercron.http.asking.commit`)."""
    done = await node.propose(command, TIMEOUT_S)
    await node.wait_changed(done.index - 1, TIMEOUT_S)
    if node.state.index < done.index:
        raise OutcomeUnknown("this node is too far behind to show it")
    return done


class Clients:
    """The way from clients to nodes and back. Clients share one loop, which nothing befalls."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.time = cluster, cluster.time
        self.loop = ProcessLoop(
            "clients",
            cluster.time,
            lambda s: s,
            lambda s: s,
            lambda what: cluster.violation("defect", f"client: {what}"),
            lambda: None,
            lambda: 0.0,
        )
        self._open: dict[Process, list[asyncio.Future[Any]]] = {}
        cluster.on_death = self._broken

    def start(self, work: Awaitable[None]) -> None:
        self.loop.call_soon(lambda: self.loop.create_task(work))

    async def ask(self, host: Host, request: Request) -> Any:
        """Ask a node; its answer.

        Raises:
            NoLeader, Busy, Unreachable: nothing happened. Refused: the answer is no. OutcomeUnknown: who knows.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        process = host.process
        if host.name in self.cluster.wires.dark:
            await asyncio.sleep(1.0)
            raise Unreachable
        self.time.after(self._way_s(), lambda: self._arrive(process, request, future))
        if process is not None:
            self._open.setdefault(process, []).append(future)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await future
        except TimeoutError:
            raise OutcomeUnknown("no answer") from None
        finally:
            if process in self._open and future in self._open[process]:
                self._open[process].remove(future)

    def _way_s(self) -> float:
        return self.cluster.rng.uniform(*self.cluster.wires.latency_s)

    def _arrive(self, process: Process | None, request: Request, future: asyncio.Future[Any]) -> None:
        if process is None or not process.loop.alive or not process.started:
            self.time.after(self._way_s(), lambda: self._end(future, Unreachable()))
            return
        process.loop.call_soon(lambda: process.loop.create_task(self._serve(process, request, future)))

    async def _serve(self, process: Process, request: Request, future: asyncio.Future[Any]) -> None:
        assert process.node is not None
        try:
            result = await request(process.node)
        except PeercronError as error:
            result = error
        except Exception as error:
            self.cluster.violation("defect", f"{process.host.name} answered {error!r}")
            return
        said_s = process.loop.now_s

        def arrive() -> None:
            if process.loop.died_s >= said_s:
                self._end(future, result)

        self.time.at(said_s + self._way_s(), arrive)

    def _end(self, future: asyncio.Future[Any], result: Any) -> None:
        if future.done():
            return
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _broken(self, process: Process, power: bool) -> None:
        """A node died with requests open: their clients are told, unless the whole machine is gone."""
        for future in self._open.pop(process, ()):
            if not power:
                self.time.after(
                    self._way_s(),
                    lambda f=future: self._end(f, OutcomeUnknown("the connection broke")),  # type: ignore[misc]
                )


#: Answers that say for certain that nothing happened.
NOTHING = (NoLeader, Busy, Unreachable)
