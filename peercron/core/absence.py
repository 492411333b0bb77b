"""Absence: the leader's duty about jobs in slices, which fire without it: who shares the time, and what is told of
those who are gone.

What a node did in its slices it tells by itself, also long after. Only who does not belong to the cluster any more, or
never did, has nobody to speak for it but the leader.
"""

from __future__ import annotations

from collections.abc import Iterator

from peercron.core.agenda import Agenda
from peercron.core.commands import ArrangeSlices, RecordSlices
from peercron.core.job import Job
from peercron.core.limits import ABSENCES_PER_PLAN_MAX, GAP_SLOTS_MAX, SLICE_ENTRIES_PER_RECORD_MAX
from peercron.core.roster import roster
from peercron.core.run import RunState
from peercron.core.schedule import ScheduleError
from peercron.core.slices import INSTANT_NEVER, Own, SliceEntry, stands_for_all
from peercron.core.state import ClusterState

#: After what should not be refused was refused, or a trigger could not be read here.
REST_MS = 60_000
AT_ONCE = -1


class Absence:
    """What to propose for jobs in slices, from one state.

    >>> Absence(ClusterState()).plan(now_ms=1_000)
    []
    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        #: Jobs with nodes that are gone, by when the next slot of one of those is due.
        self._due = Agenda()
        self._telling: dict[str, RecordSlices] = {}
        #: As of which revision of the roster time was found to be shared as it should be.
        self._arranged_at = -1

    def look(self, uid: str) -> None:
        """The job, its slices or what was told of them has changed."""
        if uid not in self._telling:
            self._due.put(uid, AT_ONCE)

    def plan(self, now_ms: int) -> list[RecordSlices | ArrangeSlices]:
        """What to propose now; it is not proposed again until it is settled."""
        plans: list[RecordSlices | ArrangeSlices] = [*self._arrangement()]
        if plans:
            return plans  # whether the time of who is gone is another's now makes a difference
        for _ in range(ABSENCES_PER_PLAN_MAX):
            uid = self._due.pop(now_ms)
            if uid is None:
                break
            job = self._state.jobs.get(uid)
            if job is not None and uid in self._state.slices:
                plans += self._tell(job, now_ms)
        return plans

    def settle(self, command: RecordSlices | ArrangeSlices, rest_ms: int) -> None:
        """A proposal of `plan` has its answer; `rest_ms`: it was refused."""
        if isinstance(command, ArrangeSlices):
            self._arranged_at = -1
        elif self._telling.pop(command.job_uid, None) is not None:
            self._due.put(command.job_uid, self._state.now_ms + rest_ms if rest_ms else AT_ONCE)

    def next_ms(self) -> int | None:
        """When there is something to look at; None: when the state changes."""
        if self._state.slices and self._arranged_at != self._state.roster_revision:
            return self._state.now_ms
        return self._due.next_ms()

    def _arrangement(self) -> Iterator[ArrangeSlices]:
        """Where the roster has changed: does anybody share the time who should not, or the other way round?"""
        state = self._state
        if not state.slices or self._arranged_at == state.roster_revision:
            return
        self._arranged_at = state.roster_revision
        jobs = [state.jobs[uid] for uid in state.slices if uid in state.jobs]
        for job in jobs:
            self.look(job.uid)
        if any(roster(state, job.definition) != state.slices[job.uid].shares[-1].nodes for job in jobs):
            yield ArrangeSlices(state.roster_revision)

    def _tell(self, job: Job, now_ms: int) -> Iterator[RecordSlices]:
        try:
            told, due_ms = absence(self._state, job, now_ms)
        except ScheduleError:  # this machine cannot read what another could; that shows in `problems` of other jobs
            told, due_ms = None, now_ms + REST_MS
        if told is not None:
            self._telling[job.uid] = told
            yield told
        elif due_ms < INSTANT_NEVER:
            self._due.put(job.uid, due_ms)


def absence(state: ClusterState, job: Job, now_ms: int) -> tuple[RecordSlices | None, int]:
    """What is to be told of a node of the job that is gone, and else when to look again. Raises ScheduleError."""
    shares, told = state.slices[job.uid].shares, state.slices_through.get(job.uid, {})
    due_ms = INSTANT_NEVER
    for name in dict.fromkeys(name for share in shares for name in share.nodes if not _belongs(state, name)):
        own = Own(name, job.definition.trigger, job.uid, shares)
        after_ms = max(told.get(name, -1), state.cursors[job.uid].after_ms)
        slots = own.between(after_ms, now_ms, GAP_SLOTS_MAX)
        if slots:
            listed = slots[:SLICE_ENTRIES_PER_RECORD_MAX]
            outcome, why = _fate(name, expected=name in shares[-1].nodes)
            entries = [SliceEntry(slot_ms, outcome, why) for slot_ms in listed]
            if len(slots) == GAP_SLOTS_MAX:
                entries[0] = stands_for_all(entries[0], after_ms)
            return RecordSlices(name, job.uid, tuple(entries), listed[-1]), now_ms
        _, next_ms = own.next_after(max(after_ms, now_ms))
        due_ms = min(due_ms, next_ms)
    return None, due_ms


def _belongs(state: ClusterState, name: str) -> bool:
    if state.seats:
        return any(seat.name == name for seat in state.seats.values())
    return any(member.info.name == name for member in state.members.values())


def _fate(name: str, *, expected: bool) -> tuple[RunState, str]:
    """Of slots of a node that does not belong to the cluster; `expected`: the job names it still."""
    if expected:
        return RunState.MISSED, f"there is no node {name}"
    return RunState.LOST, f"node {name} was removed before it told what became of it"
