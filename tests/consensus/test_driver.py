"""Replicas on a loop, with real sockets and real files."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from peercron import __version__
from peercron.clock import SystemClock
from peercron.consensus.disk import FolderDisk
from peercron.consensus.driver import Driver
from peercron.consensus.journal import Journal
from peercron.consensus.membership import founding
from peercron.consensus.outbox import Output
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.consensus.transport import Transport
from peercron.errors import DiskFull, NoLeader, TooOld
from peercron.wire.frames import secret_key
from tests.consensus.staged import Timing, Values, voters

HOST = "127.0.0.1"
#: Few enough that one test takes snapshots.
JOURNAL_BYTES_MAX = 20_000


@dataclass
class Above:
    """What a node would be."""

    machine: Values
    moved: asyncio.Event
    mails: list[tuple[str, str, Any]] = field(default_factory=list)
    reason: str | None = None
    breaks: bool = False

    def turning(self) -> None:
        """Nothing to propose."""

    def turned(self, out: Output) -> None:
        self.moved.set()
        if self.breaks:
            raise RuntimeError("a defect above")

    def mail(self, peer: str, kind: str, body: Any) -> None:
        self.mails.append((peer, kind, body))

    def halted(self, reason: str) -> None:
        self.reason = reason
        self.moved.set()

    def connections_changed(self) -> None:
        self.moved.set()

    def frozen(self) -> Iterator[bytes]:
        yield b" ".join(self.machine.values)


class One:
    """One member."""

    def __init__(self, name: str, ports: dict[str, int], folder: Path, moved: asyncio.Event) -> None:
        self.name = name
        self.machine = Values()
        self.above = Above(self.machine, moved)
        self.disk = FolderDisk(folder, durable=False)
        clock = SystemClock()
        others = {peer: (HOST, port) for peer, port in ports.items() if peer != name}
        self.replica = Replica(
            name, Journal(self.disk, founding(voters(*sorted(ports)))), SnapshotStore(self.disk), self.machine,
            Timing(),
            random.Random(name), clock.monotonic(),
        )  # fmt: skip
        self.driver = Driver(self.replica, clock, self.above, 0.05, JOURNAL_BYTES_MAX)
        self.transport = Transport(name, others, "c", secret_key(b"s"), self.driver)
        self.port = ports[name]

    async def start(self) -> None:
        await self.transport.start(HOST, self.port)
        self.driver.start(self.transport)

    def propose(self, payload: bytes) -> None:
        self.replica.propose([(1, payload)])
        self.driver.kick()


class Three:
    def __init__(self, folder: Path) -> None:
        self.folder, self.moved = folder, asyncio.Event()
        self.ports: dict[str, int] = {}
        for name in "abc":
            with socket.socket() as free:
                free.bind((HOST, 0))
                self.ports[name] = free.getsockname()[1]
        self.members = [self.make(name) for name in "abc"]

    def make(self, name: str) -> One:
        return One(name, self.ports, self.folder / name, self.moved)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.moved.clear()
                await self.moved.wait()

    async def leader(self) -> One:
        found: list[One] = []

        def led() -> bool:
            alive = [m for m in self.members if m.driver.halt_reason is None]
            found[:] = [m for m in alive if m.replica.kernel.noop_applied]
            return len(found) == 1 and all(m.replica.kernel.leader == found[0].name for m in alive)

        await self.until(led)
        return found[0]


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    three = Three(tmp_path)
    for member in three.members:
        await member.start()
    yield three
    for member in three.members:
        await member.driver.close()


def soon() -> float:
    return asyncio.get_running_loop().time() + 20


async def test_what_anybody_proposes_is_applied_by_all(three: Three) -> None:
    await three.leader()
    for member in three.members:
        member.propose(member.name.encode())
    await three.until(lambda: all(sorted(m.machine.values) == [b"a", b"b", b"c"] for m in three.members))
    first, *others = three.members
    assert all(m.machine.values == first.machine.values for m in others)


async def test_the_disk_and_the_loop_are_watched(three: Three) -> None:
    leader = await three.leader()
    meters = leader.driver.meters
    before = meters.flush_s.count
    leader.propose(b"x")
    await three.until(lambda: b"x" in leader.machine.values)
    assert meters.flush_s.count > before
    assert meters.flush_s.sum > 0
    assert sum(member.replica.campaigns for member in three.members) >= 1


async def test_a_read_sees_what_was_written_before_it(three: Three) -> None:
    leader = await three.leader()
    for number in range(5):
        leader.propose(b"%d" % number)
        await three.until(lambda number=number: len(leader.machine.values) == number + 1)  # type: ignore[misc]
        for member in three.members:
            await member.driver.read_barrier(soon())
            assert len(member.machine.values) == number + 1


async def test_without_a_majority_there_is_no_read(three: Three) -> None:
    leader = await three.leader()
    for member in three.members:
        if member is not leader:
            await member.driver.close()
    with pytest.raises(NoLeader):
        await leader.driver.read_barrier(asyncio.get_running_loop().time() + 0.3)


async def test_a_leader_that_is_gone_is_replaced_and_comes_back(three: Three) -> None:
    leader = await three.leader()
    leader.propose(b"before")
    await three.until(lambda: all(m.machine.values == [b"before"] for m in three.members))
    await leader.driver.close()
    next_leader = await three.leader()
    assert next_leader is not leader
    next_leader.propose(b"after")
    again = three.make(leader.name)
    three.members[three.members.index(leader)] = again
    await again.start()
    await three.until(lambda: again.machine.values == [b"before", b"after"])


async def test_a_disk_that_fails_stops_the_member_and_nothing_more_is_acknowledged(
    three: Three, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leader = await three.leader()
    said: list[str] = []
    send = leader.transport.send

    def heard(peer: str, message: Any) -> None:
        said.append(message["type"])
        send(peer, message)

    monkeypatch.setattr(leader.transport, "send", heard)

    def full(name: str) -> None:
        said.append("full")
        raise DiskFull("no room left in log: No space left on device (0 of 6 MiB free); make room there")

    monkeypatch.setattr(leader.disk, "sync", full)
    with caplog.at_level(logging.CRITICAL):
        leader.propose(b"lost?")
        await three.until(lambda: leader.above.reason is not None)
    assert leader.above.reason == "no room left in log: No space left on device (0 of 6 MiB free); make room there"
    assert isinstance(leader.driver.halt_error, DiskFull)
    assert leader.driver.disk_is_full.is_set()
    assert [record.exc_info for record in caplog.records if record.message == "consensus_halted"] == [None]
    assert said[said.index("full") :] == ["full"]
    assert leader.machine.values == []
    other = await three.leader()
    assert other is not leader
    with pytest.raises(NoLeader):
        await leader.driver.read_barrier(soon())


async def test_a_member_that_is_too_old_says_so_and_takes_no_snapshot_any_more(
    three: Three, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await three.leader()
    old = three.members[0]

    def apply(index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
        raise TooOld(f"entry {index} holds a riddle")

    monkeypatch.setattr(old.machine, "apply", apply)
    with caplog.at_level(logging.CRITICAL):
        three.members[1].propose(b"x")
        await three.until(lambda: old.above.reason is not None)
    assert old.above.reason is not None
    cure = f"this node runs peercron {__version__}; upgrade it, and it goes on where it stopped"
    assert old.above.reason.endswith(f" holds a riddle; {cure}")
    assert [record.exc_info for record in caplog.records if record.message == "consensus_halted"] == [None]
    with pytest.raises(NoLeader, match="holds a riddle"):
        old.driver.take_snapshot()
    await three.until(lambda: all(m.machine.values == [b"x"] for m in three.members[1:]))


async def test_a_defect_above_does_not_stop_the_turns(three: Three, caplog: pytest.LogCaptureFixture) -> None:
    leader = await three.leader()
    with caplog.at_level(logging.ERROR):
        leader.above.breaks = True
        leader.propose(b"x")
        await three.until(lambda: all(m.machine.values == [b"x"] for m in three.members))
        before = leader.driver.turns
        await three.until(lambda: leader.driver.turns > before + 3)
        leader.above.breaks = False
    assert leader.driver.halt_reason is None
    assert "turn_not_told" in caplog.text


async def test_a_snapshot_is_taken_beside_everything_and_the_journal_shrinks(
    three: Three,
) -> None:
    leader = await three.leader()
    for number in range(60):
        leader.propose(b"%d-" % number + b"x" * 1_000)
        await three.until(lambda number=number: len(leader.machine.values) == number + 1)  # type: ignore[misc]
    await three.until(lambda: all(m.replica.snapshot_index > 1 for m in three.members))
    assert len([n for n in leader.disk.names() if n.startswith("wal-")]) <= 2
    values = leader.machine.values
    await leader.driver.close()
    again = three.make(leader.name)
    three.members[three.members.index(leader)] = again
    await again.start()
    await three.until(lambda: again.machine.values == values)


async def test_mail_reaches_the_node_above_the_other(three: Three) -> None:
    await three.leader()
    a, b, _ = three.members
    a.replica.mail("b", "greeting", (1, "x"))
    a.driver.kick()
    await three.until(lambda: b.above.mails != [])
    assert b.above.mails == [("a", "greeting", (1, "x"))]
