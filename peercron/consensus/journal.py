"""Journal: term, vote and log entries on disk, in the shape that the kernel asks of a log.

A segment is a file of frames; a frame is what one turn wrote and made durable together: magic, length, CRC-32, then a
msgpack array of records. Since each turn syncs before the next begins, only the last frame can be torn. So a bad frame
with nothing sound behind it is a torn tail, which is cut off and reported; a bad frame with a sound one behind it is
damage, which stops the node: cutting there would forget what was promised.

A new segment is begun at each snapshot. It repeats what is still needed of the log, so the older segments can be
removed as soon as the snapshot is durable, and nothing is ever rewritten in place.

The checksum is zlib's CRC-32: for frames of this size it finds what CRC-32C finds, and needs no other package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, overload

import msgpack

from peercron.consensus.disk import Disk
from peercron.consensus.entry import NO_OP, Entry
from peercron.consensus.segment import HEADER, MAGIC, frame, frame_at, portions, sound_frame_after
from peercron.errors import TooOld

FORMAT: Final = 2
#: What a new segment repeats of the log before a snapshot, for followers that are a little behind.
TAIL_ENTRIES_MAX: Final = 2_000
TAIL_BYTES_MAX: Final = 1 << 20
#: A file that stands from before a tail is cut until the journal itself says that it is in doubt.
DOUBT_MARK: Final = "wal-in-doubt"

_SEGMENT, _ENTRY, _CUT, _TERM, _DOUBT = range(5)


class JournalDamaged(Exception):
    """The journal cannot be read up to its end. Restore the data directory, or remove the member and join it anew."""


class Journal:
    """The durable log of one member. `append`-like calls only collect records; `flush` makes them durable.

    Args:
        disk: where the segments are.
        birth: how a log begins that is not there yet: a founder's with the configuration, a newcomer's BLANK.
        tail_entries: how many entries before a snapshot stay at hand for followers that are a little behind.

    Raises:
        JournalDamaged: a frame before the tail is unreadable, or entries are missing.
        TooOld: a newer version wrote it.
    """

    def __init__(self, disk: Disk, birth: Entry = (NO_OP, 1, 0), *, tail_entries: int = TAIL_ENTRIES_MAX) -> None:
        self._disk, self._birth = disk, birth
        self._tail_entries = tail_entries
        self._entries: list[Entry] = []
        self._pending: list[tuple[Any, ...]] = []
        self._term = 0
        self._vote: str | None = None
        self._commit = self._birth[1]
        self._segments: list[str] = []
        self._segment_base = 1
        #: Bytes cut off a torn tail when the journal was opened; 0: it was whole.
        self.cut_bytes = 0
        #: A tail was cut, or the log is new, and no leader has been caught up with since: something may be forgotten.
        self.doubt = False
        #: Size of the newest segment in bytes, for the snapshot policy.
        self.bytes = 0
        self._recover()

    # What the kernel calls, by pysyncobj's names.

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self._entries:
            assert idx == self._entries[-1][1] + 1, f"entry {idx} after {self._entries[-1][1]}"
        self._entries.append((command, idx, term))
        self._pending.append((_ENTRY, idx, term, command))

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: N802 - the kernel's name for it
        cut = self._entries[position][1]
        assert cut > self._commit, f"entry {cut} is committed (commit index {self._commit})"
        del self._entries[position:]
        self._pending.append((_CUT, cut))

    def deleteEntriesTo(self, position: int) -> None:  # noqa: N802
        raise AssertionError("the kernel does not compact; see begin_segment")

    def clear(self) -> None:
        raise AssertionError("the kernel does not clear; see begin_segment")

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def _destroy(self) -> None:
        self._disk.close()

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802
        # Kept in memory only: it is found again from the leader, and writing it would make an idle disk busy.
        self._commit = index

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return self._commit

    def setCurrentTerm(self, term: int, vote: str | None) -> None:  # noqa: N802
        if (term, vote) != (self._term, self._vote):
            self._term, self._vote = term, vote
            self._pending.append((_TERM, term, vote))

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._vote

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """Nothing is written by the clock."""

    # What the replica calls.

    @property
    def base(self) -> tuple[int, int]:
        """Index and term of the first entry held; what it stood for is in a snapshot."""
        return self._entries[0][1], self._entries[0][2]

    @property
    def last(self) -> tuple[int, int]:
        """Index and term of the last entry."""
        return self._entries[-1][1], self._entries[-1][2]

    @property
    def dirty(self) -> bool:
        return bool(self._pending)

    def term_at(self, index: int) -> int | None:
        """Term of the entry at `index`; None: not held."""
        position = index - self._entries[0][1]
        return self._entries[position][2] if 0 <= position < len(self._entries) else None

    def clear_doubt(self) -> None:
        if self.doubt:
            self.doubt = False
            self._pending.append((_DOUBT, False))

    def flush(self) -> None:
        """Write the collected records as one frame and wait until the disk has it. OSError: fail-stop."""
        if self._pending:
            self._append(self._segments[-1], self._pending)
            self._disk.sync(self._segments[-1])
            self._pending = []

    def begin_segment(self, index: int, term: int) -> None:
        """Start a new segment for a snapshot at (index, term); `drop_old_segments` follows once that is durable.

        What the log holds after the snapshot stays where (index, term) is in the log; otherwise the log is replaced
        by the snapshot's place.
        """
        kept = self.term_at(index) == term
        tail = self._entries[self._tail_position(index) :] if kept else [(NO_OP, index, term)]
        self._pending = []  # all of it is in the tail or of no more use
        self._create_segment(tail)
        if not kept:
            self._entries = list(tail)

    def drop_old_segments(self) -> None:
        """The snapshot is durable: forget the entries and files before the newest segment's."""
        for name in self._segments[:-1]:
            self._disk.remove(name)
        del self._segments[:-1]
        position = self._segment_base - self._entries[0][1]
        if position > 0:
            del self._entries[:position]

    def close(self) -> None:
        self._disk.close()

    # Inside.

    def _tail_position(self, index: int) -> int:
        position = index - self._entries[0][1]
        budget = TAIL_BYTES_MAX
        first = max(0, position - self._tail_entries)
        while position > first and budget > 0:
            position -= 1
            budget -= len(self._entries[position][0])
        return position

    def _create_segment(self, tail: Sequence[Entry]) -> None:
        number = int(self._segments[-1][4:-4]) + 1 if self._segments else 1
        name = f"wal-{number:016d}.log"
        command, index, term = tail[0]
        records: list[tuple[Any, ...]] = [
            (_SEGMENT, FORMAT, index, term, command, self._term, self._vote, self.doubt),
            *((_ENTRY, i, t, c) for c, i, t in tail[1:]),
        ]
        if name + ".new" in self._disk.names():
            self._disk.remove(name + ".new")  # of an attempt that failed
        self.bytes = 0
        for portion in portions(records):  # who reads it finds all of them: it is published when they are there
            self._append(name + ".new", portion)
        self._disk.sync(name + ".new")
        self._disk.publish(name + ".new", name)
        self._segments.append(name)
        self._segment_base = index

    def _append(self, name: str, records: Sequence[tuple[Any, ...]]) -> None:
        payload = msgpack.packb(records)
        self._disk.append(name, frame(payload))
        self.bytes += HEADER.size + len(payload)

    def _recover(self) -> None:
        for name in self._disk.names():
            if name.endswith(".log.new"):
                self._disk.remove(name)  # a segment whose birth was cut short; the one before it is whole
        self._segments = [n for n in self._disk.names() if n.startswith("wal-") and n.endswith(".log")]
        if not self._segments:
            # Nothing says whether this is a first start or a disk that was wiped, after promises that are forgotten.
            self.doubt = True
            self._entries = [self._birth]
            self._create_segment(self._entries)
            return
        for name in self._segments:
            self._replay(name, newest=name == self._segments[-1])
        # What a process wrote and did not live to sync may be in the page cache only: nobody may build on it yet.
        self._disk.sync(self._segments[-1])
        self._commit = self._entries[0][1]
        if DOUBT_MARK in self._disk.names():
            self.doubt = True
            self._pending.append((_DOUBT, True))
            self.flush()
            self._disk.remove(DOUBT_MARK)

    def _replay(self, name: str, *, newest: bool) -> None:
        raw = self._disk.read(name)
        offset = 0
        while offset < len(raw):
            payload = frame_at(raw, offset)
            if payload is None:
                self._cut_tail(name, raw, offset, newest=newest)
                break
            for record in msgpack.unpackb(payload, use_list=False):
                self._redo(name, record)
            offset += HEADER.size + len(payload)
        if offset == 0:
            raise JournalDamaged(f"{name} has no readable beginning")
        self.bytes = offset

    def _cut_tail(self, name: str, raw: bytes, offset: int, *, newest: bool) -> None:
        if not newest or offset == 0 or sound_frame_after(raw, offset + 1):
            raise JournalDamaged(f"{name} is unreadable at byte {offset} of {len(raw)}, before its tail")
        self._mark_doubt()
        self._disk.truncate(name, offset)
        self.cut_bytes = len(raw) - offset

    def _mark_doubt(self) -> None:
        """Whoever dies between the cut and the record of it must know when it comes back."""
        beside = DOUBT_MARK + ".new"
        self._disk.append(beside, MAGIC)
        self._disk.sync(beside)
        self._disk.publish(beside, DOUBT_MARK)

    def _redo(self, name: str, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == _ENTRY:
            _, index, term, command = record
            if index != self._entries[-1][1] + 1:
                raise JournalDamaged(f"{name}: entry {index} follows entry {self._entries[-1][1]}")
            self._entries.append((command, index, term))
        elif kind == _CUT:
            position = record[1] - self._entries[0][1]
            if position < 1:
                raise JournalDamaged(f"{name}: cut at {record[1]}, before the log's beginning")
            del self._entries[position:]
        elif kind == _TERM:
            self._term, self._vote = record[1], record[2]
        elif kind == _DOUBT:
            self.doubt = record[1]
        elif kind == _SEGMENT:
            self._redo_segment(name, record)
        else:
            raise TooOld(f"{name} holds a record of kind {kind}, which this version does not know")

    def _redo_segment(self, name: str, record: tuple[Any, ...]) -> None:
        _, version, *fields = record
        if version > FORMAT:
            raise TooOld(f"{name} is of format {version}, this version reads {FORMAT}")
        if version != FORMAT:
            raise JournalDamaged(f"{name}: format {version}, this version reads {FORMAT}")
        index, term, command, self._term, self._vote, self.doubt = fields
        if self._entries and self.term_at(index) == term:
            del self._entries[index - self._entries[0][1] + 1 :]
        else:
            self._entries = [(command, index, term)]
        self._segment_base = index
