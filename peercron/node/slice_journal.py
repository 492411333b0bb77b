"""Slice journal: what this node did in its slices, on its own disk, until the cluster's ledger has it.

A slot is begun on disk before anything is started for it, so no boot starts it again; what a boot finds begun and not
ended was lost with the boot before. Jobs are written down too: a node that comes back to no quorum does not know what
of its log is committed, and goes on with the jobs that it knew.

What is torn at the end of the file was not written: nothing was started for it. What is unreadable in between is passed
over and reported; a slot later than any that is read is the oldest that can be started, so nothing is started twice.

How much is kept: of each job as many entries as the ledger keeps, and KEPT_MAX over all. Where one more is too many,
the oldest entry of the job that has most goes, and the next says for how many it stands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from peercron.consensus.disk import Disk
from peercron.consensus.segment import HEADER, MAGIC, frame, frame_at
from peercron.core.limits import GAP_SLOTS_MAX, SLICE_TAIL_BYTES_MAX
from peercron.core.run import RunState
from peercron.core.slice_duty import Plan
from peercron.core.slices import SliceEntry
from peercron.wire.slicelog import Begun, Ended, Planned, Record, Told, pack_records, unpack_records

log = logging.getLogger(__name__)

NAME: Final = "slices.log"
#: Entries over all jobs that wait to be told.
KEPT_MAX: Final = 10_000
#: The file is written anew when it has grown to this and to several times of what it holds.
REWRITE_BYTES: Final = 256 << 10
REWRITE_FACTOR: Final = 4
#: While the disk takes nothing, no more than this is held back; then the file is written anew as soon as it does.
PENDING_MAX: Final = 2_000
#: Of records of one frame.
FRAME_RECORDS_MAX: Final = 500


class SliceJournal:
    """Calls only collect records; `flush` makes them durable.

    Args:
        disk: where the file is.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        #: Job uid -> the job as it was last known; and up to which index of the state all is known.
        self.plans: dict[str, Plan] = {}
        self.index = -1
        #: Job uid -> the latest slot that was begun, ended or told.
        self._latest: dict[str, int] = {}
        #: Job uid -> slots that were begun and have not ended.
        self._begun: dict[str, dict[int, None]] = {}
        #: Job uid -> slot -> entry that is to be told.
        self._entries: dict[str, dict[int, SliceEntry]] = {}
        #: Job uid -> slots before its oldest entry that there was no room for.
        self._folded: dict[str, int] = {}
        self._count = 0
        self._pending: list[Record] = []
        self._outgrown = False
        self._bytes = 0
        #: Bytes at the end of the file that were torn, and in between that could not be read.
        self.cut_bytes, self.bad_bytes = self._recover()

    # What is known.

    def latest(self, uid: str) -> int:
        """Every own slot of the job up to here is begun, decided or told; -1: none is."""
        return self._latest.get(uid, -1)

    def jobs(self) -> Iterator[str]:
        """Uids of jobs of which something is to be told."""
        return iter(tuple(self._entries))

    def to_tell(self, uid: str, limit: int) -> tuple[SliceEntry, ...]:
        """The oldest entries of the job, in order, before the first slot that has not ended."""
        first_begun = min(self._begun.get(uid, ()), default=None)
        slots = sorted(self._entries.get(uid, ()))
        ready = [slot for slot in slots if first_begun is None or slot < first_begun][:limit]
        entries = [self._entries[uid][slot] for slot in ready]
        if entries and (folded := self._folded.get(uid, 0)):
            more = f"{folded} slots before it are not listed: this node had no room to keep more"
            entries[0] = replace(entries[0], reason="; ".join(filter(None, (entries[0].reason, more))))
        return tuple(entries)

    def begun(self) -> list[tuple[str, int]]:
        """(job uid, slot) of all that has begun and not ended."""
        return [(uid, slot_ms) for uid, slots in self._begun.items() for slot_ms in slots]

    def entries(self, uid: str) -> tuple[SliceEntry, ...]:
        """Everything of the job that is not told yet, the oldest first."""
        return tuple(entry for _, entry in sorted(self._entries.get(uid, {}).items()))

    # What happens.

    def know(self, uid: str, index: int, plan: Plan | None) -> None:
        """The job as the state has it at this index; None: it is gone."""
        if self.plans.get(uid) != plan:
            self._note(Planned(uid, index, plan))

    def begin(self, uid: str, slot_ms: int) -> None:
        self._note(Begun(uid, slot_ms))

    def end(self, uid: str, entry: SliceEntry) -> None:
        tail = entry.output_tail.encode("utf-8", "replace")[-SLICE_TAIL_BYTES_MAX:].decode("utf-8", "ignore")
        self._note(Ended(uid, replace(entry, output_tail=tail)))

    def told(self, uid: str, through_ms: int) -> None:
        """The ledger has everything up to here. Does nothing where there is nothing to forget."""
        if any(slot <= through_ms for slot in self._entries.get(uid, ())) or through_ms > self.latest(uid):
            self._note(Told(uid, through_ms))

    def end_lost(self, reason: str) -> None:
        """The boot that began them is over."""
        for uid, slot_ms in self.begun():
            self.end(uid, SliceEntry(slot_ms, RunState.LOST, reason, started_ms=slot_ms))

    def flush(self) -> None:
        """Make all durable that was noted. OSError: it is not; what was noted is kept for the next try."""
        if not self._pending and not self._outgrown:
            return
        if self._outgrown or (self._bytes > REWRITE_BYTES and self._bytes > REWRITE_FACTOR * self._size()):
            self._rewrite()
        else:
            self._append(NAME, self._pending)
            self._disk.sync(NAME)
        self._pending, self._outgrown = [], False

    def close(self) -> None:
        self._disk.close()

    # Inside.

    def _note(self, record: Record) -> None:
        self._take(record)
        if len(self._pending) < PENDING_MAX:
            self._pending.append(record)
        else:
            self._pending, self._outgrown = [], True

    def _take(self, record: Record) -> None:
        match record:
            case Planned(uid, index, plan):
                self.index = max(self.index, index)
                if plan is None:
                    self.plans.pop(uid, None)
                else:
                    self.plans[uid] = plan
            case Begun(uid, slot_ms):
                self._begun.setdefault(uid, {})[slot_ms] = None
                self._latest[uid] = max(self.latest(uid), slot_ms)
            case Ended(uid, entry, folded):
                self._drop(self._begun, uid, [entry.slot_ms])
                self._latest[uid] = max(self.latest(uid), entry.slot_ms)
                self._enter(uid, entry, folded)
            case Told(uid, through_ms):
                self._latest[uid] = max(self.latest(uid), through_ms)
                gone = [slot for slot in self._entries.get(uid, ()) if slot <= through_ms]
                self._count -= len(gone)
                self._drop(self._entries, uid, gone)
                if gone:
                    self._folded.pop(uid, None)

    def _enter(self, uid: str, entry: SliceEntry, folded: int) -> None:
        table = self._entries.setdefault(uid, {})
        self._count += entry.slot_ms not in table
        table[entry.slot_ms] = entry
        if folded:
            self._folded[uid] = folded
        while len(table) > GAP_SLOTS_MAX or self._count > KEPT_MAX:
            fullest = uid if len(table) > GAP_SLOTS_MAX else max(self._entries, key=lambda u: len(self._entries[u]))
            self._drop(self._entries, fullest, [min(self._entries[fullest])])
            self._folded[fullest] = self._folded.get(fullest, 0) + 1
            self._count -= 1

    @staticmethod
    def _drop(table: dict[str, dict[int, None]] | dict[str, dict[int, SliceEntry]], uid: str, slots: list[int]) -> None:
        inner = table.get(uid)
        if inner is None:
            return
        for slot_ms in slots:
            inner.pop(slot_ms, None)
        if not inner:
            del table[uid]

    # The file.

    def _recover(self) -> tuple[int, int]:
        raw = self._disk.read(NAME) if NAME in self._disk.names() else b""
        offset = sound = bad = 0
        while offset < len(raw):
            payload = frame_at(raw, offset)
            if payload is None:
                following = raw.find(MAGIC, offset + 1)
                offset = following if following >= 0 else len(raw)
                continue
            bad += offset - sound
            offset += HEADER.size + len(payload)
            sound = offset
            bad += self._read(payload)
        if sound < len(raw):
            self._disk.truncate(NAME, sound)
        self._bytes = sound
        return len(raw) - sound, bad

    def _read(self, payload: bytes) -> int:
        """Bytes that could not be understood: a newer version's."""
        try:
            records = unpack_records(payload)
        except ValueError as error:
            log.warning("slice_record_unreadable", extra={"reason": str(error)})
            return len(payload)
        for record in records:
            self._take(record)
        return 0

    def _append(self, name: str, records: list[Record]) -> None:
        for first in range(0, len(records), FRAME_RECORDS_MAX):
            data = frame(pack_records(records[first : first + FRAME_RECORDS_MAX]))
            self._disk.append(name, data)
            self._bytes += len(data)

    def _rewrite(self) -> None:
        """All that is known, in a file of its own that takes the place of the old one at once."""
        fresh = f"{NAME}.new"
        if fresh in self._disk.names():
            self._disk.remove(fresh)
        self._bytes = 0
        self._append(fresh, self._all())
        self._disk.sync(fresh)
        self._disk.publish(fresh, NAME)

    def _all(self) -> list[Record]:
        records: list[Record] = [Planned(uid, self.index, plan) for uid, plan in self.plans.items()]
        records += [Told(uid, latest_ms) for uid, latest_ms in self._latest.items() if uid in self.plans]
        records += [Begun(uid, slot_ms) for uid, slot_ms in self.begun()]
        for uid, table in self._entries.items():
            folded = self._folded.get(uid, 0)
            records += [Ended(uid, table[slot_ms], folded if not n else 0) for n, slot_ms in enumerate(sorted(table))]
        return records

    def _size(self) -> int:
        """What a new file would take, roughly: entries are a few hundred bytes, jobs about a thousand."""
        return 300 * (self._count + len(self._latest)) + 1_000 * len(self.plans)
