"""Placement: which member gets a run's next attempt, and why; one pure function per mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peercron.core.job import Job, Mode
from peercron.core.member import Member
from peercron.core.placement.choice import Choice
from peercron.core.placement.eligibility import barred, eligible, may_run
from peercron.core.placement.lacking import nobody_has, still_to_ask, target_of
from peercron.core.placement.queue import first_with_room
from peercron.core.placement.single import least_loaded
from peercron.core.placement.slices import slice_owner
from peercron.core.placement.standby import first_healthy
from peercron.core.placement.turns import head_of_line
from peercron.core.run import Run
from peercron.core.state import ClusterState

__all__ = ["MODES", "NO_NODE", "Choice", "barred", "choose", "eligible", "may_run", "placeable"]

NO_NODE = "no node that may run it is there"


def choose(state: ClusterState, job: Job, run: Run) -> Choice:
    """Who gets the next attempt. After one that failed or was lost, that is somebody else if the job wants it so; who
    does not have what the run does is passed over.
    """
    there = _there(state, job, run)
    if not there and (pinned := state.members.get(run.member)):
        why = barred(state, job.definition, pinned)
        return Choice(None, f"waits for {pinned.info.name}, where it belongs{f' ({why})' if why else ''}")
    candidates = still_to_ask(state, run.definition or job.definition, run, there)
    if there and not candidates:
        return Choice(None, f"{NO_NODE} and has {target_of(run.definition or job.definition)}")
    if not candidates:
        most = job.definition.concurrency.per_node
        return Choice(None, f"{NO_NODE} with less than {most} of it running" if most else NO_NODE)
    # A run that was begun alone goes on alone, also when others of its job are shared by now.
    return MODES.get(job.definition.mode, least_loaded)(state, job, run, candidates)


def _there(state: ClusterState, job: Job, run: Run) -> list[Member]:
    """Who may run it now. What started it may be on one node only; when that is removed, all others are alike."""
    there = eligible(state, job.definition)
    return [member for member in there if member.info.id == run.member] if run.member in state.members else there


def placeable(state: ClusterState, job: Job, run: Run) -> bool:
    """Whether there is somebody for the run to go to, or nobody will ever be."""
    definition = run.definition or job.definition
    there = still_to_ask(state, definition, run, _there(state, job, run))
    if definition.order:  # mode parallel: the others are not meant
        there = [member for member in there if member.info.name in definition.order]
    return bool(there or nobody_has(state, definition, run))


MODES: dict[Mode, Callable[[ClusterState, Job, Run, Sequence[Member]], Choice]] = {
    Mode.SINGLE: least_loaded,
    Mode.SLICE: slice_owner,
    Mode.STANDBY: first_healthy,
    Mode.TURNS: head_of_line,
    Mode.QUEUE: first_with_room,
}

#: Modes whose runs are shared by several members: see `core.shards`.
assert MODES.keys() | {Mode.PARALLEL, Mode.CONTEND} == set(Mode)
