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
from itertools import islice
from typing import Any, Final

from prometheus_client.core import Metric

from peercron import __version__
from peercron.core.apply.queue import line_of
from peercron.core.lease import LeaseKind
from peercron.core.limits import TALLIED_JOBS_MAX
from peercron.core.queue import Queue, oldest_ms
from peercron.core.state import ClusterState
from peercron.core.tally import ENDS, UNMADE, WORDS, Tally
from peercron.http.families import MS_PER_S, by_one, counter, counters, gauge, gauges, histogram
from peercron.http.port import NodePort
from peercron.meters import Meters, Readings

#: Queues that are told one by one, the oldest; items of the others are told together.
QUEUES_SHOWN_MAX: Final = 100
OTHER: Final = ("", "other")
#: A queue that nothing has touched since the start is looked through only if it has no more items than this.
LINE_BUILT_MAX: Final = 1_000
#: Told of each job from its first run on: what never failed is at nought, so that the first failure is an increase.
ENDED: Final = {"succeeded": 0, "failed": 0}
CLUSTER: Final = "Of the cluster, the same on every node: "


def families(node: NodePort, now_ms: int) -> list[Metric]:
    """All of them, as they are now. `now_ms`: the wall clock, UTC."""
    state, readings, status = node.state, node.readings(), node.status()
    tally = state.tally or Tally()
    return [
        *_node(node, status),
        *_consensus(node, readings, status),
        *_meters(node.meters),
        *_clock(readings),
        *_members(state, status, leads=readings.leads),
        *_jobs(state, tally, readings, now_ms),
        *_runs(state, tally),
        *_queues(state, tally, now_ms),
        *_locks(state, tally),
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


def _consensus(node: NodePort, at: Readings, status: dict[str, Any]) -> Iterator[Metric]:
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


def _jobs(state: ClusterState, tally: Tally, at: Readings, now_ms: int) -> Iterator[Metric]:
    paused = len(tally.paused)
    samples = by_one({"active": len(state.jobs) - paused, "paused": paused})
    yield gauges("peercron_jobs", f"{CLUSTER}jobs, by state.", ("state",), samples)
    yield gauge("peercron_cluster_paused", f"{CLUSTER}whether all schedules are stopped.", state.paused)
    yield gauge(
        "peercron_planner_overdue_seconds",
        "For how long the first thing that the leader plans for has been due; told by the leader.",
        max(0, now_ms - (at.due_ms if at.due_ms is not None else now_ms)) / MS_PER_S if at.leads else None,
    )
    yield histogram(
        "peercron_run_start_lateness_seconds",
        f"{CLUSTER}from when a slot was due (after its jitter) to when its first attempt had started.",
        tally.lateness_ms,
        per_s=MS_PER_S,
    )
    yield counters(
        "peercron_slots_without_run",
        f"{CLUSTER}slots that were skipped or missed, by reason.",
        ("outcome", "reason"),
        {(outcome, word): tally.unmade[outcome, word] for outcome in sorted(UNMADE) for word in WORDS},
    )


def _runs(state: ClusterState, tally: Tally) -> Iterator[Metric]:
    made = dict.fromkeys(("schedule", "hand", "event"), 0) | tally.created
    yield counters("peercron_runs_created", f"{CLUSTER}runs, by what made them.", ("by",), by_one(made))
    ended = {(*job, outcome): n for job, ends in tally.runs.items() for outcome, n in (ENDED | ends).items()}
    yield counters(
        "peercron_runs_finished",
        f"{CLUSTER}runs that have ended, by outcome, of the first {TALLIED_JOBS_MAX} jobs, and of all others.",
        ("namespace", "job_name", "outcome"),
        ended,
    )
    yield gauge("peercron_runs_alive", f"{CLUSTER}runs and shards that have not ended.", len(state.runs))
    waiting = len(state.unplaced)
    yield gauge("peercron_runs_waiting", f"{CLUSTER}runs whose turn has come and that have no node yet.", waiting)
    running = {row.info.name: len(state.live_attempts.get(id_, ())) for id_, row in state.members.items()}
    yield gauges("peercron_attempts_running", f"{CLUSTER}live attempts, by member.", ("member",), by_one(running))
    done = dict.fromkeys(sorted(ENDS), 0) | tally.attempts
    yield counters(
        "peercron_attempts_finished",
        f"{CLUSTER}attempts that have ended, by outcome; lost: their node was gone.",
        ("outcome",),
        by_one(done),
    )
    again = dict.fromkeys(("failed", "lost", "timed_out"), 0) | tally.retries
    yield counters(
        "peercron_run_retries",
        f"{CLUSTER}attempts that another one is to follow, by how they ended.",
        ("after",),
        by_one(again),
    )
    yield histogram(
        "peercron_attempt_duration_seconds",
        f"{CLUSTER}from the start of an attempt to its end.",
        tally.duration_ms,
        per_s=MS_PER_S,
    )


def _queues(state: ClusterState, tally: Tally, now_ms: int) -> Iterator[Metric]:
    shown = list(islice(state.queues.values(), QUEUES_SHOWN_MAX))
    items = {(queue.namespace, queue.name): float(len(state.items.get(queue.key, ()))) for queue in shown}
    if len(state.queues) > len(shown):
        items[OTHER] = state.item_count - sum(items.values())
    labels = ("namespace", "queue")
    yield gauge("peercron_queues", f"{CLUSTER}queues.", len(state.queues))
    yield gauges(
        "peercron_queue_items",
        f"{CLUSTER}items of the first {QUEUES_SHOWN_MAX} queues, and of all others.",
        labels,
        items,
    )
    lines = {queue: line for queue in shown if (line := _line(state, queue)) is not None}
    in_flight = {(queue.namespace, queue.name): float(line.in_flight) for queue, line in lines.items()}
    yield gauges("peercron_queue_items_in_flight", f"{CLUSTER}items that somebody works on.", labels, in_flight)
    dead = {
        (queue.namespace, queue.name): float(len(state.items.get(f"{queue.namespace}/{queue.dead_letter_name}", ())))
        for queue in shown
    }
    yield gauges("peercron_queue_dead_letters", f"{CLUSTER}items that were given up and lie aside.", labels, dead)
    ages = {(queue.namespace, queue.name): _oldest_age_s(state, queue, now_ms) for queue in shown}
    yield gauges(
        "peercron_queue_oldest_item_age_seconds",
        f"{CLUSTER}for how long the item has been there, or not delayed any more, that came first.",
        labels,
        ages,
    )
    died = tally.events["queue", "dead_letter"]
    yield counter("peercron_dead_letters", f"{CLUSTER}items that were given up.", died)
    yield gauge("peercron_queue_payload_bytes", f"{CLUSTER}payloads of all items.", state.item_bytes)


def _line(state: ClusterState, queue: Queue) -> Any:
    items = state.items.get(queue.key, {})
    known = queue.key in state.lines or len(items) <= LINE_BUILT_MAX
    return line_of(state, queue.key) if known else None


def _oldest_age_s(state: ClusterState, queue: Queue, now_ms: int) -> float:
    since_ms = oldest_ms(state.items.get(queue.key, {}).values(), now_ms)
    return (now_ms - since_ms) / MS_PER_S if since_ms is not None else 0.0


def _locks(state: ClusterState, tally: Tally) -> Iterator[Metric]:
    yield gauge("peercron_locks_held", f"{CLUSTER}locks that somebody holds, or has just lost.", len(state.lock_grants))
    yield gauge("peercron_lock_waiters", f"{CLUSTER}those who stand in line for a lock.", state.lock_waiting)
    lost = tally.events["lock", "lost"]
    yield counter("peercron_locks_lost", f"{CLUSTER}grants that ended without having been released.", lost)
    kinds = {kind.value: tally.leases[kind.value] for kind in LeaseKind}
    yield gauges(
        "peercron_leases", f"{CLUSTER}leases, by what ends with them; client: sessions.", ("kind",), by_one(kinds)
    )
    gone = tally.events["client", "lost"]
    yield counter("peercron_client_sessions_lost", f"{CLUSTER}sessions of clients that ended by time-out.", gone)
    yield gauge("peercron_keys", f"{CLUSTER}keys of the shared state.", state.key_count)
    yield counters(
        "peercron_events",
        f"{CLUSTER}what has happened, by kind of what it happened to.",
        ("kind", "what"),
        tally.events,
    )
