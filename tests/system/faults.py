"""What can happen to the network of a cluster, and to its processes, chosen by chance."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from random import Random

from tests.system.netns import Host, Network, Way, between
from tests.system.processes import Cluster, Node


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens and lasts a while; of hosts and nodes by number from 0."""

    #: What it is one of, and what it is.
    kind: str
    name: str
    cut: frozenset[Way] = frozenset()
    pulled: frozenset[Host] = frozenset()
    narrow: frozenset[Host] = frozenset()
    killed: Node | None = None
    stopped: Node | None = None


#: Makes a fault of hosts in random order, the leader's host (or any) among them.
Kind = Callable[[Random, list[Host], Host], Fault]


def alone(_: Random, hosts: list[Host], __: Host) -> Fault:
    return Fault("alone", f"host {hosts[0].number} has no cable", pulled=frozenset(hosts[:1]))


def leader_alone(_: Random, hosts: list[Host], leader: Host) -> Fault:
    return Fault("leader alone", f"the leader's host {leader.number} has no cable", pulled=frozenset([leader]))


def halves(rng: Random, hosts: list[Host], _: Host) -> Fault:
    size = rng.randint(1, len(hosts) // 2)
    return Fault(
        "halves",
        f"{numbers(hosts[:size])} and the others are apart",
        cut=frozenset(between(hosts[:size], hosts[size:])),
    )


def mute(rng: Random, hosts: list[Host], leader: Host) -> Fault:
    """It hears all, and some or all do not hear it."""
    host = rng.choice([leader, hosts[0]])
    deaf = [other for other in hosts if other != host][rng.choice([0, 0, 1, 2]) :]
    return Fault(
        "mute", f"host {host.number} is not heard by {numbers(deaf)}", cut=frozenset((host, one) for one in deaf)
    )


def deaf(rng: Random, hosts: list[Host], leader: Host) -> Fault:
    """All hear it, and it does not hear some or all."""
    host = rng.choice([leader, hosts[0]])
    mutes = [other for other in hosts if other != host][rng.choice([0, 0, 1, 2]) :]
    return Fault(
        "deaf", f"host {host.number} does not hear {numbers(mutes)}", cut=frozenset((one, host) for one in mutes)
    )


def bridge(_: Random, hosts: list[Host], __: Host) -> Fault:
    """Two sides that have one host in common, which hears both."""
    middle, half = hosts[0], len(hosts) // 2 + 1
    cut = frozenset(between(hosts[1:half], hosts[half:]))
    return Fault(
        "bridge", f"{numbers(hosts[1:half])} and {numbers(hosts[half:])} have only {middle.number} in common", cut=cut
    )


def ring(_: Random, hosts: list[Host], __: Host) -> Fault:
    """Each hears its two neighbours only: of five, everybody sees a majority, and no two see the same one."""
    near = {frozenset(pair) for pair in zip(hosts, [*hosts[1:], hosts[0]], strict=True)}
    cut = {way for a, b in combinations(hosts, 2) if frozenset((a, b)) not in near for way in between([a], [b])}
    return Fault("ring", f"a ring: {' '.join(str(host.number) for host in hosts)}", cut=frozenset(cut))


def some_pairs(rng: Random, hosts: list[Host], _: Host) -> Fault:
    pairs = [pair for pair in combinations(hosts, 2) if rng.random() < 0.4]
    cut = {way for a, b in pairs for way in (between([a], [b]) if rng.random() < 0.7 else {(a, b)})}
    return Fault("some pairs", f"{len(cut)} ways of {len(hosts) * (len(hosts) - 1)} are cut", cut=frozenset(cut))


def shattered(_: Random, hosts: list[Host], __: Host) -> Fault:
    return Fault("shattered", "nobody hears anybody", cut=frozenset(between(hosts, hosts)))


def narrow(rng: Random, hosts: list[Host], leader: Host) -> Fault:
    """Not a cut at all: what is sent comes late, or not."""
    slow = frozenset([leader, *hosts[:2]] if rng.random() < 0.5 else hosts[:1])
    return Fault("narrow", f"the cables of {numbers(list(slow))} are narrow", narrow=slow)


PARTITIONS: tuple[Kind, ...] = (alone, leader_alone, halves, mute, deaf, bridge, ring, some_pairs, shattered, narrow)


@dataclass(slots=True)
class Misfortune:
    """Chooses faults and lets them happen. Not more processes than a minority are down at once."""

    cluster: Cluster
    network: Network
    random: Random
    kills: bool = False
    stops: bool = False

    def next(self) -> Fault:
        """What happens next. What happens to a process comes on top of a partition now and then."""
        leader = self._leader()
        kinds = [*PARTITIONS, *([self._killed] if self.kills else []), *([self._stopped] if self.stops else [])]
        hosts = list(self.network.hosts[: self.cluster.size])
        self.random.shuffle(hosts)
        return self.random.choice(kinds)(self.random, hosts, leader)

    def begin(self, fault: Fault) -> None:
        self.network.cut(fault.cut)
        self.network.pull(fault.pulled)
        self.network.narrow(fault.narrow)
        if fault.killed:
            fault.killed.kill()
        if fault.stopped:
            fault.stopped.signal(signal.SIGSTOP)

    def end(self, fault: Fault) -> None:
        """Undo it for the processes, and for the network altogether."""
        self.network.heal()
        if fault.killed:
            fault.killed.spawn()
        if fault.stopped:
            fault.stopped.signal(signal.SIGCONT)

    def _leader(self) -> Host:
        """The host of whom most call the leader; any one, where nobody knows."""
        named = [node.status().get("leader") for node in self.cluster.living]
        leader = max(sorted({name for name in named if name}), key=named.count, default="")
        found = [node for node in self.cluster.nodes if node.name == leader] or [self.cluster.nodes[0]]
        return self._host(found[0])

    def _host(self, node: Node) -> Host:
        return next(host for host in self.network.hosts if host.namespace == node.namespace)

    def _node(self, host: Host) -> Node:
        return next(node for node in self.cluster.nodes if node.namespace == host.namespace)

    def _killed(self, rng: Random, hosts: list[Host], leader: Host) -> Fault:
        node = self._node(rng.choice([leader, hosts[0]]))
        return Fault("kill", f"{node.name} is killed", killed=node, cut=self._beside(rng, hosts, leader))

    def _stopped(self, rng: Random, hosts: list[Host], leader: Host) -> Fault:
        node = self._node(rng.choice([leader, hosts[0]]))
        return Fault("stop", f"{node.name} is stopped", stopped=node, cut=self._beside(rng, hosts, leader))

    def _beside(self, rng: Random, hosts: list[Host], leader: Host) -> frozenset[Way]:
        """Cuts beside what happens to a process: none, as often as not."""
        return some_pairs(rng, hosts, leader).cut if rng.random() < 0.5 else frozenset()


def numbers(hosts: list[Host]) -> str:
    return " ".join(str(host.number) for host in sorted(hosts, key=lambda host: host.number))
