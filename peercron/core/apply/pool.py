"""Pools: how many attempts of all jobs that share one may be alive, and the line of those that wait for it."""

from __future__ import annotations

from itertools import islice

from peercron.core.apply.definition import named
from peercron.core.apply.hold import until_its_time
from peercron.core.capacity import job_full, pool_full, pool_use
from peercron.core.commands import DeletePool, SetPool
from peercron.core.job import Job
from peercron.core.limits import POOL_SIZE_MAX, POOLS_MAX
from peercron.core.run import Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def set_pool(state: ClusterState, command: SetPool) -> Verdict:
    """The answer is the size; those that wait are called if there is room for them now."""
    if not named(command.name):
        return Refused(state.index, Refusal.INVALID, f"name: {command.name!r} is not a name of letters, digits, . _ -")
    if not 0 <= command.size <= POOL_SIZE_MAX:
        return Refused(state.index, Refusal.INVALID, f"size: wants 0 (nothing runs) to {POOL_SIZE_MAX}")
    if command.name not in state.pools and len(state.pools) >= POOLS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {POOLS_MAX} pools")
    state.pools[command.name] = command.size
    state.happened("pool", "set", command.name, size=command.size)
    call(state, command.name)
    return Done(state.index, command.size)


def delete_pool(state: ClusterState, command: DeletePool) -> Verdict:
    if command.name not in state.pools:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no pool {command.name}")
    user = next((job.key for job in state.jobs.values() if job.definition.pool == command.name), None)
    if user is not None:
        return Refused(state.index, Refusal.CONFLICT, f"job {user} is in pool {command.name}; edit that first")
    del state.pools[command.name]
    state.happened("pool", "deleted", command.name)
    return Done(state.index, command.name)


def stand(state: ClusterState, run: Run) -> None:
    """A run that waits stands in the line of its pool if that is what it waits for, and in no other."""
    job = state.jobs[run.job_uid]
    if not (until_its_time(state, job, run) or job_full(state, job, run)) and pool_full(state, job, run):
        state.pool_lines.setdefault(job.definition.pool, {}).setdefault(run.id, state.index)
    else:
        leave(state, run)


def missing_in_line(state: ClusterState, job: Job, run: Run) -> bool:
    """Whether the run waits for its pool and does not stand in the line yet: its job was edited since."""
    pool = job.definition.pool
    return bool(pool_full(state, job, run)) and run.id not in state.pool_lines.get(pool, {})


def leave(state: ClusterState, run: Run) -> None:
    """The run waits for no pool any more; those behind it may have room now."""
    for name in tuple(state.pool_lines) if state.pool_lines else ():
        line = state.pool_lines[name]
        if line.pop(run.id, None) is not None:
            if not line:
                del state.pool_lines[name]
            call(state, name)


def call(state: ClusterState, name: str) -> None:
    """Note for the planner which runs of the line have room now."""
    room = state.pools.get(name, 0) - pool_use(state, name)
    for run_id in islice(state.pool_lines.get(name, {}), max(0, room)):
        state.touch(state.runs[run_id].job_uid)
