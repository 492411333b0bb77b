"""Room: how many more items of its queue a job may work on, on all nodes together."""

from __future__ import annotations

from peercron.core.capacity import count
from peercron.core.job import Job
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX
from peercron.core.placement.eligibility import eligible
from peercron.core.state import ClusterState


def room_for(state: ClusterState, job: Job) -> int:
    """How many more runs of a job with a queue would find a node at once."""
    limits, live = job.definition.concurrency, state.live_runs.get(job.uid, ())
    free = sum(limits.per_node - count(state, job.uid, node.info.id) for node in eligible(state, job.definition))
    waiting = sum(state.runs[run_id].live_attempt is None for run_id in live)
    most = min(limits.per_job or LIVE_RUNS_PER_JOB_MAX, LIVE_RUNS_PER_JOB_MAX)
    return max(0, min(free - waiting, most - len(live)))
