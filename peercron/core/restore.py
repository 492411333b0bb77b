"""Stage: a snapshot on its way into a running cluster, a part at a time, until it is adopted or given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """What is known of a restore under way; the parts themselves are in `ClusterState.staged`."""

    #: Made from the snapshot's content, so that the same file sent again goes on where it was.
    restore_id: str
    #: state.index at its beginning: no two stages share one.
    begun: int
    parts: int
    #: Bytes that the parts will have together, and those that have come.
    size: int
    arrived: int
    #: When it was last added to.
    touched_ms: int
    #: What runs in the cluster is being ended to make room: nothing is granted any more.
    ending: bool = False
