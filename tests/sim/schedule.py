"""Fault schedules: which faults, how often, and what must be true when they are over.

Letters: p partition, a one-way partition, k kill, d crash inside a disk operation, c compaction, f full disk,
l loss of power (with k and d: what was not synced is gone), t leadership transfer, s a process that stands still for a
while (SIGSTOP), w slow disks, x a journal that lost some of its end though it was synced (one at a time), m members
that come and go, and change their role; who was removed goes on as a ghost that knows of nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from peercron.consensus.segment import HEADER
from peercron.core.member import Role, Seat
from tests.sim.disk import Crash
from tests.sim.world import Member, World

#: All faults that there are.
EVERYTHING = "pakdcflstwxm"
MEMBERS_MAX = 7


@dataclass
class Result:
    seed: int
    faults: str
    acknowledged: int = 0
    reads: int = 0
    violations: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    converged: bool = False
    #: Members that get no answer to a read though all is well again.
    deaf: list[str] = field(default_factory=list)
    trace: str = ""

    @property
    def safe(self) -> bool:
        return not self.violations and not self.lost and not self.doubled

    @property
    def sound(self) -> bool:
        return self.safe and self.converged and not self.deaf


def run(seed: int, faults: str, members: int = 3, seconds: float = 20.0, **kinds: Any) -> Result:
    """One seed's history of `seconds` of faults, then healing, then the verdict."""
    compact = (15, 40)[seed % 2] if "c" in faults else 0
    world = World(seed, members, compact_every=compact, power_loss="l" in faults, **kinds)
    world.run_until(lambda: world.leader() is not None, 20)
    end, next_fault = world.now_s + seconds, world.now_s + 1
    while world.now_s < end:
        world.run(world.rng.uniform(0.01, 0.1))
        _load(world)
        if world.now_s > next_fault:
            next_fault = world.now_s + world.rng.uniform(0.2, 2.0)
            _strike(world, world.rng.choice([f for f in faults if f not in "cl"]))
    _mend(world)
    world.run(2)
    world.propose(world.leader() or next(iter(world.members.values())))
    converged = world.run_until(world.converged, 40)
    answers = {member.name: world.read(member) for member in world.belonging()}
    world.run_until(lambda: all(answered() for answered in answers.values()), 2)
    deaf = [name for name, answered in answers.items() if not answered()]
    return _judge(world, seed, faults, converged=converged, deaf=deaf)


def _load(world: World) -> None:
    up = [m for m in world.members.values() if m.up]
    if not up:
        return
    member = world.rng.choice(up)
    for _ in range(world.rng.choice([1, 1, 3, 12])):
        world.propose(member)
    world.read(world.rng.choice(up))


def _strike(world: World, fault: str) -> None:
    names = list(world.members)
    up = [m for m in world.members.values() if m.up]
    if fault in "pa" and world.cut and world.rng.random() < 0.6:
        world.heal()
    elif fault == "p":
        leader = world.leader()
        alone = leader.name if leader and world.rng.random() < 0.6 else world.rng.choice(names)
        for other in names:
            if other != alone:
                world.block(alone, other)
                world.block(other, alone)
        for place in range(world.rng.choice([0, 0, 15])):
            # What a leader takes on while nobody hears it.
            world.at(world.now_s + place * 0.01, lambda: world.propose(world.members[alone]))
    elif fault == "a":
        a, b = world.rng.sample(names, 2)
        world.block(a, b)
    elif fault == "k" and up:
        count = world.rng.choice([1, 1, min(2, len(up)), len(up)])
        for member in world.rng.sample(up, count):
            member.kill(power=world.power_loss)
            _restart_later(world, member)
    elif fault == "d" and up:
        _crash_in_disk(world, world.rng.choice(up))
    elif fault == "f" and up:
        member = world.rng.choice(up)
        member.disk.full = True
        _restart_later(world, member)
    elif fault == "t" and world.leader():
        leader = world.leader()
        assert leader is not None
        leader.guarded(lambda replica: replica.hand_over(None, world.now_s + 0.3))
        leader.turn_soon()
    elif fault == "m" and world.leader():
        _change_members(world)
    else:
        _slow_down(world, fault, up)


def _slow_down(world: World, fault: str, up: list[Member]) -> None:
    names = list(world.members)
    if fault == "s" and up:
        world.rng.choice(up).pause(world.rng.choice([0.05, 0.3, 1.0, 3.0]))
    elif fault == "w":
        slow_s = world.rng.choice([0, 0.003, 0.05])
        for name in names if world.rng.random() < 0.5 else [world.rng.choice(names)]:
            world.members[name].slow_s = slow_s
    elif fault == "x" and up:
        _cut_journal(world, world.rng.choice(up))


def _change_members(world: World) -> None:
    leader, dice = world.leader(), world.rng
    assert leader is not None
    assert leader.replica is not None
    seats = leader.replica.configuration.seats
    others = [seat for seat in seats if seat.id != leader.name]
    act = dice.choice(["add", "add", "remove", "remove", "two", "role"])
    if act == "add" and len(seats) < MEMBERS_MAX:
        newcomer = world.join().name
        becomes = dice.choice([Role.VOTER, Role.VOTER, Role.WITNESS])
        seats = (*seats, Seat(newcomer, newcomer, newcomer, Role.LEARNER, becomes))
    elif act == "remove" and others:
        gone = dice.choice(others)
        seats = tuple(seat for seat in seats if seat != gone)
    elif act == "two" and len(others) > 1:
        gone_at_once = dice.sample(others, 2)
        seats = tuple(seat for seat in seats if seat not in gone_at_once)  # to be refused
    elif act == "role" and others:
        seat = dice.choice(seats)
        other = Role.VOTER if seat.role is Role.WITNESS else Role.WITNESS
        seats = tuple(replace(s, role=other) if s == seat and s.role is not Role.LEARNER else s for s in seats)
    for wait_s in (0, 0.3, 1.0):
        # A newcomer is asked in until it is, by whoever leads then; a change that comes too late is refused.
        world.at(world.now_s + wait_s, lambda: leader.guarded(lambda replica: replica.change(seats)))
    leader.turn_soon()


def _cut_journal(world: World, member: Member) -> None:
    """The end of its last frames is gone. Raft bears that on one member at a time, and none where no tail shows it."""
    forgetful = [m for m in world.members.values() if m.forgetful and not (m.replica and not m.replica.journal.doubt)]
    if forgetful:
        return
    member.kill(power=world.power_loss)
    name = max(n for n in member.disk.names() if n.endswith(".log"))
    content, frames = member.disk.files[name], [0]
    while frames[-1] + HEADER.size <= len(content):
        _, length, _ = HEADER.unpack_from(content, frames[-1])
        frames.append(frames[-1] + HEADER.size + length)
    place = world.rng.randint(max(1, len(frames) - 5), len(frames) - 1)
    if frames[place] + 1 < len(content):
        del content[frames[place] + world.rng.randint(1, HEADER.size) :]
        member.forgetful = True
    _restart_later(world, member)


def _crash_in_disk(world: World, member: Member) -> None:
    left = world.rng.randint(1, 12)

    def before(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    member.disk.before = before
    _restart_later(world, member)


def _restart_later(world: World, member: Member) -> None:
    def restart() -> None:
        if not member.up:
            member.start()

    for delay in (world.rng.choice([world.rng.uniform(0.001, 0.03), world.rng.uniform(0.05, 2.5)]), 4.0):
        world.at(world.now_s + delay, restart)


def _mend(world: World) -> None:
    world.heal()
    for member in world.members.values():
        member.disk.before = lambda _: None
        member.disk.full = False
        member.slow_s = 0.0
        if not member.up:
            member.start()


def _judge(world: World, seed: int, faults: str, *, converged: bool, deaf: list[str]) -> Result:
    longest = max((m.machine.values for m in world.members.values()), key=len)
    present = Counter(longest)
    return Result(
        seed,
        faults,
        acknowledged=len(world.acknowledged),
        reads=world.reads,
        violations=world.violations,
        lost=len(world.acknowledged - set(longest)),
        doubled=sum(1 for count in present.values() if count > 1),
        converged=converged,
        deaf=deaf,
        trace=world.trace,
    )
