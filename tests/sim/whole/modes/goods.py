"""Programs beside the jobs: they write what conditions read, put and take items, hold locks, and note what is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from peercron.core.commands import (
    AckItems,
    AcquireLock,
    ForsakeLock,
    NackItems,
    PutItem,
    PutKey,
    PutQueue,
    ReceiveItems,
    ReleaseLock,
)
from peercron.core.lock import Claim, LockKind
from peercron.errors import OutcomeUnknown, Refused
from peercron.http.asking import TIMEOUT_S
from peercron.node import Node
from tests.sim.whole.clients import NOTHING, Request, commit
from tests.sim.whole.modes.jobs import FED_QUEUE, NAMESPACE, STOCK

if TYPE_CHECKING:
    from tests.sim.whole.modes.work import ModesWork

#: What could not be asked, or has no answer.
UNANSWERED = (*NOTHING, OutcomeUnknown)


class Program:
    def __init__(self, work: ModesWork) -> None:
        self.work, self.rng = work, work.rng

    async def sleep(self, low_s: float, high_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(low_s, high_s))

    async def ask(self, request: Request) -> Any:
        return await self.work.clients.ask(self.work.any_host(), request)

    async def depth(self, queue: str) -> int | None:
        """How many items there are in the queue; None: nobody answered."""
        try:
            found: int = await self.ask(_depth(queue))
        except UNANSWERED:
            return None
        return found


# Conditions.

WRITERS = 2
#: Values around the threshold of the condition.
VALUES = (3, 9, 10, 11, 30)


class Stock(Program):
    """Writes to the key that a condition reads; every write that was asked for is known, with its revision."""

    def __init__(self, work: ModesWork) -> None:
        super().__init__(work)
        #: (revision, value); and how many were asked for without an answer in all the time.
        self.written: list[tuple[int, int]] = []
        self.unknown = 0

    def start(self) -> None:
        for _ in range(WRITERS):
            self.work.go(self._write())

    async def _write(self) -> None:
        while not self.work.over:
            await self.sleep(0.3, 5.0)
            value = self.rng.choice(VALUES)
            request = self.work.once(PutKey(NAMESPACE, STOCK, str(value).encode()))
            revision = await self.work.insist(request)
            if revision is None:
                self.unknown += 1
            else:
                self.written.append((revision, value))


# Queues.

QUEUE = "mail"
VISIBILITY_MS = 6_000
GROUPS = ("g0", "g1")
CONSUMERS = 3


@dataclass(slots=True)
class Delivery:
    """An item in somebody's hands, and what that one said of it."""

    item: str
    token: int
    call_s: float
    ret_s: float
    #: Of the ack: None: none was sent.
    ack_call_s: float | None = None
    ack_ret_s: float | None = None
    #: None: it is not known.
    acked: bool | None = None
    nacked: bool = False


class Mail(Program):
    """A queue with strict groups: each is fed by one program, and several take from it."""

    def __init__(self, work: ModesWork) -> None:
        super().__init__(work)
        #: Group -> its items in the order in which they were put.
        self.put: dict[str, list[str]] = {group: [] for group in GROUPS}
        self.deliveries: list[Delivery] = []
        self._ids: dict[str, int] = {}
        self._producing = len(GROUPS)

    def start(self) -> None:
        self.work.go(self._begin())

    async def _begin(self) -> None:
        await self.sleep(5, 15)
        if await self.work.insist(_write(PutQueue(NAMESPACE, QUEUE, VISIBILITY_MS, 0))) is None:
            return
        for group in GROUPS:
            self.work.go(self._produce(group))
        for _ in range(CONSUMERS):
            self.work.go(self._consume())

    async def _produce(self, group: str) -> None:
        while not self.work.over:
            await self.sleep(0.5, 4.0)
            item = f"{group}-{len(self.put[group])}"
            self.put[group].append(item)
            await self.work.insist(_write(PutItem(NAMESPACE, QUEUE, item.encode(), binary=True, key=item, group=group)))
        self._producing -= 1

    async def _consume(self) -> None:
        while not (self.work.over and await self._is_drained()):
            await self.sleep(0.1, 1.0)
            for delivery in await self._receive():
                await self.sleep(0.05, 1.5)
                await self._settle(delivery)

    async def _is_drained(self) -> bool:
        too_late = self.work.now_s > self.work.until_s + 120
        return self._producing == 0 and (too_late or await self.depth(QUEUE) == 0)

    async def _receive(self) -> list[Delivery]:
        call_s = self.work.now_s
        try:
            taken = await self.ask(_receive(ReceiveItems(NAMESPACE, QUEUE, self.rng.choice((1, 1, 3)))))
        except UNANSWERED:
            return []
        if taken is None:
            return []
        token, items = taken
        found = [Delivery(item, token, call_s, self.work.now_s) for item in items.values()]
        self.deliveries += found
        self._ids |= {item: id_ for id_, item in items.items()}
        return found

    async def _settle(self, delivery: Delivery) -> None:
        fate = self.rng.random()
        items = (self._ids[delivery.item],)
        if fate < 0.08:
            return  # it is never heard of again
        delivery.nacked = fate < 0.15
        command = NackItems(delivery.token, items) if delivery.nacked else AckItems(delivery.token, items)
        call_s = self.work.now_s
        if not delivery.nacked:
            delivery.ack_call_s = call_s
        try:
            await self.ask(_write(command))
        except NOTHING:
            delivery.ack_call_s = None
        except OutcomeUnknown:
            return
        except Refused as error:
            self._refused(delivery, error, call_s)
        else:
            delivery.acked, delivery.ack_ret_s = not delivery.nacked, self.work.now_s

    def _refused(self, delivery: Delivery, error: Refused, call_s: float) -> None:
        delivery.acked, delivery.ack_ret_s = False, self.work.now_s
        if error.code != "stale_token" or self.work.now_s < delivery.call_s + VISIBILITY_MS / 1_000:
            self.work.cluster.violation("delivery", f"{delivery} was refused, asked at {call_s:.3f}s: {error}")


class Fodder(Program):
    """Items for a job that works through a queue."""

    def __init__(self, work: ModesWork) -> None:
        super().__init__(work)
        self.count = 0

    def start(self) -> None:
        self.work.go(self._produce())

    async def _produce(self) -> None:
        while not self.work.over:
            await self.sleep(0.5, 6.0)
            put = await self.work.insist(_write(PutItem(NAMESPACE, FED_QUEUE, b"{}", key=f"fodder-{self.count}")))
            self.count += put is not None
        while self.work.now_s < self.work.until_s + 120 and await self.depth(FED_QUEUE) != 0:
            await self.sleep(0.5, 1.5)


# Locks.


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    kind: LockKind
    permits: int


KINDS = (Kind("one", LockKind.MUTEX, 1), Kind("some", LockKind.SEMAPHORE, 2))
HOLDERS = 4


@dataclass(slots=True)
class Hold:
    """A place that a program knew that it held, all this time; `asked_s`: when it first asked for it."""

    lock: str
    token: int
    client: str
    asked_s: float
    from_s: float
    to_s: float


class Places(Program):
    """Programs that hold a mutex or a place of a semaphore for a while, and count their time themselves."""

    def __init__(self, work: ModesWork) -> None:
        super().__init__(work)
        self.holds: list[Hold] = []

    def start(self) -> None:
        for number in range(HOLDERS):
            self.work.go(self._use(f"p{number}"))

    async def _use(self, client: str) -> None:
        await self.sleep(10, 20)
        turn = 0
        while not self.work.over:
            await self.sleep(0.2, 4.0)
            turn += 1
            ttl_ms = self.rng.choice((2_000, 5_000))
            claim = Claim(f"{client}/{turn}/main", ttl_ms, f"{client}-{turn}", delay_ms=self.rng.choice((0, 500)))
            await self._hold(client, self.rng.choice(KINDS), claim, wait=self.rng.random() < 0.6)

    async def _hold(self, client: str, kind: Kind, claim: Claim, *, wait: bool) -> None:
        asked_s = self.work.now_s
        got = await self._acquire(kind, claim, wait=wait)
        if got is None:
            return
        token, sure_until_s = got
        hold = Hold(kind.name, token, client, asked_s, self.work.now_s, sure_until_s)
        if hold.to_s > hold.from_s:
            self.holds.append(hold)
        await self._keep(hold, claim.ttl_ms)

    async def _keep(self, hold: Hold, ttl_ms: int) -> None:
        """Renew it for a while; then give it back, or forget it."""
        ends_s = self.work.now_s + self.rng.uniform(0.2, 8.0)
        while self.work.now_s < ends_s:
            await self.sleep(0.1, ttl_ms / 3_000)
            call_s = self.work.now_s
            try:
                left_ms = await self.ask(_renew(hold.token))
            except UNANSWERED:
                continue
            except Refused as error:
                self._over(hold, error)
                return
            if call_s >= hold.to_s:  # it was not sure of it in between
                hold = Hold(hold.lock, hold.token, hold.client, hold.asked_s, self.work.now_s, 0.0)
                self.holds.append(hold)
            hold.to_s = call_s + left_ms / 1_000
        if self.rng.random() < 0.85:
            await self._release(hold)

    async def _release(self, hold: Hold) -> None:
        call_s = self.work.now_s
        try:
            await self.ask(_write(ReleaseLock(NAMESPACE, hold.lock, hold.token)))
        except UNANSWERED:
            pass
        except Refused as error:
            self._over(hold, error)
        hold.to_s = min(hold.to_s, call_s)

    def _over(self, hold: Hold, error: Refused) -> None:
        if error.code != "stale_token" or self.work.now_s < hold.to_s:
            self.work.cluster.violation("lock lost early", f"{hold} at {self.work.now_s:.3f}s: {error}")

    async def _acquire(self, kind: Kind, claim: Claim, *, wait: bool) -> tuple[int, float] | None:
        """The token, and until when it is ours for certain: not at all where it may have been granted long ago."""
        command = AcquireLock(NAMESPACE, kind.name, claim, wait=wait, kind=kind.kind, permits=kind.permits)
        gives_up_s = self.work.now_s + self.rng.uniform(1, 30)
        first, standing = True, None
        while self.work.now_s < gives_up_s:
            call_s = self.work.now_s
            try:
                value, index = await self.ask(_acquire(command))
            except OutcomeUnknown:
                first = False
            except NOTHING:
                pass
            except Refused as error:
                if error.code != "not_ready":  # its session has just become another
                    self._not_now(error)
                    return None
            else:
                if isinstance(value, int):
                    return value, call_s + claim.ttl_ms / 1_000 if first else 0.0
                first, standing = False, (int(value), index)
            await self.sleep(0.2, 1.0)
        if standing is not None:
            await self._forsake(kind, *standing)
        return None

    def _not_now(self, error: Refused) -> None:
        if error.code != "locked":
            self.work.cluster.violation("refused", f"acquire: {error.code} {error}")

    async def _forsake(self, kind: Kind, waiter: int, served: int) -> None:
        try:
            await self.ask(_write(ForsakeLock(NAMESPACE, kind.name, waiter, served, release=True)))
        except (*UNANSWERED, Refused):
            return


# What nodes are asked, as HTTP asks them.


def _write(command: Any) -> Request:
    async def request(node: Node) -> Any:
        return (await commit(node, command)).value

    return request


def _acquire(command: AcquireLock) -> Request:
    """In the name of the node's session, which is who would tell."""

    async def request(node: Node) -> Any:
        member, session = next(
            ((m.info.id, m.session) for m in node.state.members.values() if m.info.name == node.name), ("", 0)
        )
        done = await commit(node, replace(command, member=member, session=session))
        return done.value, done.index

    return request


def _renew(token: int) -> Request:
    async def request(node: Node) -> Any:
        return await node.renew(token, TIMEOUT_S)

    return request


def _receive(command: ReceiveItems) -> Request:
    async def request(node: Node) -> Any:
        token: Any = (await commit(node, command)).value
        delivery = node.state.deliveries.get(token) if token is not None else None
        if delivery is None:
            return None
        items = node.state.items[delivery.queue]
        return token, {id_: items[id_].payload.decode() for id_ in delivery.items}

    return request


def _depth(queue: str) -> Request:
    async def request(node: Node) -> Any:
        await node.read_barrier(TIMEOUT_S)
        return len(node.state.items.get(f"{NAMESPACE}/{queue}", {}))

    return request
