"""Receiving: who waits at this node for items of a queue stands in a line, and is called when there are some.

Nobody asks the cluster in vain: a receiver proposes only when this node's state shows an item that none of those called
before it will take, or, when its time is up, any item. So an item wakes one receiver on each node where some wait,
however many they are, and a queue in which nothing happens adds nothing to the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from aiohttp import web

from peercron.clock import Clock
from peercron.core.apply.queue import line_of
from peercron.core.commands import NackItems, ReceiveItems
from peercron.errors import Busy, NoLeader, OutcomeUnknown, ProposalError
from peercron.http.asking import CLOCK, NODE, TIMEOUT_S, answered_before, commit, node_of
from peercron.http.port import NodePort

#: How long somebody who was called in vain rests: others were quicker, or the leader's clock is behind ours.
REST_S: Final = 0.05
#: How long a desk looks at its queue no more, if it is not told anything of it.
LOOK_S: Final = 30.0
LAPSED: Final = "it was handed out, and its time was up before anybody could be told"


class _Receiver:
    """One request in the line of a desk."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.call: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Desk:
    """The line of those who wait here for one queue.

    Args:
        node: whose state shows what there is.
        clock: wall time, for delayed items.
        key: "namespace/name".
    """

    def __init__(self, node: NodePort, clock: Clock, key: str) -> None:
        self._node, self._clock, self._key = node, clock, key
        self._line: deque[_Receiver] = deque()
        #: How many items those want who were called, or came at the right time, and have no answer yet.
        self._wanted = 0
        self._listener: asyncio.Task[None] | None = None

    def there_are(self) -> bool:
        """Whether there is an item that nobody before us wants."""
        return not self._line and self._wanted < self._ready()

    def has_any(self) -> bool:
        """Whether there is an item, whoever wants it."""
        return self._ready() > 0

    def begin(self, most: int) -> None:
        """Somebody goes to take so many."""
        self._wanted += most

    def end(self, most: int) -> None:
        """It has got what it got."""
        self._wanted -= most
        self._look()

    async def wait(self, most: int, timeout_s: float, *, in_front: bool) -> bool:
        """Whether it was called, which is a `begin`; False: the time is up."""
        receiver = _Receiver(most)
        if in_front:
            self._line.appendleft(receiver)
        else:
            self._line.append(receiver)
        self._look()
        if self._line and self._listener is None:
            self._listener = asyncio.get_running_loop().create_task(self._listen())
        try:
            await asyncio.wait([receiver.call], timeout=timeout_s)
        except asyncio.CancelledError:
            self._leave(receiver)
            raise
        if receiver.call.done():
            return True
        self._line.remove(receiver)
        return False

    def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()

    def _leave(self, receiver: _Receiver) -> None:
        if receiver.call.done():
            self.end(receiver.most)
        else:
            self._line.remove(receiver)

    def _ready(self) -> int:
        line = line_of(self._node.state, self._key)
        return line.ready + (line.next_ms is not None and line.next_ms <= self._clock.wall_ms())

    def _look(self) -> None:
        """Call as many as there are items for, the first first."""
        ready = self._ready() if self._line else 0
        while self._line and self._wanted < ready:
            receiver = self._line.popleft()
            self._wanted += receiver.most
            receiver.call.set_result(None)

    async def _listen(self) -> None:
        namespace, _, name = self._key.partition("/")
        try:
            while True:
                self._look()
                if not self._line:
                    return
                next_ms = line_of(self._node.state, self._key).next_ms
                due_s = LOOK_S if next_ms is None else max(REST_S, (next_ms - self._clock.wall_ms()) / 1_000)
                await self._node.wait_for(("queue", namespace, name), min(LOOK_S, due_s))
        finally:
            self._listener = None


class Desks:
    """The desks of one server, each there while somebody waits at it or takes something."""

    def __init__(self, node: NodePort, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._desks: dict[str, tuple[Desk, int]] = {}

    def enter(self, key: str) -> Desk:
        desk, visitors = self._desks.get(key, (None, 0))
        desk = desk or Desk(self._node, self._clock, key)
        self._desks[key] = desk, visitors + 1
        return desk

    def leave(self, key: str) -> None:
        desk, visitors = self._desks[key]
        if visitors > 1:
            self._desks[key] = desk, visitors - 1
        else:
            del self._desks[key]
            desk.close()


DESKS: web.AppKey[Desks] = web.AppKey("desks", Desks)


async def desks(app: web.Application) -> AsyncIterator[None]:
    """For `app.cleanup_ctx`."""
    app[DESKS] = Desks(app[NODE], app[CLOCK])
    yield


async def received(request: web.Request, command: ReceiveItems, wait_s: float) -> int:
    """The token of a delivery, within `wait_s`; 0: there was nothing, or nobody is there to get it any more."""
    key, clock = f"{command.namespace}/{command.name}", request.app[CLOCK]
    deadline_s, called_before, handed_out = clock.monotonic() + wait_s, False, False
    desk = request.app[DESKS].enter(key)
    try:
        while await answered_before(request):  # what it was given then is its own, whatever there is now
            desk.begin(command.most)
            if token := await _take(request, command, desk):
                return token
        while not gone(request):
            left_s = deadline_s - clock.monotonic()
            if desk.there_are():
                desk.begin(command.most)
            elif left_s <= 0 or not await desk.wait(command.most, left_s, in_front=called_before):
                return await _at_last(request, command, desk)
            token = await _take(request, command, desk)
            if token:
                return token
            called_before, handed_out = True, handed_out or token is None
            await asyncio.sleep(REST_S)
    except (NoLeader, Busy) as error:
        if handed_out:
            raise OutcomeUnknown(f"{LAPSED}; and now: {error}") from error
        raise
    finally:
        request.app[DESKS].leave(key)
    return 0


def gone(request: web.Request) -> bool:
    """Whether nobody is there any more to read the answer."""
    return request.transport is None or request.transport.is_closing()


async def _at_last(request: web.Request, command: ReceiveItems, desk: Desk) -> int:
    """The time is up. Before the answer says that there is nothing, it is made sure of; raises NoLeader.

    What others want they may not get: of an item that is there only the log can say that it is not for us.
    """
    await node_of(request).read_barrier(TIMEOUT_S)
    if not desk.has_any():
        return 0
    desk.begin(command.most)
    token = await _take(request, command, desk)
    if token is None:
        raise OutcomeUnknown(LAPSED)
    return token


async def _take(request: web.Request, command: ReceiveItems, desk: Desk) -> int | None:
    """Propose it, after a `begin`; 0: there was nothing.

    None: there was, and its time is over already; or nobody is there to get it, so that it was given back at once, and
    counts as not seen.
    """
    node = node_of(request)
    try:
        if gone(request):
            return None
        token = int((await commit(request, command)).value or 0)
    finally:
        desk.end(command.most)
    if token in node.state.deliveries and gone(request):
        with suppress(ProposalError):  # or its time will be up
            await node.propose(NackItems(token, unseen=True), TIMEOUT_S)
        return None
    return token if not token or token in node.state.deliveries else None
