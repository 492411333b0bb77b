"""The journal of slices: what was begun is never forgotten, what was torn was not begun, and it has an end."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.consensus.disk import FolderDisk
from peercron.core.job import Mode
from peercron.core.limits import GAP_SLOTS_MAX, SLICE_TAIL_BYTES_MAX
from peercron.core.run import RunState
from peercron.core.slice_duty import Plan, plan_of
from peercron.core.slices import SliceEntry
from peercron.node import slice_journal
from peercron.node.slice_journal import NAME, SliceJournal
from tests.core.builders import cluster, job, put
from tests.sim.disk import SimDisk


def entry(slot_ms: int, outcome: RunState = RunState.SUCCEEDED, **more: Any) -> SliceEntry:
    return SliceEntry(slot_ms, outcome, **({"reason": "why"} | more))


def some_plan(name: str = "job") -> Plan:
    state = cluster("a")
    put(state, name, mode=Mode.SLICE, slice_ms=10_000)
    found = plan_of(state, job(state, name).uid)
    assert found is not None
    return found


def seen(journal: SliceJournal) -> tuple[Any, ...]:
    """Everything that a journal says of two jobs."""
    uids = ("1", "2")
    told = [(uid, journal.latest(uid), journal.entries(uid), journal.to_tell(uid, 99)) for uid in uids]
    return told, sorted(journal.begun()), journal.plans, journal.index


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk(Random(1))


def test_what_was_flushed_is_there_in_the_next_boot(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    journal.know("1", 7, some_plan())
    journal.begin("1", 5_000)
    journal.end("1", entry(5_000, exit_code=3, output_tail="out", started_ms=5_001))
    journal.begin("1", 6_000)
    journal.end("2", entry(9_000, RunState.MISSED))
    journal.flush()
    again = SliceJournal(disk)
    assert seen(again) == seen(journal)
    assert (again.cut_bytes, again.bad_bytes) == (0, 0)
    assert again.begun() == [("1", 6_000)]
    assert (again.latest("1"), again.latest("2"), again.latest("3")) == (6_000, 9_000, -1)


def test_what_was_begun_and_has_not_ended_is_lost_and_not_begun_again(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    journal.begin("1", 5_000)
    journal.flush()
    again = SliceJournal(disk)
    again.end_lost("node a went down while it ran")
    assert again.begun() == []
    assert again.latest("1") == 5_000
    (lost,) = again.to_tell("1", 9)
    assert (lost.outcome, lost.reason) == (RunState.LOST, "node a went down while it ran")


def test_what_runs_holds_back_what_came_after_it(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    journal.end("1", entry(1_000))
    journal.begin("1", 2_000)
    journal.end("1", entry(3_000))
    assert [told.slot_ms for told in journal.to_tell("1", 9)] == [1_000]
    journal.end("1", entry(2_000))
    assert [told.slot_ms for told in journal.to_tell("1", 9)] == [1_000, 2_000, 3_000]
    assert [told.slot_ms for told in journal.to_tell("1", 2)] == [1_000, 2_000]


def test_what_was_told_is_forgotten_and_its_place_is_not(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    for slot_ms in (1_000, 2_000, 3_000):
        journal.end("1", entry(slot_ms))
    journal.told("1", 2_000)
    journal.flush()
    again = SliceJournal(disk)
    assert [told.slot_ms for told in again.to_tell("1", 9)] == [3_000]
    again.told("1", 3_000)
    assert list(again.jobs()) == []
    assert again.latest("1") == 3_000
    again.told("1", 8_000)  # the ledger knows more than we do: this directory is not the one that told it
    assert again.latest("1") == 8_000


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_any_torn_tail_leaves_what_was_flushed_before_it(seed: int, data: st.DataObject) -> None:
    disk = SimDisk(Random(seed))
    journal = SliceJournal(disk)
    states, sizes = [seen(journal)], [0]
    for n in range(6):
        journal.begin("1", n * 1_000)
        if n % 2:
            journal.end("1", entry(n * 1_000))
        if n == 4:
            journal.told("1", 1_000)
        journal.flush()
        states.append(seen(journal))
        sizes.append(disk.size(NAME))
    size = data.draw(st.integers(0, disk.size(NAME)))
    disk.truncate(NAME, size)
    whole = max(n for n, each in enumerate(sizes) if each <= size)
    again = SliceJournal(disk)
    assert seen(again) == states[whole]
    assert again.cut_bytes == size - sizes[whole]
    again.begin("2", 77)
    again.flush()
    assert SliceJournal(disk).begun() == again.begun()


def test_what_is_unreadable_in_between_is_passed_over_and_counted(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    ends = []
    for slot_ms in (1_000, 2_000, 3_000):
        journal.end("1", entry(slot_ms))
        journal.flush()
        ends.append(disk.size(NAME))
    disk.files[NAME][ends[0] + 20] ^= 0xFF
    again = SliceJournal(disk)
    assert [told.slot_ms for told in again.to_tell("1", 9)] == [1_000, 3_000]
    assert again.latest("1") == 3_000, "what is lost is not begun again"
    assert again.bad_bytes == ends[1] - ends[0]


def test_a_record_of_a_newer_version_is_passed_over(disk: SimDisk, caplog: pytest.LogCaptureFixture) -> None:
    journal = SliceJournal(disk)
    journal.end("1", entry(1_000))
    journal.flush()
    disk.append(NAME, slice_journal.frame(slice_journal.pack_records([]).replace(b"\x90", b"\x91\x92\x63\xc0")))
    again = SliceJournal(disk)
    assert [told.slot_ms for told in again.to_tell("1", 9)] == [1_000]
    assert again.bad_bytes > 0
    assert "slice_record_unreadable" in caplog.text


def test_a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    journal.begin("1", 1_000)
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        journal.flush()
    journal.end("1", entry(1_000))
    disk.full = False
    journal.flush()
    assert seen(SliceJournal(disk)) == seen(journal)


def test_while_the_disk_takes_nothing_what_is_held_back_is_bounded(
    disk: SimDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slice_journal, "PENDING_MAX", 10)
    journal = SliceJournal(disk)
    journal.know("1", 1, some_plan())
    for n in range(45):
        journal.end("1", entry(n))
    assert len(journal._pending) <= 10
    journal.flush()
    assert seen(SliceJournal(disk)) == seen(journal)


def test_of_too_many_the_oldest_go_and_the_next_says_for_how_many_it_stands(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    for n in range(GAP_SLOTS_MAX + 3):
        journal.end("1", entry(n))
    first, second, *_ = journal.to_tell("1", 9)
    assert first.slot_ms == 3
    assert first.reason == "why; 3 slots before it are not listed: this node had no room to keep more"
    assert second.reason == "why"
    journal.flush()
    assert seen(SliceJournal(disk)) == seen(journal)
    journal.told("1", 3)
    assert journal.to_tell("1", 1)[0].reason == "why"


def test_over_all_jobs_the_one_with_most_gives_way(disk: SimDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_journal, "KEPT_MAX", 10)
    journal = SliceJournal(disk)
    for n in range(9):
        journal.end("1", entry(n))
    for n in range(4):
        journal.end("2", entry(n))
    assert [len(journal.entries(uid)) for uid in ("1", "2")] == [6, 4]
    assert "3 slots before it" in journal.to_tell("1", 1)[0].reason


def test_the_file_is_written_anew_when_most_of_it_is_past(disk: SimDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_journal, "REWRITE_BYTES", 2_000)
    journal = SliceJournal(disk)
    journal.know("1", 3, some_plan())
    journal.begin("1", 1)
    biggest = 0
    for n in range(2, 400):
        journal.end("1", entry(n))
        journal.told("1", n - 1)
        journal.flush()
        biggest = max(biggest, disk.size(NAME))
        assert seen(SliceJournal(disk)) == seen(journal)
    assert biggest < 12_000
    assert disk.names() == [NAME]


def test_on_a_real_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_journal, "REWRITE_BYTES", 500)
    monkeypatch.setattr(slice_journal, "REWRITE_FACTOR", 0)
    journal = SliceJournal(FolderDisk(tmp_path))
    for n in range(20):
        journal.end("1", entry(n))
        journal.flush()
    journal.close()
    again = SliceJournal(FolderDisk(tmp_path))
    assert seen(again) == seen(journal)
    again.close()


def test_an_output_is_cut_to_its_end(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    journal.end("1", entry(1, output_tail="é" * 2_000 + "end"))
    (told,) = journal.to_tell("1", 1)
    assert len(told.output_tail.encode()) <= SLICE_TAIL_BYTES_MAX
    assert told.output_tail.endswith("éend")


def test_a_job_that_is_gone_is_forgotten(disk: SimDisk) -> None:
    journal = SliceJournal(disk)
    plan = some_plan()
    journal.know("1", 3, plan)
    journal.know("1", 4, plan)
    assert len(journal._pending) == 1, "what is known already is not written again"
    journal.know("1", 5, None)
    journal.flush()
    again = SliceJournal(disk)
    assert (again.plans, again.index) == ({}, 5)
