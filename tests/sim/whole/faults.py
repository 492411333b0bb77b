"""Faults: bursts of them by seed, with calm between, and an end of them.

Letters: p a host cut off, q the cluster in two halves, a a way cut in one direction, m a partial partition, n late
packets, b broken connections, u a connection that only one end knows to be over, e a leader struck right after its
election, k kill, h death between two callbacks, x death right after a message was sent, d death in a disk operation,
l loss of power (with k, e, h, x and d: what was not synced is gone), f full disk, w slow disks, s a process that stands
still, t leadership handed over, o an orderly stop and start, g a dead guardian, c a wall clock that is set by less than
the bound, z one that is set by much (only while all is well).
"""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.whole.cluster import Cluster
from tests.sim.whole.host import Host

EVERYTHING = "pqamnbuekhxdlfwstogcz"
#: Between two faults of a burst: faster than anybody is done with one, up to longer than a lease.
PACES_S = (0.3, 1.0, 2.5, 7.0)
#: How long cuts are left alone, whatever else happens.
HOLDS_S = (0.0, 0.0, 4.0, 9.0, 14.0)
#: Messages after which a crash hurts most.
TELLING = ("response_vote", "request_vote", "next_node_idx", "append_entries", "prevote_ok", "timeout_now", "read_at")
#: Wall clocks are within this of the truth, when nobody has set them.
SPREAD_MS = 300


class Faults:
    """Strikes a cluster.

    Args:
        cluster: whose hosts, wires and disks.
        letters: which faults.
        hammer: told of a host that clients shall ask for much at once: of a leader that nobody hears, say.
    """

    def __init__(self, cluster: Cluster, letters: str, hammer: Callable[[Host], None] = lambda _: None) -> None:
        self._hammer = hammer
        self._held_until_s = 0.0
        self.cluster, self.rng, self.time = cluster, cluster.rng, cluster.time
        self.letters = letters
        self.count = 0
        self._strikes: dict[str, Callable[[], None]] = {
            "p": self.isolate,
            "q": self.split,
            "e": self.strike_at_election,
            "a": self.cut_one_way,
            "m": self.cut_partly,
            "n": self.delay_packets,
            "b": self.break_connection,
            "u": self.forget_connection,
            "k": self.kill,
            "h": self.die_between_callbacks,
            "x": self.die_after_message,
            "d": self.die_in_disk,
            "f": self.fill_disk,
            "w": self.slow_disks,
            "s": self.pause,
            "t": self.transfer,
            "o": self.stop_in_order,
            "g": self.kill_guardian,
            "c": self.step_clock,
        }

    def settle_hosts(self) -> None:
        """Each host gets its clocks."""
        for host in self.cluster.hosts.values():
            host.rate = 1 + self.rng.uniform(-0.0098, 0.0098) * self.rng.choice((0, 1))
            host.wall_offset_ms = self.rng.randint(-SPREAD_MS, SPREAD_MS)

    def burst(self, seconds: float) -> None:
        """Faults for a while, then an end of them. Returns when the time is over."""
        kinds = [letter for letter in self.letters if letter in self._strikes]
        if not kinds:
            self.time.run(seconds)
            return
        chosen = self.rng.sample(kinds, min(len(kinds), self.rng.randint(2, 6)))
        pace_s = self.rng.choice(PACES_S)
        end_s = self.time.now_s + max(seconds, 5 * pace_s)
        self.cluster.note("burst", "".join(chosen), round(pace_s, 1))
        while self.time.now_s < end_s:
            self.time.run(self.rng.uniform(0.2, 1.8) * pace_s)
            letter = self.rng.choice(chosen)
            self.count += 1
            self._strikes[letter]()
        self.end()

    def clock_trouble(self) -> None:
        """All is well but for one wall clock, which is far off for a while."""
        host = self.rng.choice(list(self.cluster.hosts.values()))
        step_ms = self.rng.choice((-1, 1)) * self.rng.choice((1_500, 10_000, 300_000))
        self.cluster.note("clock far off", host.name, step_ms)
        self.count += 1
        before_ms, host.wall_offset_ms = host.wall_offset_ms, host.wall_offset_ms + step_ms
        self.time.run(self.rng.uniform(2, 15))
        host.wall_offset_ms = before_ms
        self.cluster.note("clock right", host.name)

    def end(self) -> None:
        """No more faults: whoever is down comes back, all ways are open."""
        self.cluster.note("calm")
        self.cluster.wires.heal()
        self.cluster.after_send = None
        self.cluster.on_election = lambda _: None
        self._held_until_s = 0.0
        for host in self.cluster.hosts.values():
            host.disk.before = lambda _: None
            host.disk.full = False
            host.slow_s = 0.0
            host.power_loss = False
            host.wall_offset_ms = self.rng.randint(-SPREAD_MS, SPREAD_MS)
            if host.process is not None:
                host.process.loop.dies_in = None
                host.process.loop.go_on()
            host.start()

    # Whom to strike.

    def _up(self) -> list[Host]:
        return self.cluster.up

    def _one(self) -> Host | None:
        """Somebody who is there; often the leader, who has most to lose."""
        leader = self.cluster.leader()
        if leader is not None and self.rng.random() < 0.4:
            return leader
        up = self._up()
        return self.rng.choice(up) if up else None

    def _power(self) -> bool:
        return "l" in self.letters and self.rng.random() < 0.7

    def _back_later(self, host: Host) -> None:
        delay_s = self.rng.choice((self.rng.uniform(0.001, 0.1), self.rng.uniform(0.1, 2.0), self.rng.uniform(1, 12)))
        self.time.after(delay_s, host.start)

    # Ways.

    def _heals(self, chance: float) -> bool:
        """Instead of another cut, the end of those that there are; some are held for longer than a lease."""
        if not self.cluster.wires.cut or self.rng.random() > chance:
            self._held_until_s = max(self._held_until_s, self.time.now_s + self.rng.choice(HOLDS_S))
            return False
        if self.time.now_s >= self._held_until_s:
            self.cluster.note("heal")
            self.cluster.wires.heal()
        return True

    def isolate(self) -> None:
        if self._heals(0.6):
            return
        failing = [self.cluster.hosts[a] for a, _ in self.cluster.wires.late]
        alone = self.rng.choice(failing) if failing and self.rng.random() < 0.5 else self._one()
        if alone is None:
            return
        self._part([alone])

    def split(self) -> None:
        """Both halves go on among themselves."""
        if self._heals(0.6):
            return
        hosts = list(self.cluster.hosts.values())
        self._part(self.rng.sample(hosts, self.rng.randint(1, len(hosts) // 2)))

    def _part(self, some: list[Host]) -> None:
        """Nothing passes between these and the others."""
        self.cluster.note("part", " ".join(host.name for host in some))
        for a in some:
            for b in self.cluster.hosts.values():
                if b not in some:
                    self.cluster.wires.block(a.name, b.name)
                    self.cluster.wires.block(b.name, a.name)
        leader = self.cluster.leader()
        if leader in some and self.rng.random() < 0.5:
            self._hammer(leader)

    def cut_one_way(self) -> None:
        a, b = self.rng.sample(list(self.cluster.hosts.values()), 2)
        self.cluster.note("cut one way", a.name, b.name)
        self.cluster.wires.block(a.name, b.name)

    def cut_partly(self) -> None:
        if self._heals(0.5):
            return
        a, b = self.rng.sample(list(self.cluster.hosts.values()), 2)
        self.cluster.note("cut", a.name, b.name)
        self.cluster.wires.block(a.name, b.name)
        self.cluster.wires.block(b.name, a.name)

    def delay_packets(self) -> None:
        """From one to another, or from and to one whose network is about to fail."""
        a, *others = self.rng.sample(list(self.cluster.hosts.values()), len(self.cluster.hosts))
        late = (self.rng.choice((0.05, 0.5)), self.rng.choice((0.2, 1.5)))
        for b in others if self.rng.random() < 0.5 else others[:1]:
            self.cluster.note("late packets", a.name, b.name, late)
            self.cluster.wires.late[a.name, b.name] = late
            if len(others) > 1:
                self.cluster.wires.late[b.name, a.name] = late

    def break_connection(self) -> None:
        a, b = self.rng.sample(list(self.cluster.hosts.values()), 2)
        self.cluster.note("break", a.name, b.name)
        self.cluster.wires.reset(a.name, b.name)

    def forget_connection(self) -> None:
        a, b = self.rng.sample(list(self.cluster.hosts.values()), 2)
        self.cluster.note("forget", a.name, b.name)
        self.cluster.wires.forget(a.name, b.name)

    # Processes.

    def kill(self) -> None:
        up = self._up()
        if not up:
            return
        one = self._one()
        count = self.rng.choice((1, 1, 1, min(2, len(up)), len(up)))
        for host in [one] if count == 1 and one is not None else self.rng.sample(up, count):
            host.kill(power=self._power())
            self._back_later(host)

    def strike_at_election(self) -> None:
        """Whoever leads next is cut off or dies soon after, when it knows least and little of it has arrived."""
        delay_s = self.rng.choice((0.0, 1.0, 3.0)) * self.rng.uniform(0, self.cluster.wires.latency_s[1])
        kills, power = self.rng.random() < 0.6, self._power()

        def strike(host: Host) -> None:
            if kills:
                host.kill(power=power)
                self._back_later(host)
            else:
                self._part([host])

        def elected(host: Host) -> None:
            self.cluster.on_election = lambda _: None
            self.time.after(delay_s, lambda: strike(host))

        self.cluster.on_election = elected

    def die_between_callbacks(self) -> None:
        host = self._one()
        if host is not None and host.process is not None:
            host.power_loss = self._power()
            host.process.loop.dies_in = self.rng.randint(1, 60)
            self._back_later(host)

    def die_after_message(self) -> None:
        """The next who sends a message of this kind dies behind it, perhaps in the middle of what it is doing."""
        kind, power, cluster = self.rng.choice(TELLING), self._power(), self.cluster
        at_once = self.rng.random() < 0.5
        victims = {host.name: host for host in self._up()}
        left = self.rng.randint(1, 3)

        def after_send(name: str, sent: str) -> None:
            nonlocal left
            host = victims.get(name)
            if sent != kind or host is None or host.process is None:
                return
            left -= 1
            if left > 0:
                return
            cluster.after_send = None
            host.power_loss = power
            self._back_later(host)
            if at_once:
                host.process.crash_here()
            host.process.loop.dies_in = 1

        cluster.after_send = after_send

    def die_in_disk(self) -> None:
        host = self._one()
        if host is None or host.process is None:
            return
        left, process = self.rng.randint(1, 12), host.process
        host.power_loss = self._power()

        def before(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0 and host.process is process:
                process.crash_here()

        host.disk.before = before
        self._back_later(host)

    def fill_disk(self) -> None:
        host = self._one()
        if host is not None:
            self.cluster.note("full disk", host.name)
            host.disk.full = True
            self.time.after(self.rng.uniform(0.5, 6.0), lambda: self._empty_disk(host))

    def _empty_disk(self, host: Host) -> None:
        host.disk.full = False

    def slow_disks(self) -> None:
        slow_s = self.rng.choice((0.0, 0.003, 0.05, 0.4))
        hosts = list(self.cluster.hosts.values())
        for host in hosts if self.rng.random() < 0.5 else [self.rng.choice(hosts)]:
            self.cluster.note("slow disk", host.name, slow_s)
            host.slow_s = slow_s

    def pause(self) -> None:
        host = self._one()
        if host is not None:
            host.pause(self.rng.choice((0.05, 0.5, 2.0, 5.0, 9.0)))

    def transfer(self) -> None:
        leader = self.cluster.leader()
        if leader is None or leader.process is None or leader.process.node is None:
            return
        self.cluster.note("transfer", leader.name)
        node, to = leader.process.node, self.rng.choice((None, *self.cluster.addresses))
        leader.process.loop.call_soon(node._leadership.begin_hand_over, to)

    def stop_in_order(self) -> None:
        host = self._one()
        process = host.process if host is not None else None
        if host is None or process is None or not process.started or process.stopping:
            return
        self.cluster.note("stop", host.name)
        back_after_s = self.rng.uniform(0.1, 8)
        process.loop.call_soon(lambda: process.loop.create_task(host.stop(process, back_after_s)))

    def kill_guardian(self) -> None:
        host = self._one()
        if host is not None:
            host.kill_guardian()

    def step_clock(self) -> None:
        host = self.rng.choice(list(self.cluster.hosts.values()))
        step_ms = self.rng.choice((-1, 1)) * self.rng.choice((50, 150, 400))
        host.wall_offset_ms = max(-400, min(400, host.wall_offset_ms + step_ms))
        self.cluster.note("clock", host.name, host.wall_offset_ms)
