"""Order: jobs that come after others are told of their ends, and run when they have heard of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from peercron.core.apply import ledger
from peercron.core.apply.run import admit
from peercron.core.job import Definition, Job
from peercron.core.limits import FOLLOWERS_MAX
from peercron.core.order import Heard, cycle, verdict_on
from peercron.core.pace import Require
from peercron.core.run import RunState
from peercron.core.state import ClusterState


def flaw_of_order(state: ClusterState, wanted: Mapping[str, Definition], gone: Collection[str]) -> str:
    """Why these definitions (by key) cannot be put and these jobs not be deleted, as one; empty: they can.

    Upstreams have to be there and stay there, nobody waits for itself, and no job is followed by too many.
    """
    ordered = [key for key, definition in wanted.items() if definition.after]
    for key in ordered:
        missing = [up for up in wanted[key].after if up not in wanted and (up not in state.job_uids or up in gone)]
        if missing:
            return f"after: there is no job {missing[0]}, after which {key} comes"
    for key in gone:
        left = [by for by in _followers(state, key) if by not in gone and by not in wanted]
        if left:
            return f"after: job {key} is there for {', '.join(left)}: edit or delete that first"
    added = Counter(up for key in ordered for up in wanted[key].after if key not in _followers(state, up))
    crowded = [up for up, more in added.items() if len(_followers(state, up)) + more > FOLLOWERS_MAX]
    if crowded:
        return f"after: {crowded[0]} is followed by more than {FOLLOWERS_MAX} jobs"
    circle = cycle(ordered, lambda key: _after(state, wanted, key))
    return f"after: they wait for each other: {' after '.join(circle)}" if circle else ""


def link(state: ClusterState, job: Job, before: Definition | None) -> None:
    """Let the job follow those of its definition, and no others any more; it begins to hear of them anew."""
    old, new = before.after if before is not None else (), job.definition.after
    if before is not None and (old, before.require) == (new, job.definition.require):
        return
    state.joins.pop(job.uid, None)
    for upstream in old:
        if upstream not in new:
            _leave(state, job, upstream)
    for upstream in new:
        if upstream not in old:
            state.followers[upstream] = (*state.followers.get(upstream, ()), job.uid)


def unlink(state: ClusterState, job: Job) -> None:
    """The job is deleted: it follows nobody, and has heard nothing."""
    for upstream in job.definition.after:
        _leave(state, job, upstream)
    state.joins.pop(job.uid, None)


def tell_followers(state: ClusterState) -> None:
    """The last deed of a command: what ended by it is told to those who come after; one job's skip may be another's
    news, so it goes on until there is none.
    """
    events = Counter[str]()
    while state.ended:
        ended, state.ended = state.ended, []
        for upstream, said in ended:
            for uid in state.followers.get(upstream, ()):
                _hear(state, state.jobs[uid], upstream, said, events)


def _hear(state: ClusterState, job: Job, upstream: str, said: Heard, events: Counter[str]) -> None:
    if job.definition.require is Require.ANY_SUCCEEDED:
        if said.outcome is RunState.SUCCEEDED:
            _fire(state, job, "", events)
        return
    heard = state.joins.setdefault(job.uid, {})
    heard[upstream] = said
    if len(heard) == len(job.definition.after):
        del state.joins[job.uid]
        _fire(state, job, verdict_on(job.definition.require, heard), events)


def _fire(state: ClusterState, job: Job, why_not: str, events: Counter[str]) -> None:
    """The event is a slot of the job: a run comes of it, or an entry that says why none does."""
    events[job.uid] += 1
    run_id = ledger.run_id_of_event(job.uid, state.index, events[job.uid])
    state.touch(job.uid)
    if job.paused or state.paused:
        why = ledger.PAUSED if job.paused else ledger.CLUSTER_PAUSED
        ledger.record_slot(state, job.uid, run_id, state.now_ms, RunState.SKIPPED, why)
    elif why_not:
        ledger.record_slot(state, job.uid, run_id, state.now_ms, RunState.SKIPPED, why_not)
        state.ended.append((job.key, Heard(RunState.SKIPPED, run_id)))
    else:
        admit(state, job, run_id, state.now_ms)


def _leave(state: ClusterState, job: Job, upstream: str) -> None:
    left = tuple(uid for uid in state.followers[upstream] if uid != job.uid)
    if left:
        state.followers[upstream] = left
    else:
        del state.followers[upstream]


def _followers(state: ClusterState, key: str) -> list[str]:
    return [state.jobs[uid].key for uid in state.followers.get(key, ())]


def _after(state: ClusterState, wanted: Mapping[str, Definition], key: str) -> tuple[str, ...]:
    if key in wanted:
        return wanted[key].after
    return state.jobs[state.job_uids[key]].definition.after
