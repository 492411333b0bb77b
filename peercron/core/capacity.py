"""Capacity: how many attempts may be alive at once: of a job, of a job on one node, and of a pool that jobs share.

Who finds a pool full stands in its line; who is not at the front lets those before it go first, so that a pool is fair
over all its jobs. The counts are kept beside the state and are counted anew whenever they are not there.
"""

from __future__ import annotations

from collections.abc import Iterator

from peercron.core.job import Definition, Job
from peercron.core.run import Run
from peercron.core.state import ClusterState


def job_full(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run has to wait for others of its job; empty: it has not."""
    most = job.definition.concurrency.per_job
    if not most or count(state, job.uid) < most:
        return ""
    return f"{most} of its job run already (concurrency.per_job)"


def node_full(state: ClusterState, definition: Definition, member_id: str) -> str:
    """Why the member is given no more of the job; empty: it may have more."""
    most = definition.concurrency.per_node
    if not most:
        return ""
    uid = state.job_uids.get(f"{definition.namespace}/{definition.name}", "")
    return f"{most} of the job run there already (concurrency.per_node)" if count(state, uid, member_id) >= most else ""


def pool_full(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run has to wait for its pool; empty: it has none, or there is room for it and all before it."""
    name = job.definition.pool
    if not name:
        return ""
    size = state.pools.get(name)
    if size is None:
        return f"there is no pool {name}; `peercron pool set {name} SIZE` makes it"
    used, ahead = pool_use(state, name), _ahead(state, name, run.id)
    if used + ahead < size:
        return ""
    return f"pool {name} is full: {used} of {size} run, {ahead} before it wait"


def pool_use(state: ClusterState, name: str) -> int:
    """Live attempts that count for the pool."""
    return _counts(state).get(_pool_key(name), 0)


def count(state: ClusterState, job_uid: str, member_id: str = "") -> int:
    """Live attempts of a job, on one member or on all."""
    return _counts(state).get(f"{job_uid}\n{member_id}" if member_id else job_uid, 0)


def occupy(state: ClusterState, run: Run, member_id: str) -> None:
    """The run has been granted an attempt on this member."""
    if state.occupied is not None:
        for key in _keys(run, member_id):
            state.occupied[key] = state.occupied.get(key, 0) + 1


def release(state: ClusterState, run: Run, member_id: str) -> None:
    """The run's attempt there has ended."""
    if state.occupied is not None:
        for key in _keys(run, member_id):
            state.occupied[key] -= 1
            if not state.occupied[key]:
                del state.occupied[key]


def counted(state: ClusterState) -> dict[str, int]:
    """All counts, from the live attempts themselves."""
    found: dict[str, int] = {}
    for member_id, held in state.live_attempts.items():
        for run_id in held:
            for key in _keys(state.runs[run_id], member_id):
                found[key] = found.get(key, 0) + 1
    return found


def _counts(state: ClusterState) -> dict[str, int]:
    if state.occupied is None:
        state.occupied = counted(state)
    return state.occupied


def _keys(run: Run, member_id: str) -> Iterator[str]:
    yield run.job_uid
    yield f"{run.job_uid}\n{member_id}"
    if run.definition is not None and run.definition.pool:
        yield _pool_key(run.definition.pool)


def _pool_key(name: str) -> str:
    return f"\n{name}"


def _ahead(state: ClusterState, name: str, run_id: str) -> int:
    line = state.pool_lines.get(name, {})
    return list(line).index(run_id) if run_id in line else len(line)
