"""Commands of slices: what nodes tell that fired by themselves, and whose time it is."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.slices import SliceEntry


@dataclass(frozen=True, slots=True)
class RecordSlices:
    """What became of a node's own slots of a job that needs no leader, in order; all up to `through_ms` are among them.

    Entries at or before what the node has told already are passed over, so that telling it twice is telling it once.
    Told by the node itself; for one that does not belong to the cluster any more, by the leader.
    """

    node: str
    job_uid: str
    entries: tuple[SliceEntry, ...]
    through_ms: int


@dataclass(frozen=True, slots=True)
class ArrangeSlices:
    """The leader saw that other nodes are to share the time of jobs in slices, as of this revision of the roster."""

    roster_revision: int
