"""Shards: how a run gets them, and how it keeps those that have ended. What is due of them: `core.shards`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from peercron.core.job import Job, Mode
from peercron.core.limits import BARRIER_MS_MAX
from peercron.core.member import Member
from peercron.core.placement.parallel import shared_by
from peercron.core.run import Run, RunState, Shard
from peercron.core.shards import shard_id
from peercron.core.state import ClusterState


def spread(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> bool:
    """The run's turn has come: it gets a shard for each of its nodes, or the nodes are asked who contends for it.

    False: `order` names nobody who is there.
    """
    definition = run.definition or job.definition
    if definition.mode is Mode.CONTEND:
        state.contests[run.id] = tuple([member.info.id for member in candidates])
        _begin(state, run, job, shards=run.shards)
        return True
    members = shared_by(state, definition, run, candidates)
    if not members:
        return False
    parent = _begin(state, run, job, shards=len(members))
    for n, member in enumerate(members):
        add(state, parent, n, member.info.id)
    return True


def _begin(state: ClusterState, run: Run, job: Job, *, shards: int) -> Run:
    definition = run.definition or job.definition
    by_ms = state.now_ms + BARRIER_MS_MAX if definition.mode is Mode.PARALLEL and definition.sync else 0
    begun = replace(
        run,
        state=RunState.RUNNING,
        reason="",
        definition=definition,
        not_before_ms=0,
        shards=shards,
        barrier_by_ms=by_ms,
    )
    state.runs[run.id] = begun
    state.unplaced.pop(run.id, None)
    return begun


def add(state: ClusterState, parent: Run, n: int, member_id: str) -> None:
    """One more shard, queued."""
    name = shard_id(parent.id, n)
    state.runs[name] = Run(
        *(name, parent.job_uid, parent.job_key, parent.slot_ms, parent.manual, RunState.QUEUED),
        created_ms=state.now_ms,
        definition=parent.definition,
        params=parent.params,
        parent=parent.id,
        shard=n,
        shards=parent.shards,
        member=member_id,
    )


def keep(state: ClusterState, ended: Run) -> None:
    """The shard has ended: its run keeps what there is to know of it."""
    parent = state.runs[ended.parent]
    assert ended.finished_ms is not None, "who has ended has done so at some time"
    row = Shard(ended.shard, ended.member, ended.state, ended.attempts, ended.finished_ms, ended.reason)
    state.runs[parent.id] = replace(parent, ended=(*parent.ended, row))


def note(run: Run, shard: Run) -> Run:
    """The run, alive or ended, with the attempts of this ended shard as they are now."""
    kept = [replace(row, attempts=shard.attempts) if row.n == shard.shard else row for row in run.ended]
    return replace(run, ended=tuple(kept))
