"""The journal on a disk that forgets, tears, fills up and dies in any operation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peercron.consensus import journal as journal_module
from peercron.consensus import segment
from peercron.consensus.disk import FolderDisk
from peercron.consensus.entry import NO_OP, Entry
from peercron.consensus.journal import DOUBT_MARK, FORMAT, Journal, JournalDamaged
from peercron.consensus.segment import frame as framed
from peercron.errors import TooOld
from tests.sim.disk import Crash, SimDisk

GOLDEN = Path(__file__).parent / "golden" / "segment.hex"


def new_disk(seed: int = 0) -> SimDisk:
    return SimDisk(random.Random(seed))


def filled(disk: SimDisk, entries: int = 5, **options: Any) -> Journal:
    """A journal with entries 2, 3, … of term 1, each flushed by itself."""
    journal = Journal(disk, **options)
    journal.setCurrentTerm(1, "me")
    for index in range(2, 2 + entries):
        journal.add(b"e%d" % index, index, 1)
        journal.flush()
    return journal


def contents(journal: Journal) -> list[Entry]:
    return journal[:]


def newest(disk: SimDisk) -> bytearray:
    return disk.files[max(n for n in disk.names() if n.endswith(".log"))]


# Recovery.


def test_a_new_journal_begins_with_the_kernels_first_entry() -> None:
    disk = new_disk()
    assert contents(Journal(disk)) == [(NO_OP, 1, 0)]
    assert contents(Journal(disk)) == [(NO_OP, 1, 0)]


def test_what_was_flushed_is_there_again() -> None:
    disk = new_disk()
    before = filled(disk)
    before.setCurrentTerm(7, "you")
    before.flush()
    disk.lose_power()
    after = Journal(disk)
    assert contents(after) == contents(before)
    assert (after.getCurrentTerm(), after.getVotedForNodeId()) == (7, "you")
    assert (after.cut_bytes, after.doubt) == (0, True)  # as any log that has not met a leader yet
    assert after.getRaftCommitIndex() == 1


def test_a_vote_is_a_record_even_without_entries() -> None:
    disk = new_disk()
    journal = Journal(disk)
    journal.setCurrentTerm(3, None)
    journal.flush()
    journal.setCurrentTerm(3, "a")
    assert journal.dirty
    journal.flush()
    journal.setCurrentTerm(3, "a")
    assert not journal.dirty
    assert Journal(disk).getVotedForNodeId() == "a"


def test_what_was_not_flushed_is_gone_after_a_loss_of_power() -> None:
    disk = new_disk()
    journal = filled(disk, 3)
    journal.add(b"late", 5, 1)
    disk.lose_power()
    assert Journal(disk).last == (4, 1)


def test_a_cut_and_what_was_written_after_it_survive() -> None:
    disk = new_disk()
    journal = filled(disk, 5)
    journal.deleteEntriesFrom(3)
    journal.add(b"other", 4, 2)
    journal.flush()
    assert contents(Journal(disk)) == [(NO_OP, 1, 0), (b"e2", 2, 1), (b"e3", 3, 1), (b"other", 4, 2)]


def test_an_idle_journal_writes_nothing() -> None:
    disk = new_disk()
    journal = filled(disk)
    operations: list[str] = []
    disk.before = operations.append
    journal.flush()
    journal.setRaftCommitIndex(4)
    journal.onOneSecondTimer()
    journal.flush()
    assert operations == []


def test_all_records_of_a_turn_are_one_write_and_one_sync() -> None:
    disk = new_disk()
    journal = filled(disk)
    operations: list[str] = []
    disk.before = operations.append
    journal.setCurrentTerm(2, "x")
    for index in range(7, 107):
        journal.add(b"v", index, 2)
    journal.flush()
    assert operations == ["append", "appended", "sync"]


# What the kernel must not do.


def test_an_entry_out_of_order_is_refused() -> None:
    journal = filled(new_disk(), 3)
    for index in (4, 6):
        with pytest.raises(AssertionError, match=f"entry {index} after 4"):
            journal.add(b"x", index, 1)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_nothing_at_or_below_the_commit_index_is_cut(position: int) -> None:
    journal = filled(new_disk(), 5)
    journal.setRaftCommitIndex(3)
    with pytest.raises(AssertionError, match="is committed"):
        journal.deleteEntriesFrom(position)
    assert journal.last == (6, 1)
    journal.deleteEntriesFrom(3)
    assert journal.last == (3, 1)


def test_the_kernel_does_not_compact() -> None:
    journal = filled(new_disk())
    with pytest.raises(AssertionError, match="does not compact"):
        journal.deleteEntriesTo(2)
    with pytest.raises(AssertionError, match="does not clear"):
        journal.clear()


# Damage.


def test_a_tail_torn_at_any_byte_is_cut_off_and_reported() -> None:
    whole = new_disk()
    filled(whole, 2)
    image = bytes(newest(whole))
    third = new_disk()
    filled(third, 3)
    longer = bytes(newest(third))
    assert longer.startswith(image)
    for size in range(len(image) + 1, len(longer)):
        disk = new_disk()
        disk.files["wal-0000000000000001.log"] = bytearray(longer[:size])
        journal = Journal(disk)
        assert journal.last == (3, 1)
        assert journal.cut_bytes == size - len(image)
        assert journal.doubt
        again = Journal(disk)
        assert (again.cut_bytes, again.doubt, again.last) == (0, True, (3, 1))


def test_any_changed_byte_of_the_last_frame_is_a_torn_tail() -> None:
    whole = new_disk()
    filled(whole, 2)
    begin = len(newest(whole))
    disk = new_disk()
    filled(disk, 3)
    image = bytes(newest(disk))
    for at in range(begin, len(image)):
        spoiled = new_disk()
        spoiled.files["wal-0000000000000001.log"] = bytearray(image[:at] + bytes([image[at] ^ 0x40]) + image[at + 1 :])
        journal = Journal(spoiled)
        assert (journal.last, journal.doubt) == ((3, 1), True)


def test_zeros_behind_the_tail_are_a_torn_tail() -> None:
    disk = new_disk()
    filled(disk, 3)
    newest(disk).extend(bytes(4096))
    journal = Journal(disk)
    assert (journal.last, journal.cut_bytes, journal.doubt) == ((4, 1), 4096, True)


def test_any_changed_byte_before_the_last_frame_stops_the_node() -> None:
    disk = new_disk()
    filled(disk, 2)
    last_begins = len(newest(disk))
    filled(disk := new_disk(), 3)
    image = bytes(newest(disk))
    for at in range(last_begins):
        spoiled = new_disk()
        spoiled.files["wal-0000000000000001.log"] = bytearray(image[:at] + bytes([image[at] ^ 0x40]) + image[at + 1 :])
        with pytest.raises(JournalDamaged, match="before its tail"):
            Journal(spoiled)


def test_a_missing_frame_stops_the_node() -> None:
    disk = new_disk()
    sizes = []
    journal = Journal(disk)
    for index in range(2, 6):
        journal.add(b"e", index, 1)
        journal.flush()
        sizes.append(len(newest(disk)))
    del newest(disk)[sizes[0] : sizes[1]]
    with pytest.raises(JournalDamaged, match="entry 4 follows entry 2"):
        Journal(disk)


def frame(*records: tuple[Any, ...]) -> bytes:
    payload = msgpack.packb(records)
    return framed(payload)


def test_a_segment_without_a_beginning_stops_the_node() -> None:
    disk = new_disk()
    filled(disk)
    newest(disk).clear()
    with pytest.raises(JournalDamaged, match="no readable beginning"):
        Journal(disk)


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        ([(99, 1)], TooOld, "a record of kind 99"),
        ([(2, 1)], JournalDamaged, "cut at 1, before"),
        ([(0, FORMAT - 1, 5, 1, b"\x01", 1, None, False)], JournalDamaged, f"this version reads {FORMAT}"),
        ([(0, FORMAT + 1, 5, 1, "and what else it may hold")], TooOld, f"is of format {FORMAT + 1}"),
    ],
)
def test_a_record_that_this_version_does_not_know_stops_the_node(
    records: list[Any], error: type[Exception], said: str
) -> None:
    disk = new_disk()
    filled(disk)
    newest(disk).extend(frame(*records))
    before = dict(disk.files)
    with pytest.raises(error, match=said):
        Journal(disk)
    assert disk.files == before


def test_doubt_outlives_restarts_segments_and_power_until_it_is_cleared() -> None:
    disk = new_disk()
    filled(disk, 3)
    newest(disk).pop()
    assert Journal(disk).doubt
    journal = Journal(disk)
    journal.begin_segment(2, 1)
    journal.drop_old_segments()
    disk.lose_power()
    journal = Journal(disk)
    assert journal.doubt
    journal.clear_doubt()
    assert Journal(disk).doubt  # not flushed
    journal.flush()
    assert not Journal(disk).doubt


def test_a_death_between_the_cut_and_the_record_of_it_forgets_no_doubt() -> None:
    for deadly in range(1, 16):
        disk = new_disk(deadly)
        filled(disk, 3)
        newest(disk).pop()
        kill_in(disk, deadly)
        died = False
        try:
            Journal(disk)
        except Crash:
            died = True
        disk.before = lambda _: None
        disk.lose_power()
        journal = Journal(disk)
        assert (journal.doubt, journal.last) == (True, (3, 1))
        assert DOUBT_MARK not in disk.names()
    assert not died  # the loop has gone through all of the operations


def kill_in(disk: SimDisk, operations: int) -> None:
    left = operations

    def before(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    disk.before = before


# Segments.


def test_a_new_segment_repeats_what_is_needed_and_the_old_ones_can_go() -> None:
    disk = new_disk()
    journal = filled(disk, 10, tail_entries=2)
    journal.begin_segment(8, 1)
    assert len(disk.names()) == 2
    assert journal.base == (1, 0)
    journal.drop_old_segments()
    assert len(disk.names()) == 1
    assert journal.base == (6, 1)
    assert contents(Journal(disk)) == contents(journal)


def test_a_large_command_is_not_repeated_for_the_sake_of_followers() -> None:
    journal = Journal(new_disk(), tail_entries=100)
    for index in range(2, 12):
        journal.add(bytes(journal_module.TAIL_BYTES_MAX // 3), index, 1)
    journal.flush()
    journal.begin_segment(11, 1)
    journal.drop_old_segments()
    assert 11 - 4 <= journal.base[0] <= 11 - 3


def test_however_much_the_log_has_behind_a_snapshot_the_segment_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was away for long gets much of the log at once, and may take a snapshot before all of it is applied. All of
    that in one frame was more than a frame may hold: the node could never start again.
    """
    monkeypatch.setattr(segment, "PORTION_BYTES", 100)
    monkeypatch.setattr(segment, "FRAME_BYTES_MAX", 400)
    disk = new_disk()
    journal = Journal(disk)
    journal.setCurrentTerm(1, "me")
    for index in range(2, 60):
        journal.add(b"e%d" % index * 10, index, 1)
        journal.flush()
    before, synced = contents(journal), []
    monkeypatch.setattr(disk, "sync", synced.append)
    journal.begin_segment(3, 1)
    journal.drop_old_segments()
    assert len(synced) == 1
    assert contents(Journal(disk)) == before[before.index((b"e2" * 10, 2, 1)) - 1 :]
    journal.add(b"x" * 500, 60, 1)
    with pytest.raises(AssertionError, match="could never be read"):
        journal.flush()


def test_a_segment_of_anothers_snapshot_replaces_the_log() -> None:
    disk = new_disk()
    journal = filled(disk, 5)
    journal.setCurrentTerm(4, "b")
    journal.begin_segment(50, 3)
    assert contents(journal) == [(NO_OP, 50, 3)]
    journal.drop_old_segments()
    after = Journal(disk)
    assert contents(after) == [(NO_OP, 50, 3)]
    assert (after.getCurrentTerm(), after.getVotedForNodeId()) == (4, "b")


def test_a_segment_of_a_snapshot_that_contradicts_the_log_replaces_it() -> None:
    disk = new_disk()
    journal = filled(disk, 5)
    journal.begin_segment(4, 9)
    assert contents(journal) == [(NO_OP, 4, 9)]
    journal.add(b"new", 5, 9)
    journal.flush()
    assert contents(Journal(disk)) == [(NO_OP, 4, 9), (b"new", 5, 9)]


def test_records_that_wait_while_a_segment_begins_are_in_it() -> None:
    disk = new_disk()
    journal = filled(disk, 3)
    journal.setCurrentTerm(2, "c")
    journal.add(b"waits", 5, 2)
    journal.begin_segment(3, 1)
    disk.lose_power()
    after = Journal(disk)
    assert (after.last, after.getCurrentTerm(), after.getVotedForNodeId()) == ((5, 2), 2, "c")


def test_a_segment_that_was_not_yet_born_is_forgotten() -> None:
    disk = new_disk()
    before = contents(filled(disk, 4))
    disk.append("wal-0000000000000002.log.new", b"PCJ1 half")
    assert contents(Journal(disk)) == before
    assert disk.names() == ["wal-0000000000000001.log"]


# Errors of the disk.


def test_a_full_disk_is_an_error_and_what_was_durable_is_there_again() -> None:
    for seed in range(20):
        disk = new_disk(seed)
        journal = filled(disk, 4)
        journal.add(b"no room", 6, 1)
        disk.full = True
        with pytest.raises(OSError, match="No space left"):
            journal.flush()
        disk.full = False
        assert Journal(disk).last == (5, 1)


def test_a_segment_that_found_no_room_spoils_nothing() -> None:
    for seed in range(10):
        disk = new_disk(seed)
        journal = filled(disk, 4)
        disk.full = True
        with pytest.raises(OSError, match="No space left"):
            journal.begin_segment(3, 1)
        disk.full = False
        journal.begin_segment(3, 1)
        journal.drop_old_segments()
        assert contents(Journal(disk)) == contents(journal)


def test_on_a_real_folder(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path / "log")
    journal = Journal(disk, tail_entries=1)
    journal.setCurrentTerm(1, "a")
    for index in range(2, 8):
        journal.add(b"v%d" % index, index, 1)
        journal.flush()
    journal.begin_segment(5, 1)
    journal.drop_old_segments()
    journal.add(b"v8", 8, 1)
    journal.flush()
    journal.close()
    again = FolderDisk(tmp_path / "log")
    after = Journal(again)
    assert contents(after) == contents(journal)
    assert again.names() == ["wal-0000000000000002.log"]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
    path = tmp_path / "log" / "wal-0000000000000002.log"
    assert path.stat().st_mode & 0o077 == 0
    after.close()
    path.write_bytes(path.read_bytes()[:-3])
    third = Journal(FolderDisk(tmp_path / "log"))
    assert (third.last, third.doubt) == ((7, 1), True)
    third.close()


def test_the_format_is_the_golden_one() -> None:
    """These bytes are on the disks of running clusters; they change only with FORMAT and a way to read both."""
    assert journal_module.FORMAT == 2
    disk = new_disk()
    journal = filled(disk, 3)
    journal.deleteEntriesFrom(3)
    journal.setCurrentTerm(2, None)
    journal.flush()
    journal.doubt = True
    journal.clear_doubt()
    journal.flush()
    assert bytes(newest(disk)).hex() == GOLDEN.read_text().strip()
    old = new_disk()
    old.files["wal-0000000000000001.log"] = bytearray.fromhex(GOLDEN.read_text().strip())
    assert contents(Journal(old)) == contents(journal)


# Anything in any order, against a twin that is a list.


def test_what_a_dying_process_wrote_is_durable_before_the_next_one_builds_on_it() -> None:
    """Killed between write and sync: the next process reads it from the page cache, and then the power fails."""
    disk = new_disk()
    journal = filled(disk, 2)
    journal.add(b"read again", 4, 1)
    kill_in(disk, 2)
    with pytest.raises(Crash):
        journal.flush()
    disk.before = lambda _: None
    assert Journal(disk).last == (4, 1)
    disk.lose_power()
    assert Journal(disk).last == (4, 1)


class JournalMachine(RuleBasedStateMachine):
    """The twin holds the whole log. `durable` is what must be there after a crash; `written` is what may be."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = new_disk()
        self.journal = Journal(self.disk, tail_entries=0)
        self.log: list[tuple[bytes, int]] = [(NO_OP, 0)]  # (command, term) of index 1, 2, …
        self.vote: tuple[int, str | None] = (0, None)
        self.durable = (list(self.log), self.vote)
        self.commit = 1
        self.snapshot = 1
        self.begun: int | None = None

    @initialize(seed=st.integers(0, 2**32))
    def dice(self, seed: int) -> None:
        self.disk._rng = random.Random(seed)

    @rule(count=st.integers(1, 4), newer=st.integers(0, 2), data=st.binary(max_size=3))
    def add(self, count: int, newer: int, data: bytes) -> None:
        term = max(self.log[-1][1], 1) + newer
        for _ in range(count):
            self.log.append((data or NO_OP, term))
            self.journal.add(data or NO_OP, len(self.log), term)

    @rule(back=st.integers(1, 6))
    def cut(self, back: int) -> None:
        index = len(self.log) - back + 1
        if index > self.commit:
            del self.log[index - 1 :]
            self.journal.deleteEntriesFrom(index - self.journal.base[0])

    @rule(term=st.integers(0, 3), vote=st.sampled_from([None, "a", "b"]))
    def elect(self, term: int, vote: str | None) -> None:
        self.vote = (self.vote[0] + term, vote)
        self.journal.setCurrentTerm(*self.vote)

    @rule(forth=st.integers(1, 5))
    def commit_some(self, forth: int) -> None:
        # Only what is durable here; a leader counts itself no sooner.
        self.commit = max(self.commit, min(self.commit + forth, len(self.durable[0]), len(self.log)))
        self.journal.setRaftCommitIndex(self.commit)

    @rule()
    def flush(self) -> None:
        self.journal.flush()
        self.durable = (list(self.log), self.vote)

    @precondition(lambda self: self.begun is None)
    @rule()
    def begin(self) -> None:
        self.flush()
        self.journal.begin_segment(self.commit, self.log[self.commit - 1][1])
        self.begun = self.commit

    @precondition(lambda self: self.begun is not None)
    @rule()
    def published(self) -> None:
        assert self.begun is not None
        self.snapshot, self.begun = self.begun, None
        self.journal.drop_old_segments()

    @precondition(lambda self: len(self.log) % 4 == 0)  # seldom, so that much happens between
    @rule(ahead=st.integers(1, 5))
    def install(self, ahead: int) -> None:
        """A snapshot of the leader's, from beyond our log."""
        self.flush()
        term = self.log[-1][1] + 1
        self.log = (
            self.log[: self.commit] + [(b"?", term)] * (len(self.log) - self.commit + ahead - 1) + [(NO_OP, term)]
        )
        self.snapshot = self.commit = len(self.log)
        self.begun = None
        self.journal.begin_segment(self.snapshot, term)
        self.journal.setRaftCommitIndex(self.commit)
        self.journal.drop_old_segments()
        self.durable = (list(self.log), self.vote)

    @rule(deadly=st.integers(1, 8), power=st.booleans(), act=st.sampled_from(["flush", "begin", "drop"]))
    def die(self, deadly: int, power: bool, act: str) -> None:
        if act != "flush":
            self.flush()
        kill_in(self.disk, deadly)
        try:
            if act == "flush":
                self.journal.flush()
            elif act == "begin" or self.begun is None:
                self.journal.begin_segment(self.commit, self.log[self.commit - 1][1])
            else:
                self.snapshot = self.begun
                self.journal.drop_old_segments()
        except Crash:
            pass
        else:
            self.durable = (list(self.log), self.vote)
        self.disk.before = lambda _: None
        if power:
            self.disk.lose_power()
        self.reopen()

    @rule()
    def reopen(self) -> None:
        written = (self.log, self.vote)
        self.journal = Journal(self.disk, tail_entries=0)
        self.begun = None
        found = (contents(self.journal), (self.journal.getCurrentTerm(), self.journal.getVotedForNodeId()))
        for log, vote in (written, self.durable):
            if found == (self.expected(log), vote):
                self.log, self.vote = list(log), vote
                break
        else:
            raise AssertionError(f"{found} is neither {written} nor {self.durable}")
        self.durable = (list(self.log), self.vote)
        self.commit = max(min(self.commit, len(self.log)), self.journal.base[0])
        self.journal.setRaftCommitIndex(self.commit)
        self.journal.clear_doubt()

    def expected(self, log: list[tuple[bytes, int]]) -> list[Entry]:
        base = self.journal.base[0]
        return [(command, index, term) for index, (command, term) in enumerate(log, 1) if index >= base]

    @invariant()
    def the_journal_is_the_twin(self) -> None:
        assert contents(self.journal) == self.expected(self.log)
        assert self.journal.base[0] <= self.snapshot
        assert self.journal.last == (len(self.log), self.log[-1][1])
        for index in range(self.journal.base[0], len(self.log) + 1):
            assert self.journal.term_at(index) == self.log[index - 1][1]
        assert self.journal.term_at(self.journal.base[0] - 1) is self.journal.term_at(len(self.log) + 1) is None


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
