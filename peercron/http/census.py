"""Census: the cluster in numbers, from the replicated state and what was counted beside it: the same on every node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from prometheus_client.core import Metric

from peercron.core.apply.queue import line_of
from peercron.core.lease import LeaseKind
from peercron.core.limits import TALLIED_JOBS_MAX
from peercron.core.queue import Queue, oldest_ms
from peercron.core.state import ClusterState
from peercron.core.tally import ENDS, UNMADE, WORDS, Tally
from peercron.http.families import MS_PER_S, by_one, counter, counters, gauge, gauges, histogram

#: Queues that are told one by one, the oldest; items of the others are told together.
QUEUES_SHOWN_MAX: Final = 100
OTHER: Final = ("", "other")
#: A queue that nothing has touched since the start is looked through only if it has no more items than this.
LINE_BUILT_MAX: Final = 1_000
#: Told of each job from its first run on: what never failed is at nought, so that the first failure is an increase.
ENDED: Final = {"succeeded": 0, "failed": 0}
CLUSTER: Final = "Of the cluster, the same on every node: "


def of_state(state: ClusterState, tally: Tally, now_ms: int) -> Iterator[Metric]:
    """All of them. `now_ms`: the wall clock, UTC."""
    yield from _jobs(state, tally)
    yield from _runs(state, tally)
    yield from _queues(state, tally, now_ms)
    yield from _locks(state, tally)


def _jobs(state: ClusterState, tally: Tally) -> Iterator[Metric]:
    paused = len(tally.paused)
    samples = by_one({"active": len(state.jobs) - paused, "paused": paused})
    yield gauges("peercron_jobs", f"{CLUSTER}jobs, by state.", ("state",), samples)
    yield gauge("peercron_cluster_paused", f"{CLUSTER}whether all schedules are stopped.", state.paused)
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
    last = {job: at_ms / MS_PER_S for job, at_ms in tally.succeeded_ms.items()}
    yield gauges(
        "peercron_job_last_success_timestamp_seconds",
        f"{CLUSTER}when a run of the job last succeeded, of the first {TALLIED_JOBS_MAX} that ran.",
        ("namespace", "job_name"),
        last,
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
    yield gauge("peercron_access_tokens", f"{CLUSTER}access tokens; with none everybody is let in.", len(state.tokens))
    yield gauge("peercron_keys", f"{CLUSTER}keys of the shared state.", state.key_count)
    yield counters(
        "peercron_events",
        f"{CLUSTER}what has happened, by kind of what it happened to.",
        ("kind", "what"),
        tally.events,
    )
