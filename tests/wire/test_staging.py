"""What the parts of a restore hold is read as they come, once, and told when it is asked for."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Sequence

import msgpack
import pytest

from peercron.core.apply import apply
from peercron.core.commands import AbandonRestore, BeginRestore, Command, PutKey, StageSnapshot
from peercron.core.level import LEVEL
from peercron.core.state import ClusterState
from peercron.core.verdict import Done
from peercron.errors import SnapshotDamaged, SnapshotTooNew
from peercron.wire import staging
from peercron.wire.archive import ArchiveReader
from peercron.wire.snapshot import Thawing
from peercron.wire.staging import Staging, trial
from tests.wire.test_archive import file_of
from tests.wire.test_snapshot import some_state


def large_state() -> ClusterState:
    """Some jobs and runs, and values that fill a handful of parts."""
    dice, state = random.Random(5), some_state(11, 300)
    for n in range(8):
        apply(state, PutKey("large", f"k{n}", dice.randbytes(90_000)), state.now_ms)
    return state


def parts_of(state: ClusterState) -> tuple[bytes, ...]:
    return tuple(ArchiveReader().feed(file_of(state)))


def digest_of(parts: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def newer() -> tuple[bytes, ...]:
    """A snapshot with a table that this version does not know."""
    blocks = [msgpack.packb(("peercron", 1)), msgpack.packb(("moods", ()))]
    return (zlib.compress(b"".join(struct.pack(">I", len(block)) + block for block in blocks)),)


def do(state: ClusterState, command: Command) -> None:
    verdict = apply(state, command, state.now_ms)
    assert isinstance(verdict, Done), verdict


def begin(state: ClusterState, parts: Sequence[bytes], restore_id: str = "r") -> None:
    do(state, BeginRestore(restore_id, len(parts), sum(map(len, parts))))


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every part that is read."""
    read: list[int] = []
    feed = Thawing.feed

    def counted(self: Thawing, chunk: bytes) -> None:
        read.append(len(chunk))
        feed(self, chunk)

    monkeypatch.setattr(Thawing, "feed", counted)
    return read


def test_parts_are_read_as_they_come_and_not_when_they_are_adopted(fed: list[int]) -> None:
    """Adopting must not keep every member's loop for as long as reading everything takes."""
    old = large_state()
    parts, state, reader = parts_of(old), ClusterState(), Staging()
    assert len(parts) > 5
    begin(state, parts)
    for number, part in enumerate(parts):
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
        assert len(fed) == number + 1
    whole = reader.take(state)
    assert len(fed) == len(parts)
    assert repr(whole) == repr(old)


def test_a_member_that_came_late_catches_up_a_little_at_a_time(fed: list[int]) -> None:
    parts, state, reader = parts_of(large_state()), ClusterState(), Staging()
    begin(state, parts)
    for number, part in enumerate(parts):
        do(state, StageSnapshot("r", number, part))
    reader.read_on(state)
    assert len(fed) == staging.PARTS_PER_LOOK
    reader.read_on(state)
    assert len(fed) == 2 * staging.PARTS_PER_LOOK
    assert reader.take(state) is not None
    assert len(fed) == len(parts)


def test_parts_that_come_in_another_order_are_read_in_theirs() -> None:
    old = large_state()
    parts, state, reader = parts_of(old), ClusterState(), Staging()
    begin(state, parts)
    for number, part in reversed(list(enumerate(parts))):
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
    assert reader.take(state) == old


def test_what_was_taken_is_read_anew() -> None:
    """Whoever took it may have changed it: it is not given out twice."""
    old = large_state()
    parts, state, reader = parts_of(old), ClusterState(), Staging()
    begin(state, parts)
    for number, part in enumerate(parts):
        do(state, StageSnapshot("r", number, part))
    first, second = reader.take(state), reader.take(state)
    assert first is not second
    assert first == second == old


def test_nothing_of_a_restore_that_was_given_up_is_left() -> None:
    first, old = parts_of(large_state()), some_state(12, 200)
    parts, state, reader = parts_of(old), ClusterState(), Staging()
    begin(state, first)
    for number, part in enumerate(first[:4]):
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
    do(state, AbandonRestore("r"))
    assert reader.take(state) is None
    begin(state, parts)  # the same name again
    for number, part in enumerate(parts):
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
    assert reader.take(state) == old


def test_a_part_is_missing() -> None:
    parts, state, reader = parts_of(large_state()), ClusterState(), Staging()
    begin(state, parts)
    for number, part in list(enumerate(parts))[1:]:
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
    assert reader.take(state) is None
    do(state, StageSnapshot("r", 0, parts[0]))
    assert reader.take(state) is not None


@pytest.mark.parametrize(
    "parts",
    [
        (b"no chunk",),
        parts_of(large_state())[:1],
        (zlib.compress(b"\x00\x00\x00\x01\x00"),),
        (zlib.compress(b"\x00\x00\x00\x02\x91\x01"),),
        (*parts_of(ClusterState()), zlib.compress(b"\x00\x00\x00\x02\x91\x01")),
        (zlib.compress(b""),),
    ],
    ids=["no chunk", "half a snapshot", "a number", "another format", "a nameless table", "nothing"],
)
def test_parts_that_hold_no_snapshot(parts: tuple[bytes, ...]) -> None:
    """As members: nothing, the same for all; as whoever takes the file in: an error that says so."""
    state, reader = ClusterState(), Staging()
    begin(state, parts)
    for number, part in enumerate(parts):
        do(state, StageSnapshot("r", number, part))
        reader.read_on(state)
    tried = trial()
    for part in parts:
        tried.feed(part)
    with pytest.raises((SnapshotDamaged, SnapshotTooNew)) as told:
        tried.finish()
    if told.type is SnapshotDamaged:
        assert reader.take(state) is None
    else:
        with pytest.raises(SnapshotTooNew):
            reader.take(state)


def test_what_only_a_newer_version_reads_is_said_when_it_matters() -> None:
    """Not while the parts come: the restore may be given up, and this member go on."""
    state, reader, parts = ClusterState(), Staging(), newer()
    begin(state, parts)
    do(state, StageSnapshot("r", 0, parts[0]))
    reader.read_on(state)
    with pytest.raises(SnapshotTooNew, match="moods"):
        reader.take(state)


def test_a_trial_keeps_nothing() -> None:
    tried = trial()
    for part in parts_of(large_state()):
        tried.feed(part)
    assert tried.finish() == ClusterState(level=LEVEL)
