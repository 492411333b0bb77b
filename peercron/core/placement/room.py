"""Room: how many more items of its queue a job may work on, on all nodes together."""

from __future__ import annotations

from peercron.core.apply.queue import line_of
from peercron.core.capacity import count
from peercron.core.job import Job
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX
from peercron.core.placement.eligibility import eligible
from peercron.core.posting import posted_run, waits_in_queue
from peercron.core.state import ClusterState


def room_for(state: ClusterState, job: Job) -> int:
    """How many more items a job with a queue could work on at once. Its own runs that wait there take no room."""
    limits, live = job.definition.concurrency, state.live_runs.get(job.uid, ())
    if len(live) >= LIVE_RUNS_PER_JOB_MAX and not _is_own(state, job):
        return 0
    free = sum(limits.per_node - count(state, job.uid, node.info.id) for node in eligible(state, job.definition))
    busy = [run for run_id in live if not waits_in_queue(run := state.runs[run_id])]
    waiting = sum(run.live_attempt is None for run in busy)
    most = min(limits.per_job or LIVE_RUNS_PER_JOB_MAX, LIVE_RUNS_PER_JOB_MAX)
    return max(0, min(free - waiting, most - len(busy)))


def _is_own(state: ClusterState, job: Job) -> bool:
    """Whether the next item needs no new run: it stands for one of the job's."""
    queue = job.definition.queue
    head = line_of(state, queue).next
    run = posted_run(state, queue, head) if head is not None else None
    return run is not None and run.job_uid == job.uid
