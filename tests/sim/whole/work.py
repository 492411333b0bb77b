"""Work: what clients of a simulated cluster do, and the record of it: a few keys, and jobs that live and change."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Any

from peercron.core.commands import CancelRun, DeleteJob, DeleteKey, PauseJob, PutJob, PutKey, ResumeJob, RunJob
from peercron.core.job import (
    CommandTask,
    CronTrigger,
    Definition,
    EveryTrigger,
    Guarantee,
    Misfire,
    MisfirePolicy,
    OnDisconnect,
    Overlap,
)
from peercron.core.verdict import Done
from peercron.errors import OutcomeUnknown, Refused
from peercron.node import Node
from tests.linearizable import Operation
from tests.sim.whole.clients import NOTHING, Clients, Request, commit
from tests.sim.whole.host import Host

NAMESPACE = "default"
KEYS = 3
WRITERS = 3
JOBS = 4
#: The job that nearly always runs.
LONG = 1


@dataclass
class Change:
    """Something that was done to a job, between these two moments of everybody's time."""

    call_s: float
    ack_s: float
    what: Any


@dataclass
class Life:
    """One job from its creation to its deletion, as its owner knows it."""

    uid: str
    key: str
    #: Definitions it had, the first by its creation.
    definitions: list[Change]
    #: True: paused; False: resumed.
    pauses: list[Change] = field(default_factory=list)
    deleted: Change | None = None
    #: Ids of manual runs that were acknowledged.
    manual: list[str] = field(default_factory=list)
    #: Manual runs whose outcome nobody knows.
    unknown_manual: int = 0


class Work:
    """Clients at work.

    Args:
        clients: the way to the nodes.
        until_s: when they stop.
    """

    #: When all faults are over, so long is waited before the end.
    epilogue_s = 0.0

    def __init__(self, clients: Clients, until_s: float) -> None:
        self.clients, self.until_s = clients, until_s
        self.cluster = clients.cluster
        self.rng = self.cluster.rng
        self.history: list[Operation] = []
        self.lives: list[Life] = []
        #: Divides the pauses between requests.
        self.haste = 1.0
        self._seen: dict[str, int] = {}
        self._written = 0
        self.busy = 0
        self.tally = Counter[str]()

    def start(self) -> None:
        for number in range(WRITERS):
            self._go(self._write_and_read(f"c{number}"))
        for number in range(JOBS):
            self._go(self._keep_job(number))

    @property
    def now_s(self) -> float:
        return self.cluster.time.now_s

    @property
    def over(self) -> bool:
        return self.now_s >= self.until_s

    @property
    def settled(self) -> bool:
        """Whether nothing runs that the cluster may not know of."""
        return True

    def _go(self, work: Awaitable[None]) -> None:
        async def count() -> None:
            self.busy += 1
            await work
            self.busy -= 1

        self.clients.start(count())

    def _any_host(self) -> Host:
        return self.rng.choice(list(self.cluster.hosts.values()))

    # Keys.

    async def _write_and_read(self, client: str) -> None:
        while not self.over:
            await asyncio.sleep(self.rng.uniform(0.5, 6.0) / self.haste)
            key = f"k{self.rng.randrange(KEYS)}"
            kind = self.rng.choices(("get", "put", "cas", "delete"), (5, 4, 3, 1))[0]
            await self.operate(client, self._any_host(), key, kind)

    async def operate(self, client: str, host: Host, key: str, kind: str) -> bool:
        """One operation, and its line in the history. True: it was answered."""
        argument, request = self._request(key, kind)
        call_s = self.now_s
        self.cluster.note("ask", client, host.name, key, kind, argument)
        try:
            answer = await self.clients.ask(host, request)
        except NOTHING as error:
            self.cluster.note("nothing", client, host.name, type(error).__name__)
            return False
        except OutcomeUnknown:
            self.cluster.note("unknown", client, host.name)
            self.history.append(Operation(client, key, call_s, None, kind, argument))
            return False
        except Refused as error:
            if error.code not in ("conflict", "not_found"):
                self.cluster.violation("refused", f"{client} {kind} {key}: {error.code} {error}")
            answer = False
        self.cluster.note("answer", client, host.name, key, kind, argument, answer)
        self._learn(key, kind, argument, answer)
        self.history.append(Operation(client, key, call_s, self.now_s, kind, argument, answer))
        return True

    def hammer(self, host: Host) -> None:
        """Many writes at one node, one right after the other, none of which waits."""
        for number in range(self.rng.randint(3, 12)):
            self._go(self._hit(f"h{number}", host, self.rng.uniform(0, 0.5)))

    async def _hit(self, client: str, host: Host, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self.operate(client, host, f"k{self.rng.randrange(KEYS)}", "put")

    def _request(self, key: str, kind: str) -> tuple[Any, Request]:
        self._written += 1
        value = f"v{self._written}"
        # Now and then a revision that is not the newest.
        known = self._seen.get(key, 0) if self.rng.random() < 0.9 else 0
        match kind:
            case "get":
                return None, _get(key)
            case "put":
                return value, _write(PutKey(NAMESPACE, key, value.encode()))
            case "cas":
                return (known, value), _write(PutKey(NAMESPACE, key, value.encode(), known))
            case _:
                expected = known or None if self.rng.random() < 0.5 else None
                return expected, _delete(DeleteKey(NAMESPACE, key, expected))

    def _learn(self, key: str, kind: str, argument: Any, answer: Any) -> None:
        if kind == "get":
            self._seen[key] = answer[1] if answer else 0
        elif kind == "delete":
            self._seen[key] = 0
        elif answer is not False:
            self._seen[key] = answer

    # Jobs.

    async def _keep_job(self, number: int) -> None:
        while not self.over:
            await asyncio.sleep(self.rng.uniform(0, 10))
            definition = self._definition(number)
            life = await self._create(definition)
            if life is None:
                return
            self.lives.append(life)
            await self._live(life, definition)

    async def _create(self, definition: Definition) -> Life | None:
        call_s = self.now_s
        uid = await self._insist(_put_job(definition))
        if uid is None:
            return None
        return Life(uid, f"{NAMESPACE}/{definition.name}", [Change(call_s, self.now_s, definition)])

    async def _live(self, life: Life, definition: Definition) -> None:
        ends = self.rng.choice((None, None, self.now_s + self.rng.uniform(60, 300)))
        while not self.over:
            await asyncio.sleep(self.rng.uniform(5, 60))
            if self.over:
                return
            if ends is not None and self.now_s > ends:
                await self._delete(life)
                return
            deed = self.rng.choice(("edit", "pause", "run", "run", "run", "cancel"))
            if deed == "edit":
                definition = self._edited(definition)
                await self._change(life.definitions, _put_job(definition), definition)
            elif deed == "pause":
                await self._change(life.pauses, _write(PauseJob(life.key)), True)
                await asyncio.sleep(self.rng.uniform(1, 25))
                await self._change(life.pauses, _write(ResumeJob(life.key)), False)
            elif deed == "run":
                await self._run(life)
            else:
                await self._cancel(life)

    async def _change(self, changes: list[Change], request: Request, what: Any) -> None:
        """Seen from its call on as under way; the checker asks nothing of the time until it is acknowledged."""
        change = Change(self.now_s, float("inf"), what)
        changes.append(change)
        if await self._insist(request) is not None:
            change.ack_s = self.now_s

    async def _delete(self, life: Life) -> None:
        life.deleted = Change(self.now_s, float("inf"), None)
        if await self._insist(_write(DeleteJob(life.key))) is not None:
            life.deleted.ack_s = self.now_s

    async def _run(self, life: Life) -> None:
        try:
            answer = await self.clients.ask(self._any_host(), _write(RunJob(life.key)))
        except (*NOTHING, Refused):
            return
        except OutcomeUnknown:
            life.unknown_manual += 1
            return
        life.manual.append(str(answer))

    async def _cancel(self, life: Life) -> None:
        try:
            runs = await self.clients.ask(self._any_host(), _live_runs(life.uid))
            if runs:
                await self.clients.ask(self._any_host(), _write(CancelRun(self.rng.choice(runs))))
        except (*NOTHING, Refused, OutcomeUnknown):
            return

    async def _insist(self, request: Request) -> Any:
        """Ask until there is an answer; None: there was none in all the time.

        After an unknown outcome the same node is asked again: once it has answered a later request of its own, an
        earlier one is over.
        """
        host = self._any_host()
        while not self.over or self.now_s < self.until_s + 120:
            try:
                return await self.clients.ask(host, request)
            except NOTHING:
                host = self._any_host() if self.rng.random() < 0.5 else host
            except OutcomeUnknown:
                pass
            except Refused as error:
                if error.code != "not_found":
                    self.cluster.violation("refused", f"{error.code}: {error}")
                return True
            await asyncio.sleep(self.rng.uniform(0.1, 1.0))
        return None

    # What jobs are like.

    def _definition(self, number: int) -> Definition:
        rng, period_s = self.rng, self.rng.choice((3, 5, 8, 12, 20))
        guarantee = rng.choice((Guarantee.AT_LEAST_ONCE, Guarantee.AT_LEAST_ONCE, Guarantee.AT_MOST_ONCE))
        if number <= LONG:
            guarantee = (Guarantee.AT_MOST_ONCE, Guarantee.AT_LEAST_ONCE)[number]
        overlap = (
            Overlap.FORBID,
            Overlap.FORBID,
            rng.choice((Overlap.ALLOW, Overlap.QUEUE_ONE, Overlap.QUEUE_ALL)),
            rng.choice((Overlap.REPLACE, Overlap.FORBID)),
        )[number]
        return Definition(
            name=f"job{number}",
            trigger=self._trigger(period_s),
            task=self._task(period_s, overlap, long=number == LONG),
            overlap=overlap,
            guarantee=guarantee,
            misfire=Misfire(rng.choice(list(MisfirePolicy))),
            timeout_ms=rng.choice((0, 0, 0, period_s * 1_500)),
            kill_grace_ms=rng.choice((500, 3_000, 10_000)),
            on_disconnect=rng.choices((OnDisconnect.KILL, OnDisconnect.KEEP), (9, 1))[0],
            nodes=rng.choices(((), ("n1", "n2")), (9, 1))[0],
        )

    def _trigger(self, period_s: int) -> CronTrigger | EveryTrigger:
        if period_s in (5, 12, 20) and self.rng.random() < 0.4:
            return CronTrigger(f"*/{period_s} * * * * *")
        return EveryTrigger(period_s * 1_000, self.rng.choice((0, 1_234)))

    def _task(self, period_s: int, overlap: Overlap, *, long: bool = False) -> CommandTask:
        rng = self.rng
        low, high = rng.choice(((0.01, 0.3), (0.5, 0.7 * period_s), (0.5 * period_s, 1.6 * period_s), (4.0, 9.0)))
        stubborn = self.cluster.plan.stubborn and rng.random() < 0.6
        if stubborn or long:
            low, high = 5.0, 25.0
        if overlap is Overlap.QUEUE_ALL:
            low, high = 0.01, 0.5 * period_s  # so that its line ends some day
        term_s = 1e9 if stubborn else rng.choice((0.02, 0.5, 5.0, 1e9))
        return CommandTask(("work", str(low), str(high), str(rng.choice((0, 0, 0, 1))), str(term_s)))

    def _edited(self, definition: Definition) -> Definition:
        period_s = self.rng.choice((3, 5, 8, 12, 20))
        trigger = self._trigger(period_s) if self.rng.random() < 0.6 else definition.trigger
        long = definition.name == f"job{LONG}"
        shorter_s = min(period_s, 3) if trigger == definition.trigger else period_s
        return replace(definition, trigger=trigger, task=self._task(shorter_s, definition.overlap, long=long))


# What nodes are asked, as HTTP asks them.


def _get(key: str) -> Request:
    async def request(node: Node) -> Any:
        await node.read_barrier(5.0)
        entry = node.state.keys.get(NAMESPACE, {}).get(key)
        return (entry.value.decode(), entry.revision) if entry is not None else None

    return request


def _write(command: Any) -> Request:
    async def request(node: Node) -> Any:
        done: Done = await commit(node, command)
        return done.value

    return request


def _delete(command: DeleteKey) -> Request:
    async def request(node: Node) -> Any:
        await commit(node, command)
        return True

    return request


def _put_job(definition: Definition) -> Request:
    async def request(node: Node) -> Any:
        await commit(node, PutJob(definition))
        return node.state.job_uids[f"{definition.namespace}/{definition.name}"]

    return request


def _live_runs(uid: str) -> Request:
    async def request(node: Node) -> Any:
        await node.read_barrier(5.0)
        return node.state.live_runs.get(uid, ())

    return request
