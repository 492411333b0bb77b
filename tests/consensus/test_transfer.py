"""Snapshots on their way: what breaks off goes on, what arrives is what was sent, or is not believed."""

from __future__ import annotations

import random

import pytest

from peercron.consensus.messages import SNAPSHOT_CHUNK_BYTES, Message
from peercron.consensus.snapshots import DIGEST_BYTES, SnapshotDamaged, SnapshotInfo, SnapshotStore, SnapshotWriter
from peercron.consensus.transfer import CHUNKS_AHEAD, STALL_S, Transfer
from tests.sim.disk import Crash, SimDisk

CONTENT = random.Random(0).randbytes(7 * SNAPSHOT_CHUNK_BYTES + 1234)


def new_store() -> tuple[SimDisk, SnapshotStore]:
    disk = SimDisk(random.Random(0))
    return disk, SnapshotStore(disk)


def put(store: SnapshotStore, index: int, content: bytes = CONTENT, term: int = 3) -> SnapshotInfo:
    writer = store.writer(index, term)
    for at in range(0, len(content), 1 << 20):
        writer.write(content[at : at + (1 << 20)])
    writer.seal()
    writer.sync()
    return writer.publish()


def whole(store: SnapshotStore, info: SnapshotInfo) -> bytes:
    return b"".join(store.contents(info))


# The store.


def test_a_snapshot_is_there_only_when_it_is_published() -> None:
    disk, store = new_store()
    writer = store.writer(9, 2)
    writer.write(b"half")
    assert store.all() == []
    assert SnapshotStore(disk).all() == []
    assert disk.names() == []  # what a dead process left is cleared away


def test_what_is_published_outlives_a_loss_of_power() -> None:
    disk, store = new_store()
    info = put(store, 9)
    disk.lose_power()
    again = SnapshotStore(disk)
    assert again.all() == [info]
    again.verify(info)
    assert whole(again, info) == CONTENT


def test_a_death_at_any_moment_leaves_the_older_one_whole() -> None:
    for deadly in range(1, 20):
        disk, store = new_store()
        old = put(store, 5, b"old")
        left = deadly

        def before(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash

        disk.before = before
        died = True
        try:
            put(store, 9, b"new" * 100)
            died = False
        except Crash:
            pass
        disk.before = lambda _: None
        disk.lose_power()
        after = SnapshotStore(disk)
        assert after.all()[-1] == old
        for info in after.all():
            after.verify(info)
    assert not died


def test_two_generations_are_kept() -> None:
    _, store = new_store()
    for index in (5, 9, 30, 12):
        put(store, index, b"x")
    store.prune()
    assert [info.index for info in store.all()] == [30, 12]


@pytest.mark.parametrize("size", [0, 1, DIGEST_BYTES - 1])
def test_a_file_too_short_for_its_digest_is_damaged(size: int) -> None:
    disk, store = new_store()
    name = put(store, 5, b"x").name
    del disk.files[name][size:]
    with pytest.raises(SnapshotDamaged):
        store.verify(store.all()[0])


# The way.


class Way:
    """A leader's end, a follower's end, and what lies between."""

    def __init__(self) -> None:
        self.leader_disk, self.leader_store = new_store()
        self.follower_disk, self.follower_store = new_store()
        self.leader, self.follower = Transfer(self.leader_store), Transfer(self.follower_store)
        self.now_s = 100.0
        self.requests: list[Message] = []
        self.arrived: SnapshotWriter | None = None
        self.chunks = 0

    def offer(self) -> None:
        offer = self.leader.offer(4)
        assert offer is not None
        self.requests += self.follower.offered(offer, self.now_s)

    def carry(self, chunks: int = 1_000, spoil: dict[str, object] | None = None) -> None:
        """Some chunks pass."""
        while self.requests and chunks and self.arrived is None:
            chunk = self.leader.serve(self.requests.pop(0))
            if chunk is None:
                continue
            self.chunks += 1
            chunks -= 1
            self.arrived, more = self.follower.arrived({**chunk, **(spoil or {})}, self.now_s)
            self.requests += more

    def received(self) -> bytes:
        assert self.arrived is not None
        self.arrived.seal()
        self.arrived.sync()
        info = self.arrived.publish()
        self.follower_store.verify(info)
        return whole(self.follower_store, info)


def test_a_snapshot_arrives_as_it_was() -> None:
    way = Way()
    info = put(way.leader_store, 50)
    way.offer()
    assert len(way.requests) == CHUNKS_AHEAD
    way.carry()
    assert way.arrived is not None
    assert (way.arrived.index, way.arrived.term) == (50, 3)
    assert way.arrived.matches(info)
    assert way.received() == CONTENT
    assert way.chunks == 8


def test_without_a_snapshot_nothing_is_offered() -> None:
    assert Way().leader.offer(1) is None


def test_a_broken_way_is_taken_up_where_it_ended() -> None:
    way = Way()
    put(way.leader_store, 50)
    way.offer()
    way.carry(3)
    way.requests.clear()  # the connection broke, and with it what was asked
    way.offer()
    assert way.requests == []  # not yet: it may only be slow
    way.now_s += STALL_S + 0.1
    way.offer()
    assert way.requests[0]["offset"] == 3 * SNAPSHOT_CHUNK_BYTES
    way.carry()
    assert way.received() == CONTENT
    assert way.chunks == 8


def test_chunks_that_come_twice_or_too_early_are_passed_over() -> None:
    way = Way()
    put(way.leader_store, 50)
    way.offer()
    first, second = (way.leader.serve(request) for request in way.requests[:2])
    assert first is not None
    assert second is not None
    assert way.follower.arrived(second, way.now_s) == (None, [])
    _, more = way.follower.arrived(first, way.now_s)
    assert more
    assert way.follower.arrived(first, way.now_s) == (None, [])
    way.requests = [*way.requests[1:], *more]
    way.carry()
    assert way.received() == CONTENT


def test_a_chunk_that_was_damaged_is_found_by_the_digest_and_the_whole_is_asked_anew() -> None:
    way = Way()
    put(way.leader_store, 50)
    way.offer()
    way.carry(1)
    way.carry(1, {"data": bytes(SNAPSHOT_CHUNK_BYTES)})
    way.carry()
    assert way.arrived is None
    assert way.follower_disk.names() == []
    way.offer()
    way.carry()
    assert way.received() == CONTENT


def test_a_wrong_digest_is_not_believed() -> None:
    way = Way()
    info = put(way.leader_store, 50)
    name = info.name
    way.leader_disk.files[name][-1] ^= 1
    way.offer()
    way.carry()
    assert way.arrived is None
    assert way.follower_store.all() == []


def test_a_generation_that_is_gone_is_not_served_and_the_next_one_is_taken() -> None:
    way = Way()
    put(way.leader_store, 50)
    way.offer()
    way.carry(2)
    for index in (60, 70):
        put(way.leader_store, index, b"newer" * 100)
    way.leader_store.prune()
    way.carry()
    assert way.arrived is None
    way.offer()
    way.carry()
    assert way.received() == b"newer" * 100
    assert [info.index for info in way.follower_store.all()] == [70]
    assert [name for name in way.follower_disk.names() if name.endswith(".new")] == []


@pytest.mark.parametrize("offset", [-1, -SNAPSHOT_CHUNK_BYTES, len(CONTENT) + DIGEST_BYTES, 1 << 60])
def test_nonsense_is_not_served(offset: int) -> None:
    way = Way()
    put(way.leader_store, 50)
    assert way.leader.serve({"index": 50, "last_term": 3, "offset": offset}) is None


@pytest.mark.parametrize("past", [0, 1, DIGEST_BYTES - 1])
def test_nothing_is_served_beyond_the_content(past: int) -> None:
    way = Way()
    put(way.leader_store, 50)
    chunk = way.leader.serve({"index": 50, "last_term": 3, "offset": len(CONTENT) + past})
    assert chunk is None or chunk["data"] == b""


def test_a_chunk_of_another_snapshot_is_passed_over() -> None:
    way = Way()
    put(way.leader_store, 50)
    way.offer()
    chunk = way.leader.serve(way.requests[0])
    assert chunk is not None
    assert way.follower.arrived({**chunk, "index": 51}, way.now_s) == (None, [])
    assert way.follower.arrived({**chunk, "last_term": 2}, way.now_s) == (None, [])
