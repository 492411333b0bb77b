from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron import __version__
from peercron.consensus.snapshots import SnapshotDamaged, SnapshotStore
from peercron.core import views
from peercron.core.apply import apply
from peercron.core.commands import AttemptFinished, Fire, OpenSession, PutJob, RunJob
from peercron.core.job import Overlap
from peercron.core.level import level_of
from peercron.core.member import Role
from peercron.core.run import AttemptState
from peercron.core.since import SINCE
from peercron.core.state import ClusterState
from peercron.core.verdict import Done
from peercron.errors import TooOld
from peercron.wire import snapshot
from peercron.wire.snapshot import SnapshotUnreadable, blocks, freeze, thaw
from tests.core.chance import some_command
from tests.sim.disk import SimDisk
from tests.wire.rows import CALL, COMMANDS, DEFINITION, INFO

GOLDEN = Path(__file__).parent / "golden" / "snapshot.hex"


def some_state(seed: int, commands: int) -> ClusterState:
    dice, state = random.Random(seed), ClusterState()
    for step in range(commands):
        apply(state, some_command(dice, state), 1_000_000 + step * 100)
    return state


def golden_state() -> ClusterState:
    state = ClusterState()
    _work(state)
    for step, command in enumerate(command for command in COMMANDS if level_of(command) == 1):
        apply(state, command, 1_700_000_002_000 + step)
    state.results["h:7400"] = {41: Done(3, "x")}
    state.floors["h:7400"] = 41
    return state


def _work(state: ClusterState) -> None:
    """A run that lives, one that waits for it, and a manual one and one of a slot that have ended."""
    then_ms = 1_700_000_001_000
    apply(state, OpenSession(replace(INFO, id="w:7400", name="w", role=Role.VOTER), 1), then_ms)
    apply(state, PutJob(replace(DEFINITION, nodes=(), overlap=Overlap.QUEUE_ALL), paused=True), then_ms)
    apply(state, PutJob(CALL), then_ms)
    job = state.jobs[state.job_uids["default/call"]]
    apply(state, RunJob(job.key), then_ms + 1)
    apply(state, finished(state), then_ms + 2)
    after_ms = state.cursors[job.uid].after_ms
    apply(state, Fire(job.uid, job.revision, after_ms, (after_ms + 1, after_ms + 3), after_ms + 3, -1), then_ms + 3)
    apply(state, finished(state), then_ms + 4)
    apply(state, RunJob("ops/nightly"), then_ms + 5)
    apply(state, RunJob("ops/nightly"), then_ms + 6)


def finished(state: ClusterState) -> AttemptFinished:
    (run,) = state.runs.values()
    token = run.attempts[0].token
    return AttemptFinished(run.id, token, AttemptState.FAILED, 1_700_000_001_002, 3, 'why "so"', "ä\n\0")


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 400), st.integers(1, 5_000))
def test_any_state_comes_back(seed: int, commands: int, piece: int) -> None:
    state = some_state(seed, commands)
    whole = b"".join(blocks(freeze(state)))
    back = thaw(whole[at : at + piece] for at in range(0, len(whole), piece))
    assert back == state
    # The order of tables is part of the state: who goes on from the snapshot must do as the others do.
    assert repr(back) == repr(state)


def test_a_restored_member_goes_on_as_the_others() -> None:
    state = some_state(3, 300)
    back = thaw(blocks(freeze(state)))
    dice = random.Random(9)
    for step in range(200):
        command = some_command(dice, state)
        now_ms = 2_000_000 + step * 100
        assert apply(back, command, now_ms) == apply(state, command, now_ms)
    assert repr(back) == repr(state)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9))
def test_what_is_frozen_stays_as_it_was_whatever_is_done_between_two_slices(seed: int, rows: int, pace: int) -> None:
    state = some_state(seed, 200)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshot, "BLOCK_ROWS", rows)
        slices, before = blocks(freeze(state)), b"".join(blocks(freeze(state)))
        dice, taken = random.Random(seed), []
        for step, block in enumerate(slices):
            taken.append(block)
            for n in range(pace):
                apply(state, some_command(dice, state), 3_000_000 + 1_000 * step + n)
        assert b"".join(taken) == before
        assert b"".join(blocks(freeze(state))) != before


def test_many_rows_are_cut_into_blocks() -> None:
    state = ClusterState()
    state.floors = {f"m{i}": i for i in range(2 * snapshot.BLOCK_ROWS + 1)}
    sizes = [len(rest[-1]) for name, *rest in map(unpack, blocks(freeze(state))) if name == "floors"]
    assert sizes == [snapshot.BLOCK_ROWS, snapshot.BLOCK_ROWS, 1]


def unpack(block: bytes) -> tuple[object, ...]:
    return tuple(msgpack.unpackb(block[4:], use_list=False, strict_map_key=False))


def test_the_format_is_the_golden_one() -> None:
    """These bytes are on the disks of running clusters; they change only with FORMAT and a way to read both."""
    state = golden_state()
    assert all((state.runs, state.live_runs, state.ended_runs, state.ledger, state.live_attempts, state.recent_runs))
    assert snapshot.FORMAT == 1
    assert b"".join(blocks(freeze(golden_state()))).hex() == GOLDEN.read_text().strip()
    assert thaw([bytes.fromhex(GOLDEN.read_text().strip())]) == golden_state()


def block(*content: object) -> bytes:
    payload = msgpack.packb(content)
    return struct.pack(">I", len(payload)) + payload


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "format None"),
        ([block("peercron", 0)], "format"),
        ([block("peercron")], "format"),
        ([block("index", 5)], "format"),
        ([block("peercron", 1), block("index", 5)[:-1]], "middle of a block"),
    ],
)
def test_what_is_no_snapshot_is_refused(chunks: list[bytes], said: str) -> None:
    with pytest.raises(SnapshotUnreadable, match=said):
        thaw(chunks)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([block("peercron", 2, "and what else it may hold")], "format 2, this version reads 1"),
        ([block("peercron", 1), block("dreams", ())], "a table 'dreams'"),
        ([block("peercron", 1), block("floors", (("a", 1),)), block("members", (("a", tuple(range(99))),))], "Member"),
    ],
)
def test_what_a_newer_version_wrote_says_so(chunks: list[bytes], said: str) -> None:
    with pytest.raises(TooOld, match=f"{said}.*this node runs peercron {__version__}; upgrade it"):
        thaw(chunks)


def test_a_number_of_a_later_level_is_written_only_when_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINCE, (ClusterState, "key_count"), 2)
    views._unsaid.cache_clear()
    state = some_state(3, 50)
    for count in (0, 7):
        state.key_count = count
        names = [unpack(data)[0] for data in blocks(freeze(state))]
        assert ("key_count" in names) == ("key_count" in {row[0] for row in views.digest_rows(state)}) == (count == 7)
        assert thaw(blocks(freeze(state))) == state
    views._unsaid.cache_clear()


def stored(state: ClusterState) -> tuple[SimDisk, SnapshotStore]:
    disk = SimDisk(random.Random(0))
    store = SnapshotStore(disk)
    writer = store.writer(10, 2)
    for data in blocks(freeze(state)):
        writer.write(data)
    writer.seal()
    writer.sync()
    writer.publish()
    return disk, store


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    disk, store = stored(some_state(6, 60))
    name = store.all()[0].name
    whole = bytes(disk.files[name])
    for size in [*range(120), *range(120, len(whole), 97), len(whole) - 1]:
        disk.files[name] = bytearray(whole[:size])
        again = SnapshotStore(disk)
        with pytest.raises(SnapshotDamaged):
            again.verify(again.all()[0])
    disk.files[name] = bytearray(whole)
    store.verify(store.all()[0])


def test_a_file_with_a_changed_byte_is_refused() -> None:
    disk, store = stored(some_state(7, 60))
    name = store.all()[0].name
    dice = random.Random(8)
    whole = bytes(disk.files[name])
    for _ in range(200):
        spoiled = bytearray(whole)
        spoiled[dice.randrange(len(whole))] ^= dice.randrange(1, 256)
        disk.files[name] = spoiled
        again = SnapshotStore(disk)
        with pytest.raises(SnapshotDamaged):
            again.verify(again.all()[0])
