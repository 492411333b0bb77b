"""Explain: why a job is running or is not, and what it waits for, from the state alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peercron.core.apply.queue import line_of
from peercron.core.capacity import pool_use
from peercron.core.history import last_entry
from peercron.core.job import Job, ManualTrigger, Mode, Trigger
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.core.placement import barred
from peercron.core.placement.lacking import lacks, target_of
from peercron.core.run import Run
from peercron.core.schedule import ScheduleError, next_slot
from peercron.core.slice_duty import bound_to_miss
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.views import instant

#: Coming slots of a job in slices that are looked at for those that nobody will start.
SLICE_SLOTS_EXPLAINED = 20


def explain(state: ClusterState, job: Job) -> dict[str, Any]:
    """`why`: sentences for people, the most telling first; beside them what they were made of."""
    live = [state.runs[run_id] for run_id in state.live_runs.get(job.uid, ())]
    nodes = {member.info.name: barred(state, job.definition, member) for member in state.members.values()}
    return {
        "job": job.key,
        "why": [*_stopped(state, job), *_alive(state, live), *_to_come(state, job), *_places(state, job, nodes)],
        "nodes": [{"node": name, "may_run": not why, "why": why} for name, why in nodes.items()],
        "heard": {key: said.outcome.value for key, said in state.joins.get(job.uid, {}).items()},
    }


def _stopped(state: ClusterState, job: Job) -> Iterator[str]:
    if state.paused:
        yield "the cluster is paused: slots are skipped until `peercron resume`"
    if job.paused:
        yield f"the job is paused: its slots are skipped until `peercron job resume {_name(job)}`"
    if state.stage is not None and state.stage.ending:
        yield "everything makes room for a snapshot: nothing is started"


def _alive(state: ClusterState, live: list[Run]) -> Iterator[str]:
    for run in live:
        attempt = run.live_attempt
        if attempt is not None:
            member = state.members.get(attempt.member)
            where = member.info.name if member else attempt.member
            asked = "; it was asked to end" if run.cancel_requested else ""
            yield f"run {run.id} is running on {where} since {instant(attempt.assigned_ms)}{asked}"
        else:
            until = f" until {instant(run.not_before_ms)}" if run.not_before_ms > state.now_ms else ""
            yield f"run {run.id} waits{until}: {run.reason.removeprefix('waits ') or 'for its turn'}"


def _to_come(state: ClusterState, job: Job) -> Iterator[str]:
    next_ms = state.cursors[job.uid].next_ms
    if job.definition.after:
        heard = state.joins.get(job.uid, {})
        waits = [key for key in job.definition.after if key not in heard]
        known = [f"{key} {said.outcome.value}" for key, said in heard.items()]
        yield f"it runs after {', '.join(waits)}" + (f"; {', '.join(known)} already" if known else "")
    elif started_by := _occasion(job):
        yield started_by
    elif job.definition.mode is Mode.SLICE:
        yield f"its slots belong to the nodes in turn: `peercron job next {_name(job)}`"
        yield from _bound_to_miss(state, job)
    elif next_ms is None:
        yield "its next slot is not computed yet: the leader does that"
    elif next_ms == -1:
        yield "its schedule has no slot any more"
    else:
        yield f"its next slot is {instant(next_ms)}"
    last = last_entry(state, job.uid)
    if last is not None:
        why = f": {last.reason}" if last.reason else ""
        yield f"its last slot, {instant(last.slot_ms)}, {last.outcome.value}{why}"


def _bound_to_miss(state: ClusterState, job: Job) -> Iterator[str]:
    """Of a job in slices: how many of its coming slots the guard band takes."""
    slot_ms: int | None = state.now_ms
    whys: list[str] = []
    try:
        while unled(job.definition) and len(whys) < SLICE_SLOTS_EXPLAINED and slot_ms is not None:
            slot_ms = next_slot(job.definition.trigger, slot_ms, job.uid)
            if slot_ms is not None:
                whys.append(bound_to_miss(state.slices[job.uid].shares, slot_ms))
    except ScheduleError:  # this machine cannot read what another could
        return
    if missed := [why for why in whys if why]:
        yield f"of its next {len(whys)} slots {len(missed)} will be missed: of the first, {missed[0]}"


def _occasion(job: Job) -> str:
    """What starts a job that has no slots to come, "" where a schedule does."""
    trigger: Trigger = job.definition.trigger
    match trigger:
        case ConditionTrigger(condition):
            return f"it runs each time this comes true: {condition}"
        case HookTrigger():
            return f"it runs at each POST /v1/hooks/{_name(job)}"
        case EventTrigger(namespace, name):
            return f"it runs at each event {namespace}/{name}"
        case QueueTrigger(namespace, name):
            return f"it runs whenever something is put into queue {namespace}/{name}"
        case ProbeTrigger(_, well):
            return f"it runs whenever what is probed becomes {'well' if well else 'bad'}"
        case ManualTrigger() if job.definition.queue:
            return f"it runs for each item of queue {job.definition.queue}"
        case ManualTrigger():
            return "it has no schedule: it runs when it is asked to"
        case _:
            return ""


def _places(state: ClusterState, job: Job, nodes: dict[str, str]) -> Iterator[str]:
    queue, pool = job.definition.queue, job.definition.pool
    if queue:
        line = line_of(state, queue)
        yield f"queue {queue}: {line.ready} wait, {line.delayed} are delayed, {line.in_flight} are in somebody's hands"
    if pool and pool in state.pools:
        waiting = len(state.pool_lines.get(pool, ()))
        yield f"pool {pool}: {pool_use(state, pool)} of {state.pools[pool]} run, {waiting} wait"
    elif pool:
        yield f"there is no pool {pool}: nothing starts; `peercron pool set {pool} SIZE` makes it"
    if target := target_of(job.definition):
        without = [m.info.name for m in state.members.values() if lacks(state, job.definition, m)]
        if without:
            yield f"class {target} is not on {', '.join(without)}: they are asked again when there is nobody else"
    if nodes and all(nodes.values()):
        yield "no node may run it: " + "; ".join(f"{name}: {why}" for name, why in nodes.items())


def _name(job: Job) -> str:
    return job.key.removeprefix("default/")
