"""Meters: what a node counts of its own doings, in plain numbers, until somebody asks for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from peercron.core.histogram import Histogram

FLUSH_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
PROPOSAL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
SNAPSHOT_S: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)


@dataclass(slots=True)
class Meters:
    """Counted where it happens; all of it begins at nought with the process."""

    #: How long the disk took to have what the log was given in one turn.
    flush_s: Histogram = field(default_factory=lambda: Histogram(FLUSH_S))
    #: How much later than asked for the loop came back to the consensus' own timer.
    lag_s: Histogram = field(default_factory=lambda: Histogram(LAG_S))
    #: What became of proposals of this node, and how long those took that got a verdict.
    proposals: Counter[str] = field(default_factory=Counter)
    proposal_s: Histogram = field(default_factory=lambda: Histogram(PROPOSAL_S))
    #: Own snapshots: written or failed, how long the writing took, and how large the last one is.
    snapshots: Counter[str] = field(default_factory=Counter)
    snapshot_s: Histogram = field(default_factory=lambda: Histogram(SNAPSHOT_S))
    snapshot_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Readings:
    """How the consensus of a node stands at one moment."""

    leads: bool = False
    commit: int = 0
    applied: int = 0
    last: int = 0
    journal_bytes: int = 0
    #: How often this node stood for election, and saw the leader change, since it began.
    campaigns: int = 0
    leader_changes: int = 0
    #: Proposals of this node that wait for their verdict.
    pending: int = 0
    #: Peer -> its clock minus ours in ms, and ours minus the median of all.
    offsets_ms: dict[str, float] = field(default_factory=dict)
    deviation_ms: int = 0
    #: When the first thing that the leader plans for is due, UTC; None: nothing is, or this node does not lead.
    due_ms: int | None = None
