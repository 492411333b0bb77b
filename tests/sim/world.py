"""The world of one simulated cluster: time, links, members, and what must never happen."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgpack

from peercron.consensus.entry import BLANK, Entry
from peercron.consensus.journal import Journal, JournalDamaged
from peercron.consensus.membership import founding
from peercron.consensus.messages import ProtocolError
from peercron.consensus.outbox import Output
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotDamaged, SnapshotStore
from peercron.core.member import Configuration, Seat
from tests.sim.disk import Crash, SimDisk

#: The driver's rule for a turn that is late by our own fault.
LATE_S = 0.1


@dataclass(frozen=True)
class Timing:
    heartbeat_ms: int = 50
    election_min_ms: int = 300
    election_max_ms: int = 600


class Machine:
    """Remembers every payload it was given, in order."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.values: list[bytes] = []

    def apply(self, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
        self.member.world.applied(self.member, index, (now_ms, payloads))
        self.values.extend(payloads)
        self.member.fresh.extend(payloads)

    def configured(self, configuration: Configuration) -> None:
        self.member.world.note("configured", self.member.name, configuration)

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.values = list(msgpack.unpackb(b"".join(chunks), use_list=False))
        self.member.fresh = list(self.values)

    def restoration(self) -> Gathering:
        return Gathering(self)


class Gathering:
    """For machines that restore in one go: the pieces, kept until they are all there."""

    def __init__(self, machine: Any) -> None:
        self._machine = machine
        self._chunks: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def take_over(self) -> None:
        self._machine.restore(self._chunks)


class Member:
    """One simulated process, and the disk that outlives it."""

    def __init__(self, world: World, name: str, birth: Entry = BLANK) -> None:
        self.world, self.name, self.birth = world, name, birth
        self.disk = SimDisk(world.rng)
        self.replica: Replica | None = None
        self.machine = self.make_machine()
        self.fresh: list[bytes] = []
        self.boot = 0
        self.turn_at = float("inf")
        self.due_s = float("inf")
        self.clock_offset_ms = world.rng.randint(-200, 200)
        self.paused_until_s = float("-inf")
        self._backlog: list[Callable[[], None]] = []
        #: Some of its journal's end was taken from it.
        self.forgetful = False
        #: A sync takes up to this long.
        self.slow_s = 0.0

    def make_machine(self) -> Any:
        return Machine(self)

    @property
    def up(self) -> bool:
        return self.replica is not None

    @property
    def leads(self) -> bool:
        return self.replica is not None and self.replica.kernel.is_leader

    def start(self) -> None:
        world = self.world
        self.boot += 1
        self.turn_at = self.due_s = float("inf")
        self.paused_until_s, self._backlog = float("-inf"), []
        self.disk.before = lambda _: None
        self.disk.full = False
        self.machine, self.fresh = self.make_machine(), []
        peers = [n for n in world.members if n != self.name]
        try:
            journal = world.journal_type(self.disk, self.birth, tail_entries=world.rng.choice([0, 5, 50]))
            store = SnapshotStore(self.disk)
            rng = random.Random(world.rng.random())
            self.replica = world.replica_type(self.name, journal, store, self.machine, Timing(), rng, world.now_s)
        except (JournalDamaged, SnapshotDamaged) as error:
            world.violation("damaged", f"{self.name}: {error}")
            return
        self.turn_soon()
        for peer in peers:
            world.connect_later(self.name, peer)

    def kill(self, *, power: bool = False) -> None:
        self.replica = None
        if power:
            self.disk.lose_power()
        for peer in self.world.members:
            if peer != self.name:
                self.world.disconnect(self.name, peer)

    def pause(self, seconds: float) -> None:
        """The process does not run for a while; what comes in waits."""
        resume_s = self.world.now_s + seconds
        if self.replica is None or resume_s <= self.paused_until_s:
            return
        self.paused_until_s = resume_s
        boot = self.boot
        self.world.at(resume_s, lambda: self._resume() if self.boot == boot else None)

    def _resume(self) -> None:
        if self.world.now_s >= self.paused_until_s:
            backlog, self._backlog = self._backlog, []
            for act in backlog:
                act()

    def guarded(self, act: Callable[[Replica], None]) -> None:
        """Let the replica do something, as soon as it runs; a crash or a failed disk ends it."""
        if self.replica is None:
            return
        if self.world.now_s < self.paused_until_s:
            self._backlog.append(lambda: self.guarded(act))
            return
        try:
            act(self.replica)
        except Crash:
            self.kill(power=self.world.power_loss)
        except OSError:
            self.world.failed_disks += 1
            self.kill()
        except ProtocolError as error:
            self.world.violation("protocol", f"{self.name}: {error}")
        except Exception as error:  # the replica found a violation itself, or broke
            self.world.violation(type(error).__name__, f"{self.name}: {error}")
            self.kill()

    def turn_soon(self) -> None:
        self.turn_by(self.world.now_s + self.world.rng.uniform(0, 0.0004))

    def turn_by(self, when_s: float) -> None:
        if when_s < self.turn_at:
            self.turn_at = when_s
            boot = self.boot
            self.world.at(when_s, lambda: self.turn() if boot == self.boot and self.turn_at <= when_s else None)

    def turn(self) -> None:
        self.turn_at = float("inf")
        self.guarded(self._turn)

    def _turn(self, replica: Replica) -> None:
        world = self.world
        late = world.now_s - self.due_s > LATE_S
        out = replica.step(world.now_s, int(world.now_s * 1000) + self.clock_offset_ms, late=late)
        self.speak(out.early)
        self.before_flush(out)
        if not self.slow_s or not replica.journal.dirty:
            self._finish_turn(replica, out)
            return
        # The disk takes its time, and the process waits for it; whoever kills it meanwhile kills what it wrote.
        boot, delay_s = self.boot, world.rng.uniform(0, self.slow_s)
        done_s = world.now_s + delay_s

        def finish() -> None:
            if self.boot == boot:
                self.paused_until_s = world.now_s
                self.guarded(lambda replica: self._finish_turn(replica, out))

        world.at(max(done_s, self.paused_until_s), finish)
        self.pause(delay_s)

    def _finish_turn(self, replica: Replica, out: Output) -> None:
        world = self.world
        replica.journal.flush()
        self.speak(out.late)
        fresh, self.fresh = self.fresh, []
        for payload in fresh:
            world.seen(self, payload)
        for token, index in out.reads:
            world.read_answered(self, token, index)
        if replica.kernel.is_leader:
            world.leads(self, replica.kernel.term)
        grown = world.compact_every and replica.kernel.applied - replica.snapshot_index > world.compact_every
        if grown or replica.snapshot_wanted:
            self._snapshot(replica)
        self.due_s = replica.next_due_s()
        self.turn_by(world.now_s if out.more else max(self.due_s, world.now_s + 0.001))

    def before_flush(self, out: Output) -> None:
        """Nothing more may be said now."""

    def speak(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        for peer, message in messages:
            self.world.send(self.name, peer, message)

    def _snapshot(self, replica: Replica) -> None:
        writer = replica.begin_snapshot()
        writer.write(msgpack.packb(tuple(self.machine.values)))
        writer.seal()
        writer.sync()
        replica.snapshot_published(writer.publish().index)


class World:
    """A cluster under one seed: the same seed gives the same history."""

    def __init__(
        self,
        seed: int,
        members: int,
        *,
        replica_type: type[Replica] = Replica,
        journal_type: type[Journal] = Journal,
        member_type: type[Member] = Member,
        compact_every: int = 0,
        power_loss: bool = False,
    ) -> None:
        self.rng = random.Random(seed)
        self.now_s = 1_000.0
        self.replica_type, self.journal_type = replica_type, journal_type
        self.compact_every, self.power_loss = compact_every, power_loss
        self.members: dict[str, Member] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        #: (a, b) with a < b -> number of the connection, or absent.
        self.links: dict[tuple[str, str], int] = {}
        self._connections = 0
        self._connecting: set[tuple[str, str]] = set()
        self.cut: set[tuple[str, str]] = set()
        self._stalled: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        self._last_arrival: dict[tuple[str, str], float] = {}
        self.violations: list[tuple[str, str]] = []
        self.failed_disks = 0
        self._history: dict[int, Any] = {}
        self._leaders: dict[int, str] = {}
        self.proposed = 0
        self.waiting: dict[bytes, str] = {}
        self.acknowledged: set[bytes] = set()
        self._questions: dict[tuple[str, int, int], set[bytes]] = {}
        self.reads = self.stale_reads = 0
        self._trace = hashlib.blake2b(digest_size=16)
        self._member_type, self._joined = member_type, 0
        founders = Configuration(tuple(Seat(name, name, name) for name in "abcdefg"[:members]))
        for seat in founders.seats:
            self.members[seat.id] = member_type(self, seat.id, founding(founders))
        for member in self.members.values():
            member.start()

    # Time.

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (when_s, self._sequence, act))

    def note(self, *what: object) -> None:
        self._trace.update(repr((self.now_s, *what)).encode())

    @property
    def trace(self) -> str:
        """A digest of all that was sent, applied, led and acknowledged, and when."""
        return self._trace.hexdigest()

    def run(self, seconds: float) -> None:
        end = self.now_s + seconds
        while self._events and self._events[0][0] <= end:
            when_s, _, act = heapq.heappop(self._events)
            self.now_s = max(self.now_s, when_s)
            act()
        self.now_s = end

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = self.now_s + seconds
        while self.now_s < end:
            if condition():
                return True
            self.run(0.05)
        return condition()

    # Links: in order and reliable until they break, as TCP's are.

    def connect_later(self, a: str, b: str) -> None:
        pair = (min(a, b), max(a, b))
        if pair in self._connecting:
            return
        self._connecting.add(pair)
        self.at(self.now_s + self.rng.uniform(0.01, 0.5), lambda: self._connect(pair))

    def _connect(self, pair: tuple[str, str]) -> None:
        self._connecting.discard(pair)
        a, b = (self.members[name] for name in pair)
        if pair in self.links or not (a.up and b.up):
            return
        if pair in self.cut or (pair[1], pair[0]) in self.cut:
            self.connect_later(*pair)
            return
        self._connections += 1
        self.links[pair] = self._connections
        for member, peer in ((a, b.name), (b, a.name)):
            member.guarded(partial(self._tell_connected, peer))
            member.turn_soon()

    def _tell_connected(self, peer: str, replica: Replica) -> None:
        replica.connected(peer, self.now_s)

    def _hand(self, peer: str, message: Any, replica: Replica) -> None:
        replica.receive(peer, message, self.now_s)

    def packer(self, a: str, b: str, number: int) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        """How messages of a connection become bytes on one end, and what they were on the other."""
        return msgpack.packb, _unpack

    def disconnect(self, a: str, b: str) -> None:
        pair = (min(a, b), max(a, b))
        if self.links.pop(pair, None) is None:
            return
        for way in (pair, (pair[1], pair[0])):
            self._stalled.pop(way, None)
        for name, peer in (pair, (pair[1], pair[0])):
            member = self.members[name]
            if member.up:
                # The end of a connection travels like anything else.
                self.at(self.now_s + self.rng.uniform(0.0001, 0.002), self._tell_broken(member, peer, member.boot))
        self.connect_later(a, b)

    def _tell_broken(self, member: Member, peer: str, boot: int) -> Callable[[], None]:
        def tell() -> None:
            if member.boot == boot and (min(member.name, peer), max(member.name, peer)) not in self.links:
                member.guarded(lambda replica: replica.disconnected(peer, self.now_s))
                member.turn_soon()

        return tell

    def send(self, a: str, b: str, message: dict[str, Any]) -> None:
        number = self.links.get((min(a, b), max(a, b)))
        if number is None:
            return
        raw = self.packer(a, b, number)[0](message)
        self.note("send", a, b, raw)
        if (a, b) in self.cut:
            self._stalled.setdefault((a, b), []).append((number, raw))
        else:
            self._travel(a, b, number, raw)

    def _travel(self, a: str, b: str, number: int, raw: bytes) -> None:
        arrival = max(self.now_s + self.rng.uniform(0.0001, 0.003), self._last_arrival.get((a, b), 0) + 1e-6)
        self._last_arrival[(a, b)] = arrival

        def arrive() -> None:
            if self.links.get((min(a, b), max(a, b))) != number:
                return
            if (a, b) in self.cut:
                self._stalled.setdefault((a, b), []).append((number, raw))
                return
            member = self.members[b]
            message = self.packer(a, b, number)[1](raw)
            member.guarded(partial(self._hand, a, message))
            member.turn_soon()

        self.at(arrival, arrive)

    def block(self, a: str, b: str) -> None:
        """Nothing passes from a to b; after a while of silence the connection is given up."""
        self.cut.add((a, b))
        pair = (min(a, b), max(a, b))
        number = self.links.get(pair)

        def give_up() -> None:
            if (a, b) in self.cut and self.links.get(pair) == number:
                self.disconnect(a, b)

        self.at(self.now_s + 5.0, give_up)

    def heal(self) -> None:
        ways, self.cut = sorted(self.cut), set()
        for way in ways:
            for number, raw in self._stalled.pop(way, []):
                self._travel(*way, number, raw)

    # Clients.

    def propose(self, member: Member) -> None:
        payload = b"v%d" % self.proposed
        self.proposed += 1
        self.waiting[payload] = member.name
        member.guarded(lambda replica: replica.propose([(self.proposed, payload)]))
        member.turn_soon()

    def read(self, member: Member) -> Callable[[], bool]:
        """Ask for an index to read at. The answer tells whether one has come."""
        self.proposed += 1
        token, question = self.proposed, (member.name, member.boot, self.proposed)
        if member.up:
            self._questions[question] = set(self.acknowledged)
            member.guarded(lambda replica: replica.read(token))
            member.turn_soon()
        return lambda: question not in self._questions

    def _ask(self, member: Member) -> None:
        self.read(member)

    def read_answered(self, member: Member, token: int, index: int | None) -> None:
        known = self._questions.pop((member.name, member.boot, token), None)
        if index is None or known is None:
            return
        boot = member.boot

        def look() -> None:
            if member.boot != boot or member.replica is None:
                return
            if member.replica.kernel.applied < index:
                self.at(self.now_s + 0.01, look)
                return
            self.reads += 1
            if not known <= set(member.machine.values):
                self.stale_reads += 1
                self.violation("stale read", f"{member.name} at {index}")

        look()

    # What must hold.

    def violation(self, kind: str, detail: str) -> None:
        self.note(kind, detail)
        self.violations.append((kind, f"{self.now_s - 1000:.3f}s {detail}"))

    def applied(self, member: Member, index: int, what: Any) -> None:
        self.note("apply", member.name, index)
        if self._history.setdefault(index, what) != what:
            self.violation("state machine safety", f"{member.name} applied another entry at {index}")

    def leads(self, member: Member, term: int) -> None:
        if term not in self._leaders:
            # The moment in which a leader knows least: right after its election.
            self.at(self.now_s, lambda: self._ask(member))
        if self._leaders.setdefault(term, member.name) != member.name:
            self.violation("election safety", f"{member.name} and {self._leaders[term]} lead term {term}")

    def seen(self, member: Member, payload: bytes) -> None:
        """A member's turn is over and durable: its own clients are answered."""
        if self.waiting.get(payload) == member.name:
            del self.waiting[payload]
            self.note("acknowledge", payload)
            self.acknowledged.add(payload)

    # Members come and go.

    def join(self) -> Member:
        """Start a newcomer, with a blank log; somebody has to give it a seat."""
        self._joined += 1
        name = f"n{self._joined}"
        member = self.members[name] = self._member_type(self, name, BLANK)
        member.start()
        return member

    def belonging(self) -> list[Member]:
        """The members that the leader's configuration names; all, if nobody leads."""
        leader = self.leader()
        if leader is None or leader.replica is None:
            return list(self.members.values())
        return [self.members[seat.id] for seat in leader.replica.configuration.seats]

    def leader(self) -> Member | None:
        leading = [m for m in self.members.values() if m.leads]
        return max(leading, key=lambda m: m.replica.kernel.term if m.replica else 0, default=None)

    def converged(self) -> bool:
        members = self.belonging()
        if self.leader() is None or not all(m.up for m in members):
            return False
        return len({(m.replica.kernel.applied, len(m.machine.values)) for m in members if m.replica}) == 1


def _unpack(raw: bytes) -> Any:
    return msgpack.unpackb(raw, use_list=False)
