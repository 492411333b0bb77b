"""Host: one simulated machine: its clocks, its disk, its guardians, and the process of a node that comes and goes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peercron.consensus.disk import Disk
from peercron.consensus.journal import JournalDamaged
from peercron.consensus.link import Link
from peercron.consensus.messages import ProtocolError
from peercron.consensus.snapshots import SnapshotDamaged
from peercron.consensus.transport import Gate, Listener, Transport
from peercron.core.check import CommandProbe, Probe
from peercron.errors import DataDirError
from peercron.health.probes import Result
from peercron.health.watches import Looks
from peercron.identity import DataDir, Identity
from peercron.node import Node
from peercron.node.assembly import OnFinished, OnStarted, Parts
from peercron.settings import PROFILES, Settings, Timers
from peercron.wire.frames import secret_key
from peercron.wire.plain import pack
from tests.sim.disk import Crash, SimDisk
from tests.sim.whole.guardian import LINE_S, Guardian, SimSupervisor
from tests.sim.whole.loop import ProcessLoop

if TYPE_CHECKING:
    from tests.sim.whole.cluster import Cluster

#: What a look at a service takes.
PROBE_S = 0.01
#: UTC of everybody's second 0.
EPOCH_MS = 1_800_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimSettings(Settings):
    """Settings whose timers are the seed's."""

    durations: Timers = PROFILES["wan"]

    @property
    def timers(self) -> Timers:
        return self.durations


class HostClock:
    """A process's view of its host's clocks; time goes on within a callback while the disk is slow."""

    def __init__(self, host: Host, loop: ProcessLoop) -> None:
        self._host, self._loop = host, loop

    def monotonic(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return self._host.wall_ms(self._loop.ahead_s)


class BootDisk:
    """The host's disk as one process sees it: slow at times, gone when the process is dead.

    Implements `peercron.consensus.disk.Disk`.
    """

    def __init__(self, process: Process) -> None:
        self._process, self._disk = process, process.host.disk

    def names(self) -> list[str]:
        return self._disk.names()

    def size(self, name: str) -> int:
        return self._disk.size(name)

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        return self._disk.read(name, offset, length)

    def append(self, name: str, data: bytes) -> None:
        self._living()
        self._disk.append(name, data)

    def sync(self, name: str) -> None:
        self._living()
        self._process.wait_for_disk()
        self._disk.sync(name)

    def truncate(self, name: str, size: int) -> None:
        self._living()
        self._disk.truncate(name, size)

    def publish(self, name: str, final: str) -> None:
        self._living()
        self._disk.publish(name, final)

    def remove(self, name: str) -> None:
        self._living()
        self._disk.remove(name)

    def close(self) -> None:
        """Nothing is held."""

    def _living(self) -> None:
        if not self._process.loop.alive:
            raise Crash


class SimDataDir(DataDir):
    """The identity, kept on the simulated disk."""

    def __init__(self, disk: Disk) -> None:
        self.path, self._disk = Path("/"), disk

    def close(self) -> None:
        """Nothing is held."""

    def _load(self) -> str | None:
        return self._disk.read("identity.json").decode() if "identity.json" in self._disk.names() else None

    def _store(self, text: str) -> None:
        try:
            if "identity.json.new" in self._disk.names():
                self._disk.remove("identity.json.new")
            self._disk.append("identity.json.new", text.encode())
            self._disk.sync("identity.json.new")
            self._disk.publish("identity.json.new", "identity.json")
        except OSError as error:
            raise DataDirError(f"the data directory cannot be written: {error.strerror}") from error


class SimParts(Parts):
    def __init__(self, process: Process) -> None:
        super().__init__(process.settings, clock=process.clock, rng=random.Random(process.host.cluster.rng.random()))
        self._process = process
        self.journal_bytes_max = process.host.cluster.plan.journal_bytes_max
        self.tail_entries = process.host.cluster.plan.tail_entries

    def data_dir(self) -> DataDir:
        return SimDataDir(BootDisk(self._process))

    def pass_key(self, data_dir: DataDir) -> bytes:
        return b"simulated"  # nobody asks by HTTP, and chance goes as it went

    def disk(self) -> Disk:
        return BootDisk(self._process)

    def slice_disk(self) -> Disk:
        return BootDisk(self._process)

    def fresh_id(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"

    def network(self, identity: Identity, listener: Listener, gate: Gate) -> Transport:
        network = SimTransport(
            identity.member,
            {},
            identity.cluster,
            secret_key(b""),
            listener,
            incarnation=identity.incarnation,
            gate=gate,
            rng=self.rng,
        )
        network.process = self._process
        return network

    def executor(self, on_started: OnStarted, on_finished: OnFinished) -> SimSupervisor:
        self._process.supervisor = SimSupervisor(self._process, on_started, on_finished)
        return self._process.supervisor

    def prober(self) -> Looks:
        return SimProber(self._process.host)


class SimProber:
    """A check's command ends well unless its host has that service broken.

    Implements `peercron.health.watches.Looks`.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def look(self, probe: Probe, host: str, timeout_s: float) -> Result:
        assert isinstance(probe, CommandProbe), "nothing else is simulated"
        await asyncio.sleep(PROBE_S)
        well = probe.argv[1] not in self._host.broken
        return Result(well, "exit code 0" if well else "exit code 1")

    async def close(self) -> None:
        """Nothing is held."""


class SimTransport(Transport):
    """The real one over the simulated network; what goes out is seen."""

    process: Process

    def send(self, peer: str, message: Mapping[str, Any]) -> None:
        link = self._links.get(peer)
        if link is None:
            return
        raw, cluster, host = pack(message), self.process.host.cluster, self.process.host
        cluster.said(host.name, peer, raw)
        link.send(raw)
        if cluster.after_send is not None:
            cluster.after_send(host.name, message["type"])

    def message(self, link: Link, message: Any) -> None:
        try:
            super().message(link, message)
        except ProtocolError as error:
            self.process.host.cluster.violation("protocol", f"{self.process.host.name} of {link.peer}: {error}")
            raise


class Process:
    """One life of a node, from its start to its death."""

    def __init__(self, host: Host) -> None:
        cluster = host.cluster
        self.host = host
        self.loop = ProcessLoop(
            host.name,
            cluster.time,
            host.local_s,
            host.world_s,
            self._defect,
            self.crash,
            lambda: cluster.rng.uniform(0.000_5, 0.01),
        )
        self.loop.wires = cluster.wires
        self.clock = HostClock(host, self.loop)
        self.settings = SimSettings(
            peers=cluster.addresses,
            name_given=True,
            self_address=host.address,
            name=host.name,
            http=f"{host.name}:8400",
            data_dir=Path("/"),
            insecure=True,
            durations=cluster.plan.timers,
        )
        self.node: Node | None = None
        self.supervisor: SimSupervisor | None = None
        self.started = False
        self.halted: str | None = None
        self.stopping = False
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        try:
            self.node = self.host.cluster.make_node(self)
        except (JournalDamaged, SnapshotDamaged, DataDirError, OSError) as error:
            self.host.would_not_start(error)
            return
        self.loop.create_task(self._start(self.node))

    async def _start(self, node: Node) -> None:
        await node.start()
        self.started = True

    # Between node and guardian: what a dead node would have said is not said, what it is told is not heard.

    def tell_guardian(self, guardian: Guardian, order: dict[str, Any]) -> None:
        said_s = self.loop.now_s
        self._after(said_s, lambda: guardian.hear(order) if self.loop.died_s >= said_s else None)

    def hear_guardian(self, guardian: Guardian, line: dict[str, Any]) -> None:
        def hear() -> None:
            if self.supervisor is not None and self.supervisor.keeper.guardian is guardian:
                self.supervisor.keeper.hear(line)

        self._after(self.host.cluster.time.now_s, lambda: self.loop.call_soon(hear))

    def _after(self, from_s: float, act: Any) -> None:
        self.host.cluster.time.at(from_s + LINE_S, act)

    @property
    def serves(self) -> bool:
        """As `/readyz` says."""
        if self.node is None or not self.started or self.stopping:
            return False
        return all(well for _, well, _ in self.node.ready())

    # Disk and death.

    def wait_for_disk(self) -> None:
        slow_s = self.host.slow_s
        if slow_s and self.loop.is_running():
            self.loop.ahead_s += self.host.cluster.rng.uniform(0, slow_s)

    def crash(self) -> None:
        self.host.kill(power=self.host.power_loss)

    def crash_here(self) -> None:
        self.crash()
        raise Crash

    def halt(self, reason: str) -> None:
        """Its consensus has stopped; somebody will start it again."""
        self.halted = reason
        self.host.halted(self, reason)

    def _defect(self, what: str) -> None:
        self.host.cluster.violation("defect", f"{self.host.name}: {what}")


class Host:
    """One machine. `name` is the node's name, `address` its member id."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name, self.address = cluster, name, f"{name}:7400"
        self.disk = SimDisk(cluster.rng)
        self.rate = 1.0
        self.wall_offset_ms = 0
        self._origin_s = 0.0
        self.process: Process | None = None
        self.guardians: list[Guardian] = []
        #: A sync takes up to this long.
        self.slow_s = 0.0
        #: Whoever crashes here loses what was not synced.
        self.power_loss = False
        self.boots = 0
        #: Services that do not work here, whoever looks.
        self.broken: set[str] = set()

    # Clocks.

    def local_s(self, world_s: float) -> float:
        """Monotonic seconds of this host; they run a little faster or slower than everybody's."""
        return 1_000.0 + (world_s - self._origin_s) * self.rate

    def world_s(self, local_s: float) -> float:
        return self._origin_s + (local_s - 1_000.0) / self.rate

    def wall_ms(self, ahead_s: float = 0.0) -> int:
        return EPOCH_MS + round((self.cluster.time.now_s + ahead_s) * 1000) + self.wall_offset_ms

    # The process.

    @property
    def up(self) -> bool:
        return self.process is not None

    @property
    def node(self) -> Node | None:
        return self.process.node if self.process is not None else None

    def start(self) -> None:
        if self.process is None:
            self.boots += 1
            self.cluster.note("start", self.name)
            self.cluster.wires.dark.pop(self.name, None)
            self.disk.before = lambda _: None
            self.disk.full = False
            self.process = Process(self)

    def kill(self, *, power: bool = False) -> None:
        """The process dies at once; with `power` the whole machine, and what was not synced is gone."""
        process, self.process = self.process, None
        if process is None:
            return
        self.cluster.note("power" if power else "kill", self.name)
        process.loop.die()
        self.cluster.graveyard.append(process)
        self.cluster.on_death(process, power)
        self.disk.before = lambda _: None
        self.cluster.wires.died(process.loop, power=power)
        if power:
            self.disk.lose_power()
            for guardian in self.guardians:
                guardian.die()
            self.guardians.clear()
        else:
            for guardian in self.guardians:
                self.cluster.time.after(LINE_S, guardian.lose_node)

    async def stop(self, process: Process, back_after_s: float) -> None:
        """In order; to be run in the process's own loop."""
        assert process.node is not None
        process.stopping = True
        await process.node.stop()
        if self.process is process:
            self.kill()
            self.cluster.time.after(back_after_s, self.start)

    def pause(self, seconds: float) -> None:
        """The node's process stands still; its guardian and its attempts do not."""
        process = self.process
        if process is None:
            return
        process.loop.stop_until(self.cluster.time.now_s + seconds)
        self.cluster.note("pause", self.name, seconds)

    def halted(self, process: Process, reason: str) -> None:
        self.cluster.note("halted", self.name, reason)
        if not reason.startswith("OSError"):
            self.cluster.violation("halted", f"{self.name}: {reason}")
        self.cluster.time.after(self.cluster.rng.uniform(0.5, 3.0), lambda: self._restart(process))

    def would_not_start(self, error: Exception) -> None:
        process = self.process
        self.cluster.note("would not start", self.name, error)
        if isinstance(error, JournalDamaged | SnapshotDamaged):
            self.cluster.violation("damaged", f"{self.name}: {error}")
        self.cluster.time.after(self.cluster.rng.uniform(0.5, 3.0), lambda: self._restart(process))

    def _restart(self, process: Process | None) -> None:
        """As an init system does."""
        if self.process is process and process is not None:
            self.kill()
            self.cluster.time.after(0.1, self.start)

    def leads(self, term: int) -> None:
        """As status tells everybody."""
        other = self.cluster.leaders.get(term)
        if other is None:
            other = self.cluster.leaders[term] = self.name
            self.cluster.note("leads", self.name, term)
            self.cluster.on_election(self)
        if other != self.name:
            self.cluster.violation("election safety", f"{self.name} and {other} lead term {term}")

    # Guardians.

    def attempts_alive(self) -> bool:
        """Of earlier boots. A guardian without a node and without attempts is gone."""
        self.guardians = [g for g in self.guardians if g.attempts]
        return bool(self.guardians)

    def begin_guardian(self, process: Process) -> Guardian:
        guardian = Guardian(process)
        self.guardians.append(guardian)
        return guardian

    def kill_guardian(self) -> None:
        """The guardian of the living node dies, and its attempts with it; the node gets another."""
        process = self.process
        keeper = process.supervisor.keeper if process is not None and process.supervisor is not None else None
        if process is None or keeper is None or keeper.guardian is None:
            return
        guardian = keeper.guardian
        if guardian.dead:
            return  # its node, which stands still, has not heard of it; nobody dies twice
        self.cluster.note("guardian dies", self.name)
        guardian.die()
        self.guardians = [g for g in self.guardians if g is not guardian]
        process.loop.call_soon(keeper.lose)
