"""A snapshot is written beside everything else: in pieces, in a thread, and to its end or not at all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from peercron.clock import ManualClock
from peercron.consensus import scribe
from peercron.consensus.scribe import BEHIND_MAX, SLICE_BYTES, SLICE_S, SNAPSHOT_PER_JOURNAL, Scribe
from peercron.consensus.snapshots import SYNC_BYTES, SnapshotStore, split_header
from peercron.meters import Meters
from tests.consensus.staged import Stage
from tests.sim.disk import SimDisk

BLOCK = b"x" * (SLICE_BYTES // 4)


class Scene:
    """A member that is alone, with something in its log, and blocks to be written."""

    def __init__(self, blocks: int = 12) -> None:
        self.stage = Stage()
        self.stage.lead()
        self.commit(b"a")
        self.clock = ManualClock()
        self.count = blocks
        #: How often the loop had turned when each block was asked for.
        self.asked: list[int] = []
        self.turned = 0
        self.block_s = 0.0
        self.meters = Meters()
        self.scribe = Scribe(self.stage.replica, self.clock, self.frozen, journal_bytes_max=0, meters=self.meters)

    def commit(self, payload: bytes) -> None:
        self.stage.replica.propose_here([(1, payload)])
        while self.stage.turn().more:
            pass

    def frozen(self) -> Iterator[bytes]:
        for _ in range(self.count):
            self.asked.append(self.turned)
            self.clock.advance(self.block_s)
            yield BLOCK

    async def write(self) -> None:
        task = self.scribe.begin()
        while not task.done():
            self.turned += 1
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # its end is told
        await task

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.stage.disk)


def pieces(scene: Scene) -> list[int]:
    """How many blocks were made in one go, each time."""
    return [scene.asked.count(turn) for turn in sorted(set(scene.asked))]


async def test_what_is_written_is_what_was_frozen() -> None:
    scene = Scene()
    await scene.write()
    (info,) = scene.store.all()
    scene.store.verify(info)
    assert b"".join(split_header(scene.store.contents(info))[1]) == BLOCK * 12
    assert scene.stage.replica.snapshot_index == info.index
    assert (dict(scene.meters.snapshots), scene.meters.snapshot_bytes) == ({"written": 1}, info.size)
    assert not [name for name in scene.stage.disk.names() if name.endswith(".new")]


async def test_others_have_the_loop_after_so_many_bytes() -> None:
    scene = Scene(blocks=13)
    await scene.write()
    assert pieces(scene) == [4, 4, 4, 1]


async def test_others_have_the_loop_after_so_long() -> None:
    scene = Scene(blocks=4)
    scene.block_s = 1.01 * SLICE_S
    await scene.write()
    assert pieces(scene) == [1, 1, 1, 1]


async def test_little_is_ever_written_and_not_yet_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the journal's sync, and the loop with it, would wait for hundreds of megabytes in the end."""
    scene, unsynced = Scene(blocks=3 * SYNC_BYTES // len(BLOCK)), [0]
    append, sync = SimDisk.append, SimDisk.sync

    def appended(disk: SimDisk, name: str, data: bytes) -> None:
        append(disk, name, data)
        unsynced.append(unsynced[-1] + len(data))

    def synced(disk: SimDisk, name: str) -> None:
        sync(disk, name)
        unsynced.append(0)

    monkeypatch.setattr(SimDisk, "append", appended)
    monkeypatch.setattr(SimDisk, "sync", synced)
    await scene.write()
    assert max(unsynced) < SYNC_BYTES + SLICE_BYTES
    assert unsynced[-1] == 0


async def test_a_disk_without_room_gets_back_what_was_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene, append = Scene(), SimDisk.append

    def full(disk: SimDisk, name: str, data: bytes) -> None:
        if disk.files.get(name, b"").endswith(BLOCK):
            raise OSError(28, "No space left on device")
        append(disk, name, data)

    with caplog.at_level(logging.ERROR), monkeypatch.context() as patched:
        patched.setattr(SimDisk, "append", full)
        with pytest.raises(OSError, match="No space"):
            await scene.write()
        await asyncio.sleep(0)
    assert "snapshot_failed" in caplog.text
    assert (scene.store.all(), scene.scribe.is_due, scene.meters.snapshots["failed"]) == ([], True, 1)
    await scene.write()
    assert len(scene.store.all()) == 1


async def test_whoever_leaves_waits_for_what_is_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that writes on would write into whatever has the number of its file by then."""
    scene, begun, go_on, ended = Scene(), threading.Event(), threading.Event(), []
    append = SimDisk.append

    def slow(disk: SimDisk, name: str, data: bytes) -> None:
        if data.startswith(BLOCK):
            begun.set()
            assert go_on.wait(30)
        append(disk, name, data)
        ended.append(name)

    monkeypatch.setattr(SimDisk, "append", slow)
    scene.scribe.begin()
    await asyncio.to_thread(begun.wait, 30)
    closing = asyncio.create_task(scene.scribe.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    before = len(ended)
    go_on.set()
    await closing
    assert len(ended) == before + 1
    assert scene.store.all() == []


async def test_a_large_state_is_written_less_often() -> None:
    scene = Scene(blocks=12)
    assert scene.scribe.is_due
    await scene.write()
    scene.commit(b"c")
    assert 0 < scene.stage.replica.journal.bytes < 12 * len(BLOCK) // SNAPSHOT_PER_JOURNAL
    assert not scene.scribe.is_due
    scene.commit(b"x" * (12 * len(BLOCK) // SNAPSHOT_PER_JOURNAL + 1))
    assert scene.scribe.is_due
    # Also after a restart, which finds it on the disk.
    assert Scribe(scene.stage.replica, scene.clock, scene.frozen, journal_bytes_max=0)._size > 12 * len(BLOCK)


@pytest.mark.parametrize(
    ("behind", "journal_bytes", "is_due"),
    [(0, 1_001, True), (BEHIND_MAX, 1_001, True), (BEHIND_MAX + 1, 3_999, False), (BEHIND_MAX + 1, 4_001, True)],
)
async def test_who_was_away_first_applies_what_it_missed(behind: int, journal_bytes: int, is_due: bool) -> None:
    assert idle(journal_bytes, behind).is_due is is_due


@pytest.mark.parametrize(
    ("leads", "followers", "journal_bytes", "is_due"),
    [(True, ["b"], 1_500, False), (True, ["b"], 1_501, True), (True, [], 1_001, True), (False, ["b"], 1_001, True)],
)
async def test_who_leads_lets_the_others_write_first(
    leads: bool, followers: list[str], journal_bytes: int, is_due: bool
) -> None:
    assert idle(journal_bytes, leads=leads, followers=followers).is_due is is_due


def idle(journal_bytes: int, behind: int = 0, leads: bool = False, followers: Sequence[str] = ()) -> Scribe:
    """One that has nothing to do yet, with 1,000 bytes as its measure."""
    replica: Any = SimpleNamespace(
        kernel=SimpleNamespace(applied=100, commit=100 + behind, is_leader=leads, followers=followers),
        journal=SimpleNamespace(bytes=journal_bytes),
        store=SimpleNamespace(all=list),
        snapshot_index=1,
        snapshot_wanted=False,
    )
    return Scribe(replica, ManualClock(), lambda: iter(()), journal_bytes_max=1_000)


def test_a_slice_is_short_beside_a_heartbeat() -> None:
    assert scribe.SLICE_S <= 0.050 / 10
