"""Exposition: every metric that a node tells, with the sentence that explains it.

What is of the whole cluster (jobs, runs, queues, locks) is read from the replicated state: every node tells the same,
so that whoever adds nodes up counts twice; take the largest. What is of a node (its log, its loop, its clock, its HTTP)
is its own. Counters begin at nought with the process.

Labels are bounded: `job_name` (`job` is Prometheus' own) by TALLIED_JOBS_MAX and `queue` by QUEUES_SHOWN_MAX (what is
beyond is told as "other" in the namespace ""), `member` and `peer` by MEMBERS_MAX; all others have a few fixed values.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from prometheus_client.core import Metric

from peercron import __version__
from peercron.core.state import ClusterState
from peercron.core.tally import Tally
from peercron.http.census import CLUSTER, of_state
from peercron.http.families import MS_PER_S, by_one, counter, counters, gauge, gauges, histogram
from peercron.http.port import NodePort
from peercron.meters import Meters, Readings


def families(node: NodePort, now_ms: int) -> list[Metric]:
    """All of them, as they are now. `now_ms`: the wall clock, UTC."""
    state, readings, status = node.state, node.readings(), node.status()
    return [
        *_node(node, status),
        *_consensus(node, readings, status, now_ms),
        *_meters(node.meters),
        *_clock(readings),
        *_members(state, status, leads=readings.leads),
        *of_state(state, state.tally or Tally(), now_ms),
    ]


def _node(node: NodePort, status: dict[str, Any]) -> Iterator[Metric]:
    about = (__version__, platform.python_version(), node.name, status["cluster"])
    labels = ("version", "python", "node", "cluster")
    yield gauges("peercron_build_info", "What runs here; the value is 1.", labels, {about: 1})
    yield gauge("peercron_level", f"{CLUSTER}the level of the replicated language in force.", node.state.level)
    yield gauge(
        "peercron_data_dir_free_bytes", "Room on the disk of the data directory.", _free(node.settings.data_dir)
    )
    checks = {name: float(well) for name, well, _ in node.ready()}
    yield gauges("peercron_ready", "Whether each check of /readyz is well (1) or not (0).", ("check",), by_one(checks))


def _free(path: Any) -> float | None:
    with suppress(OSError):
        there = os.statvfs(path)
        return there.f_bavail * there.f_frsize
    return None


def _consensus(node: NodePort, at: Readings, status: dict[str, Any], now_ms: int) -> Iterator[Metric]:
    leader = node.leader() is not None
    yield gauge("peercron_has_leader", "Whether this node knows of a leader.", leader)
    yield gauge("peercron_is_leader", "Whether this node leads.", at.leads)
    yield gauge(
        "peercron_survives_members", "How many more voters may fail, as this node sees it.", status.get("survives")
    )
    yield gauge("peercron_voters", "Members that vote.", status.get("voters"))
    yield gauge("peercron_term", "The term of the consensus that this node is in.", node.term)
    yield counter("peercron_elections", "Elections in which this node stood.", at.campaigns)
    yield counter(
        "peercron_leader_changes", "How often this node saw another leader, or none any more.", at.leader_changes
    )
    yield gauge("peercron_log_commit_index", "The last entry that this node knows to be committed.", at.commit)
    yield gauge("peercron_log_applied_index", "The last entry that this node has applied.", at.applied)
    yield gauge("peercron_log_last_index", "The last entry of this node's log.", at.last)
    yield gauge("peercron_log_bytes", "Size of the log's newest segment; a snapshot begins another.", at.journal_bytes)
    yield gauge("peercron_state_index", "The last command applied here.", node.state.index)
    yield gauge("peercron_proposals_pending", "Proposals of this node that wait for their verdict.", at.pending)
    yield gauge(
        "peercron_planner_overdue_seconds",
        "For how long the first thing that the leader plans for has been due; told by the leader.",
        max(0, now_ms - (at.due_ms if at.due_ms is not None else now_ms)) / MS_PER_S if at.leads else None,
    )


def _meters(meters: Meters) -> Iterator[Metric]:
    yield counters(
        "peercron_proposals",
        "Proposals of this node, by what became of them; unknown_outcome: perhaps they were carried out.",
        ("outcome",),
        by_one(dict.fromkeys(("done", "refused", "no_leader", "busy", "unknown_outcome"), 0) | meters.proposals),
    )
    yield histogram(
        "peercron_proposal_duration_seconds", "From a proposal of this node to its verdict.", meters.proposal_s
    )
    yield histogram(
        "peercron_log_fsync_duration_seconds",
        "How long writing to the log and waiting for the disk took, per turn that had something to write.",
        meters.flush_s,
    )
    yield histogram(
        "peercron_event_loop_lag_seconds",
        "How much later than asked for the loop came back to a timer of the consensus.",
        meters.lag_s,
    )
    written = dict.fromkeys(("written", "failed"), 0) | meters.snapshots
    yield counters("peercron_snapshots", "Own snapshots, by what became of them.", ("outcome",), by_one(written))
    yield histogram("peercron_snapshot_duration_seconds", "How long writing own snapshots took.", meters.snapshot_s)
    yield gauge("peercron_snapshot_size_bytes", "Size of this node's newest snapshot.", meters.snapshot_bytes)


def _clock(at: Readings) -> Iterator[Metric]:
    offsets = {peer: ms / MS_PER_S for peer, ms in at.offsets_ms.items()}
    yield gauges("peercron_clock_offset_seconds", "A peer's clock minus this node's.", ("peer",), by_one(offsets))
    yield gauge(
        "peercron_clock_deviation_seconds",
        "This node's clock minus the median of all; 0 with fewer than three clocks.",
        at.deviation_ms / MS_PER_S,
    )


def _members(state: ClusterState, status: dict[str, Any], *, leads: bool) -> Iterator[Metric]:
    members = status["members"]
    states = Counter(row["state"] for row in members)
    yield gauges("peercron_members", "Members as this node sees them, by state.", ("state",), by_one(states))
    behind = {row["name"]: row["behind"] for row in members if leads and row.get("behind") is not None}
    yield gauges(
        "peercron_member_behind_entries",
        "Committed entries that a member is not known to have; told by the leader.",
        ("member",),
        by_one(behind),
    )
    rtt = {row["name"]: row["rtt_ms"] / MS_PER_S for row in members if leads and row.get("rtt_ms") is not None}
    yield gauges(
        "peercron_member_rtt_seconds", "Round trip to a member and back; told by the leader.", ("member",), by_one(rtt)
    )
    sessions = sum(member.open for member in state.members.values())
    yield gauge(
        "peercron_member_sessions", f"{CLUSTER}members whose session is open: they may run something.", sessions
    )
    yield gauge("peercron_members_drained", f"{CLUSTER}members that are given nothing more.", len(state.drained))
