"""Run: one seed's history of a whole cluster: bursts of faults and calm, then an end, then the verdict."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from peercron.consensus import raft
from peercron.core.commands import PauseJob
from peercron.core.history import entries_of
from peercron.node import Node
from peercron.settings import PROFILES, Timers
from tests.sim.whole.checker import MARGIN_MS, Ledgers, Line, judge, wall_ms
from tests.sim.whole.clients import Clients, commit
from tests.sim.whole.cluster import Cluster, Finding, Plan
from tests.sim.whole.faults import EVERYTHING, Faults
from tests.sim.whole.host import Host
from tests.sim.whole.modes import checker as modes_checker
from tests.sim.whole.modes.work import ModesWork
from tests.sim.whole.trace import silence
from tests.sim.whole.work import Work

#: Virtual minutes of a seed.
SECONDS = 600.0
#: When all faults are over, so long may it take until everybody serves again.
RECOVERY_S = 40.0
#: And so long until every run has ended: the longest takes 32 seconds and may have waited in a line.
DRAIN_S = 400.0
#: Haste of clients in a burst.
HASTE = 4.0

TIMERS = (
    PROFILES["wan"],
    PROFILES["wan"],
    Timers(200, 800, 1_600, 4_000, 800, 2_400, 3_400),
    Timers(200, 700, 3_000, 3_500, 700, 2_200, 3_000),
    Timers(400, 2_000, 3_500, 8_000, 1_600, 4_800, 7_000),
)

LATENCIES_S = ((0.000_1, 0.001), (0.000_5, 0.01), (0.01, 0.06))
#: (bytes of a journal at which a snapshot is taken, entries that stay behind it)
JOURNALS = ((12_000, 0), (20_000, 10), (40_000, 50))

Tell = Callable[[float, str, tuple[object, ...]], None]


@dataclass
class Result:
    seed: int
    findings: list[Finding] = field(default_factory=list)
    trace: str = ""
    answered: int = 0
    unknown: int = 0
    attempts: int = 0
    slots: int = 0
    faults: int = 0
    entries: int = 0
    snapshots_taken_over: int = 0
    terms: int = 0
    #: What the checks of the work had to look at, for people.
    tally: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        return not self.findings


#: Modes are of more interest where the nodes are two.
MODES_MEMBERS = (2, 3, 3, 3, 5)
#: What clients do in a seed: the work, by the name of its plan.
WORKS: dict[str, type[Work]] = {"plain": Work, "modes": ModesWork}


def plan_of(
    seed: int, faults: str = EVERYTHING, seconds: float = SECONDS, members: int | None = None, work: str = "plain"
) -> Plan:
    rng = random.Random(f"plan {seed}")
    journal_bytes_max, tail_entries = rng.choice(JOURNALS)
    narrow = rng.random() < 0.25
    if work == "modes":
        members = members or random.Random(f"modes members {seed}").choice(MODES_MEMBERS)
    return Plan(
        seed=seed,
        members=members or rng.choice((3, 3, 3, 3, 5)),
        timers=rng.choice(TIMERS),
        journal_bytes_max=journal_bytes_max,
        tail_entries=tail_entries,
        latency_s=rng.choice(LATENCIES_S[:2] if narrow else LATENCIES_S),
        faults=faults,
        seconds=seconds,
        narrow=narrow,
        stubborn=rng.random() < 0.3,
        work=work,
    )


def run(plan: Plan, tell: Tell | None = None, prepare: Callable[[Cluster], None] | None = None) -> Result:
    """The history of one plan. `prepare` may change the cluster before it begins, to break it."""
    gc.disable()
    bytes_max = 1 if plan.narrow else raft.APPEND_BYTES_MAX
    window = 1 if plan.narrow else raft.WINDOW_BYTES_MAX
    try:
        with (
            silence() if tell is None else nullcontext(),
            patch.multiple(raft, APPEND_BYTES_MAX=bytes_max, WINDOW_BYTES_MAX=window),
        ):
            return Course(plan, tell, prepare).run()
    finally:
        gc.enable()


class Course:
    """One seed's course."""

    def __init__(self, plan: Plan, tell: Tell | None, prepare: Callable[[Cluster], None] | None) -> None:
        self.plan = plan
        self.cluster = Cluster(plan, tell)
        if prepare is not None:
            prepare(self.cluster)
        self.clients = Clients(self.cluster)
        self.work = WORKS[plan.work](self.clients, plan.seconds)
        self.faults = Faults(self.cluster, plan.faults, self.work.hammer)
        self.ledgers: Ledgers = {}

    def run(self) -> Result:
        cluster, time, rng = self.cluster, self.cluster.time, self.cluster.rng
        self.faults.settle_hosts()
        for host in cluster.hosts.values():
            time.at(rng.uniform(0, 2), host.start)
        self.work.start()
        time.run(10)
        while time.now_s < self.plan.seconds:
            self._calm(rng.uniform(5, 40))
            if "z" in self.plan.faults and rng.random() < 0.15 and self._all_well():
                self.faults.clock_trouble()
            else:
                self.work.haste = rng.choice((1.0, HASTE, 2 * HASTE))
                self.faults.burst(rng.uniform(4, 25))
                self.work.haste = 1.0
            if cluster.findings:
                break
        self._end()
        return self._result()

    def _calm(self, seconds: float) -> None:
        self.cluster.time.run(seconds)

    def _all_well(self) -> bool:
        hosts = self.cluster.hosts.values()
        return all(host.process is not None and host.process.started for host in hosts) and all(
            len(host.node._driver.connected) == len(hosts) - 1 for host in hosts if host.node is not None
        )

    # The end.

    def _end(self) -> None:
        """Nothing fails any more: everybody serves again, all slots are decided, all runs end."""
        time, cluster = self.cluster.time, self.cluster
        self.faults.end()
        if cluster.findings:
            return
        healed_s = time.now_s
        unserved = {host.name for host in cluster.hosts.values()}
        for host in cluster.hosts.values():
            self.clients.start(self._write_until_taken(host, unserved))
        if not self._until(lambda: not unserved and self._serving(), RECOVERY_S):
            where = ", ".join(sorted(unserved))
            cluster.violation(
                "no progress",
                f"{RECOVERY_S:g}s after the last fault no writes at {where or 'none'}: {self._standing()}",
            )
            return
        cluster.note("recovered", time.now_s - healed_s)
        if not self._until(lambda: self.work.busy == 0, 150.0):
            cluster.violation("no progress", f"clients are not done: {self._standing()}")
            return
        if self.work.epilogue_s:
            time.run(self.work.epilogue_s)
        end_s = time.now_s
        self._pause_all()
        if cluster.findings:
            return
        if not self._until(self._idle, DRAIN_S):
            cluster.violation("no progress", f"runs do not end: {self._standing()}")
            return
        time.run(5)
        self._read_ledgers()
        self._compare_members()
        read_s = time.now_s
        for kind, detail in self._verdicts(end_s, read_s):
            cluster.violation(kind, detail)

    def _verdicts(self, end_s: float, read_s: float) -> Iterator[tuple[str, str]]:
        work, ledgers, ran = self.work, self.ledgers, self.cluster.ran
        if isinstance(work, ModesWork):
            return modes_checker.judge(work, ledgers, ran, end_s, read_s)
        return judge(work.history, work.lives, ledgers, ran, end_s, read_s)

    async def _write_until_taken(self, host: Host, unserved: set[str]) -> None:
        while not await self.work.operate(f"end-{host.name}", host, "k0", "put"):
            await asyncio.sleep(0.2)
        unserved.discard(host.name)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end_s = self.cluster.time.now_s + seconds
        while not condition():
            if self.cluster.time.now_s >= end_s:
                return False
            self.cluster.time.run(0.5)
        return True

    def _serving(self) -> bool:
        """Everybody has an open session, as any of them says of itself (`/readyz`)."""
        return all(host.process is not None and host.process.serves for host in self.cluster.hosts.values())

    def _idle(self) -> bool:
        hosts = self.cluster.hosts.values()
        return self.work.settled and all(host.node is not None and not host.node.state.live_runs for host in hosts)

    def _standing(self) -> str:
        words = []
        for host in self.cluster.hosts.values():
            if host.node is None:
                words.append(f"{host.name} is down")
                continue
            missing = ", ".join(f"{name}: {word}" for name, well, word in host.node.ready() if not well)
            words.append(f"{host.name} {missing or 'is ready'}; {len(host.node.state.live_runs)} jobs run")
        return "; ".join(words)

    def _ask(self, host: Host, request: Any, what: str) -> Any:
        """Something that must succeed now."""
        found: list[Any] = []

        async def ask() -> None:
            try:
                found.append(await self.clients.ask(host, request))
            except Exception as error:
                found.append(error)

        self.clients.start(ask())
        self._until(lambda: bool(found), 10.0)
        if not found or isinstance(found[0], Exception):
            self.cluster.violation("no progress", f"{what}: {found[0] if found else 'no answer'!r}")
            return None
        return found[0]

    def _pause_all(self) -> None:
        host = next(iter(self.cluster.hosts.values()))
        for key in self._ask(host, _job_keys, "the list of jobs") or ():
            self._ask(host, _pause(key), f"a pause of {key}")

    def _read_ledgers(self) -> None:
        """Every node tells the same."""
        told = {}
        upto_ms = wall_ms(self.cluster.time.now_s) - MARGIN_MS
        for host in self.cluster.hosts.values():
            told[host.name] = self._ask(host, _ledgers, f"the ledger at {host.name}") or {}
        first = _upto(next(iter(told.values())), upto_ms)
        for name, ledgers in told.items():
            if _upto(ledgers, upto_ms) != first:
                self.cluster.violation("ledgers differ", name)
        self.ledgers = first

    def _compare_members(self) -> None:
        for host in self.cluster.hosts.values():
            if host.node is not None:
                kernel = host.node._driver.replica.kernel
                self.cluster._compare(host.name, host.node._machine, kernel.applied)

    def _result(self) -> Result:
        cluster, history = self.cluster, self.work.history
        answered = sum(operation.ret is not None for operation in history)
        nodes = [host.node for host in cluster.hosts.values() if host.node is not None]
        return Result(
            seed=self.plan.seed,
            findings=cluster.findings,
            trace=cluster.trace,
            answered=answered,
            unknown=len(history) - answered,
            attempts=len(cluster.ran),
            slots=sum(map(len, self.ledgers.values())),
            faults=self.faults.count,
            entries=cluster.entries_applied,
            snapshots_taken_over=cluster.restored,
            tally=self.work.tally,
            terms=max((node.term for node in nodes), default=0),
            seconds=cluster.time.now_s,
        )


async def _job_keys(node: Node) -> tuple[str, ...]:
    await node.read_barrier(5.0)
    return tuple(node.state.job_uids)


def _pause(key: str) -> Any:
    async def request(node: Node) -> Any:
        return (await commit(node, PauseJob(key))).value

    return request


def _upto(ledgers: Ledgers, instant_ms: float) -> Ledgers:
    """What was decided by then; slots of paused jobs go on being skipped."""
    return {uid: [line for line in lines if line.slot_ms <= instant_ms] for uid, lines in ledgers.items()}


async def _ledgers(node: Node) -> dict[str, list[Line]]:
    await node.read_barrier(5.0)
    return {
        uid: [
            Line(e.run_id, e.slot_ms, e.manual, e.outcome.value, e.reason, e.attempts, e.token)
            for e in entries_of(node.state, uid)
        ]
        for uid in node.state.ledger
    }
