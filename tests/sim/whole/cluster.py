"""Cluster: hosts, the wires between them, what they log, and what must never happen."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peercron.consensus.outbox import Output
from peercron.core.state import ClusterState
from peercron.core.views import digest
from peercron.machine import Machine
from peercron.node import Node
from peercron.settings import Timers
from tests.sim.whole.guardian import Held, Ran
from tests.sim.whole.host import Host, Process, SimParts
from tests.sim.whole.loop import Time
from tests.sim.whole.network import Wires

#: Whole states are compared at every so many entries of the log, and at each snapshot that is taken over.
DIGEST_EVERY = 500


@dataclass(frozen=True)
class Plan:
    """What a seed decides once."""

    seed: int
    members: int
    timers: Timers
    journal_bytes_max: int
    tail_entries: int
    latency_s: tuple[float, float]
    #: Letters of `faults`.
    faults: str
    seconds: float = 600.0
    #: Logs travel an entry at a time, and each waits for the answer to the one before.
    narrow: bool = False
    #: Many jobs take long and do not end of TERM.
    stubborn: bool = False
    #: What clients do: a key of `run.WORKS`.
    work: str = "plain"
    #: Of `modes.work`: those that there are; none: as the seed draws them.
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that must never happen."""

    kind: str
    detail: str
    at_s: float

    def __str__(self) -> str:
        return f"{self.at_s:9.3f}s  {self.kind}: {self.detail}"


class WatchedNode(Node):
    """A node whose halt is seen as an operator sees it."""

    process: Process

    def halted(self, reason: str) -> None:
        super().halted(reason)
        self.process.halt(reason)

    def turned(self, out: Output) -> None:
        super().turned(out)
        kernel = self._driver.replica.kernel
        if kernel.is_leader:
            self.process.host.leads(kernel.term)


class Cluster:
    """All hosts under one seed: the same seed gives the same history.

    Args:
        plan: what the seed decides once.
        tell: told of everything that happens, for a trace that people read; None: nobody wants to know.
    """

    def __init__(self, plan: Plan, tell: Callable[[float, str, tuple[object, ...]], None] | None = None) -> None:
        self.plan, self._tell = plan, tell
        self.rng = random.Random(plan.seed)
        self.time = Time()
        self.wires = Wires(self.time, self.rng)
        #: Called after a node has sent a message of this type; may raise Crash.
        self.after_send: Callable[[str, str], None] | None = None
        self.wires.latency_s = plan.latency_s
        self.findings: list[Finding] = []
        self.graveyard: list[Process] = []
        #: Told of each process that died, and whether its machine lost power.
        self.on_death: Callable[[Process, bool], None] = lambda *_: None
        self._sum = hashlib.blake2b(digest_size=16)
        self.ran: list[Ran] = []
        self.held: list[Held] = []
        #: Told of everything that is noted, as it is.
        self.on_note: Callable[[float, str, tuple[object, ...]], None] = lambda *_: None
        #: Entry -> (what was in it, what the state was numbered after it); entry -> digest of the whole state.
        self._entries: dict[int, Any] = {}
        self._digests: dict[int, str] = {}
        #: Told of each host that begins to lead a term.
        self.on_election: Callable[[Host], None] = lambda _: None
        self.leaders: dict[int, str] = {}
        self.entries_applied = self.restored = 0
        names = [f"n{i + 1}" for i in range(plan.members)]
        self.addresses = tuple(f"{name}:7400" for name in names)
        self.hosts = {name: Host(self, name) for name in names}
        self.node_type: type[WatchedNode] = WatchedNode

    # What happens, for the digest and for people.

    def note(self, what: str, *details: object) -> None:
        self._sum.update(f"{self.time.now_s!r} {what} {details!r}".encode())
        self.on_note(self.time.now_s, what, details)
        if self._tell is not None:
            self._tell(self.time.now_s, what, details)

    def said(self, a: str, b: str, raw: bytes) -> None:
        """A node has sent a message."""
        self._sum.update(struct.pack("<d", self.time.now_s))
        self._sum.update(raw)
        if self._tell is not None:
            self._tell(self.time.now_s, "send", (a, b, raw))

    @property
    def trace(self) -> str:
        """A digest of all that was sent, applied, run, asked and answered, and when."""
        return self._sum.hexdigest()

    def violation(self, kind: str, detail: str) -> None:
        finding = Finding(kind, detail, self.time.now_s)
        self.note("VIOLATION", kind, detail)
        self.findings.append(finding)

    # Nodes.

    def make_node(self, process: Process) -> Node:
        node = self.node_type(process.settings, SimParts(process))
        node.process = process
        name = process.host.name
        self._watch(name, node._machine, node._driver.replica)
        return node

    def _watch(self, name: str, machine: Machine, replica: Any) -> None:
        """See what is applied. What a snapshot brings must be what others had at its index."""
        apply, take_over = machine.apply, machine.take_over

        def watched_apply(index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
            apply(index, now_ms, payloads)
            self.entries_applied += 1
            state = machine.state
            seen = (now_ms, hash_of(payloads), state.index, state.last_token)
            if self._entries.setdefault(index, seen) != seen:
                self.violation("state machine safety", f"{name} applied another entry {index}")
            self._sum.update(struct.pack("<q", index))
            if index % DIGEST_EVERY == 0:
                self._compare(name, machine, index)

        def watched_take_over(state: ClusterState) -> None:
            take_over(state)
            self.restored += 1
            index = replica.store.all()[0].index
            self._compare(name, machine, index, restored=True)

        machine.apply, machine.take_over = watched_apply, watched_take_over  # type: ignore[method-assign]

    def _compare(self, name: str, machine: Machine, index: int, *, restored: bool = False) -> None:
        found = digest(machine.state)
        if self._digests.setdefault(index, found) != found:
            self.violation("state machine safety", f"{name} has another state at {index} (restored: {restored})")

    def frozen(self, index: int, machine: Machine) -> None:
        self._compare("snapshot", machine, index)

    # Attempts.

    def task(self, argv: list[str]) -> tuple[float, int, float]:
        """What a command of a job does: (seconds it takes, exit code, seconds from TERM to its end)."""
        program, low, high, code, term, *_ = argv
        duration_s = self.rng.uniform(float(low), float(high))
        if program == "chance":
            return duration_s, int(self.rng.random() < float(code)), float(term)
        return duration_s, int(code), float(term)

    def refuses(self, argv: list[str]) -> bool:
        """Whether the command cannot be started here and now; only a `chance` that says so ever cannot."""
        return argv[0] == "chance" and self.rng.random() < float(argv[5])

    def prepared(self, held: Held) -> None:
        self.held.append(held)
        self.note("attempt held", held.host, held.run_id, held.token)

    def began(self, ran: Ran) -> None:
        self.ran.append(ran)
        self.note("attempt starts", ran.host, ran.run_id, ran.token)

    def ended(self, ran: Ran) -> None:
        self.note("attempt ends", ran.host, ran.run_id, ran.token, ran.succeeded)

    # Who is there.

    @property
    def up(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.up]

    def leader(self) -> Host | None:
        """Who leads the newest term."""
        found: tuple[int, Host] | None = None
        for host in self.hosts.values():
            node = host.node
            if node is not None and host.process is not None and host.process.halted is None:
                kernel = node._driver.replica.kernel
                if kernel.is_leader and (found is None or kernel.term > found[0]):
                    found = (kernel.term, host)
        return found[1] if found else None


def hash_of(payloads: tuple[bytes, ...]) -> bytes:
    found = hashlib.blake2b(digest_size=8)
    for payload in payloads:
        found.update(payload)
    return found.digest()
