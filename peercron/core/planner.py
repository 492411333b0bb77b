"""Planner: the leader's duty: which cursors step and which waiting runs go, proposed as commands.

A planner reads the state and never changes it; a plan takes effect only as a command, and names what it was made from.
Everything here can be thrown away and built anew from any state, which is what a new leader does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from peercron.core import placement
from peercron.core.abandoning import Abandoning
from peercron.core.absence import Absence
from peercron.core.agenda import Agenda
from peercron.core.calendar import left_out
from peercron.core.capacity import job_full, pool_full
from peercron.core.commands import (
    AbandonRestore,
    ArrangeSlices,
    Command,
    Fire,
    GrantLock,
    PlaceRun,
    RecordSlices,
    TakeItem,
)
from peercron.core.exclusion import lock_taken, place_of
from peercron.core.feeding import Feeding
from peercron.core.granting import Granting
from peercron.core.limits import (
    CURSORS_READ_PER_PLAN_MAX,
    FIRES_PER_PLAN_MAX,
    JOBS_SEEN_PER_PLAN_MAX,
    PLACEMENTS_PER_PLAN_MAX,
    PLANS_IN_FLIGHT_MAX,
    SLOTS_LISTED_PER_PLAN_MAX,
)
from peercron.core.run import RunState
from peercron.core.schedule import ScheduleError
from peercron.core.shards import barriers, waits, with_shards
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.steps import step, still_open
from peercron.core.verdict import Refusal, Refused, Verdict

#: How long a refused plan rests. A race is planned again from what is now there; a defect must not fill the log.
REST_AFTER_MS = {
    Refusal.STALE_PLAN: 0,
    Refusal.NOT_FOUND: 0,
    Refusal.NOT_READY: 0,
    Refusal.STALE_SESSION: 100,
    Refusal.LIMIT: 100,
}
REST_AFTER_DEFECT_MS = 60_000

#: Due since ever: comes before everything that has an instant.
AT_ONCE = -1


class Planner:
    """Plans for one state, on the leader. Build a new one for another state (a snapshot) or another term.

    >>> planner = Planner(ClusterState())
    >>> planner.plan(now_ms=1_000), planner.next_due_ms()
    ([], None)
    """

    def __init__(self, state: ClusterState, *, leading_since_ms: int = 0) -> None:
        """`leading_since_ms`: when this leader began to lead, UTC; slots before it went by without a quorum."""
        self._state = state
        self._leading_since_ms = leading_since_ms
        state.changed_jobs = {}
        self._roster_revision = state.roster_revision
        self._now_ms = state.now_ms
        #: Jobs by their next slot; jobs whose next slot nobody has computed; runs that wait for a node.
        self._due, self._unread, self._waiting = Agenda(), Agenda(), Agenda()
        #: Jobs and waiting runs that were there before us and that we have not looked at: they are many, and a new
        #: leader has other things to do too.
        self._unseen_jobs, self._unseen_runs = deque(state.cursors), deque([*state.unplaced, *barriers(state)])
        #: Plans without an answer yet: job uid -> its Fire, run id -> its PlaceRun.
        self._firing: dict[str, Fire] = {}
        self._placing: dict[str, PlaceRun] = {}
        #: Those of them whose hurdles may have gone since they were planned.
        self._called: dict[str, None] = {}
        #: Of a restore that nobody goes on with.
        self._abandoning = Abandoning(state)
        #: Of jobs whose nodes fire them by themselves: what nobody else can say.
        self._absence = Absence(state)
        #: What concerns locks.
        self._granting = Granting(state)
        #: Of jobs that work through queues.
        self._feeding = Feeding(state)
        #: Job uid -> why its plan was refused or could not be made, for people.
        self.problems: dict[str, str] = {}

    def close(self) -> None:
        """The leader is none any more: the state need not note changes for this planner."""
        self._state.changed_jobs = None
        self._granting.close()
        self._feeding.close()

    def plan(self, now_ms: int) -> list[Command]:
        """What to propose now. `now_ms`: the leader's wall clock, UTC; time that the state has seen does not go back.

        What was proposed is not proposed again until it is settled or the state has moved.
        """
        self.observe()
        self._look_around()
        self._now_ms = max(now_ms, self._state.now_ms)
        grants = self._granting.plan(self._now_ms, self._room())
        takes = self._feeding.plan(self._now_ms, self._room())
        absent = self._absence.plan(self._now_ms)
        return [*grants, *takes, *self._placements(), *self._steps(), *absent, *self._abandoning.plan(self._now_ms)]

    def observe(self) -> None:
        """Take in what commands have changed since the last look. `plan` does it by itself."""
        changed, self._state.changed_jobs = self._state.changed_jobs, {}
        for uid in changed or ():
            self._look_at_job(uid)
            for run_id in self._state.live_runs.get(uid, ()):
                self._look_at_runs(with_shards(self._state, run_id))
        self._granting.observe()
        self._feeding.observe()
        if self._roster_revision != self._state.roster_revision:
            self._roster_revision = self._state.roster_revision
            self._unseen_runs = deque(self._state.unplaced)
            self._feeding.look_everywhere()

    def settle(self, command: Command, verdict: Verdict | None) -> None:
        """A proposal of `plan` has its answer; None: it is not known, or it could not be proposed."""
        rest_ms = 0
        if isinstance(verdict, Refused):
            rest_ms = REST_AFTER_MS.get(verdict.code, REST_AFTER_DEFECT_MS)
        if isinstance(command, Fire):
            self._settle_fire(command, rest_ms, verdict)
        elif isinstance(command, PlaceRun):
            self._settle_placement(command, rest_ms, verdict)
        elif isinstance(command, RecordSlices | ArrangeSlices):
            self._absence.settle(command, rest_ms)
        elif isinstance(command, GrantLock):
            self._granting.settle(command, verdict, self._now_ms)
        elif isinstance(command, TakeItem):
            self._feeding.settle(command, verdict, self._now_ms)
        elif isinstance(command, AbandonRestore):
            self._abandoning.settle(command, verdict)

    def next_due_ms(self) -> int | None:
        """When `plan` will have something to say, as UTC; at or before now: already. None: when the state changes."""
        state = self._state
        if (
            self._unseen_jobs
            or self._unseen_runs
            or state.changed_jobs
            or self._roster_revision != state.roster_revision
        ):
            return state.now_ms
        if not self._room():
            return None
        parts = (self._due, self._unread, self._waiting, self._absence, self._granting, self._feeding, self._abandoning)
        dues = (part.next_ms() for part in parts)
        return min((due_ms for due_ms in dues if due_ms is not None), default=None)

    def _look_around(self) -> None:
        """Look at some of what was there before us. What has changed since then was looked at already, or will be."""
        for _ in range(min(JOBS_SEEN_PER_PLAN_MAX, len(self._unseen_jobs))):
            uid = self._unseen_jobs.popleft()
            if uid not in self._firing:
                self._look_at_job(uid)
        seen = min(JOBS_SEEN_PER_PLAN_MAX, len(self._unseen_runs))
        self._look_at_runs([self._unseen_runs.popleft() for _ in range(seen)])

    def _room(self) -> int:
        """How many more plans may be under way."""
        under_way = len(self._firing) + len(self._placing) + len(self._granting) + len(self._feeding)
        return max(0, PLANS_IN_FLIGHT_MAX - under_way)

    def _look_at_job(self, uid: str) -> None:
        """Put the job where its cursor says it belongs, unless a plan made from this very cursor is on its way."""
        self._feeding.look(uid)
        job, cursor = self._state.jobs.get(uid), self._state.cursors.get(uid)
        fire = self._firing.get(uid)
        if fire is not None and job is not None and cursor is not None and still_open(fire, job, cursor):
            return
        self._firing.pop(uid, None)
        self._due.drop(uid)
        self._unread.drop(uid)
        self.problems.pop(uid, None)
        if job is not None and unled(job.definition):
            self._absence.look(uid)
            return
        if cursor is None or cursor.next_ms == -1:
            return
        if cursor.next_ms is None:
            self._unread.put(uid, AT_ONCE)
        else:
            self._due.put(uid, cursor.next_ms)

    def _look_at_runs(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            if not waits(self._state, run_id):
                self._placing.pop(run_id, None)
            elif run_id in self._placing:
                self._called[run_id] = None
            else:
                self._waiting.put(run_id, self._ready_ms(run_id))

    def _steps(self) -> list[Fire]:
        """Fires that are due first; new jobs have a share of their own, so that neither starves the other."""
        fires: list[Fire] = []
        listed = 0
        for agenda, most in ((self._due, FIRES_PER_PLAN_MAX), (self._unread, CURSORS_READ_PER_PLAN_MAX)):
            for _ in range(most):
                uid = agenda.pop(self._now_ms) if listed < SLOTS_LISTED_PER_PLAN_MAX and self._room() else None
                if uid is None:
                    break
                fire = self._step(uid)
                if fire is not None:
                    listed += len(fire.slots) + fire.later
                    fires.append(fire)
        return fires

    def _step(self, uid: str) -> Fire | None:
        job, cursor = self._state.jobs[uid], self._state.cursors[uid]
        try:
            fire = step(job, cursor, self._now_ms, self._leading_since_ms)
            if out := left_out(job, self._state.calendars, fire.slots):
                fire = replace(fire, left_out=out)
        except ScheduleError as error:
            why = str(error)  # this machine cannot read what another could: its time zone data may be older
        except Exception as error:  # noqa: BLE001 nothing has changed, and one job's defect must not stop the others
            why = f"defect: {type(error).__name__}: {error}"
        else:
            self._firing[uid] = fire
            return fire
        self._rest_job(uid, REST_AFTER_DEFECT_MS, why)
        return None

    def _placements(self) -> list[PlaceRun]:
        """Waiting runs for which a node is there; for the others, a change of the roster or of the job calls again."""
        places: list[PlaceRun] = []
        for _ in range(PLACEMENTS_PER_PLAN_MAX):
            run_id = self._waiting.pop(self._now_ms) if self._room() else None
            if run_id is None:
                break
            if waits(self._state, run_id) and self._has_node(run_id):
                self._placing[run_id] = PlaceRun(run_id)
                places.append(self._placing[run_id])
        return places

    def _has_node(self, run_id: str) -> bool:
        run = self._state.runs[run_id]
        if run.state is RunState.RUNNING:
            return True  # its barrier has waited for long enough
        job = self._state.jobs[run.job_uid]
        in_line = run_id in self._state.pool_lines.get(job.definition.pool, ())
        if place_of(self._state, job, run) and lock_taken(self._state, job, run):
            return False  # who gives the lock back calls again
        if job_full(self._state, job, run) or (in_line and pool_full(self._state, job, run)):
            return False  # the end of another run, or a larger pool, calls again
        # Of a shard: if its node is gone, that is to be said too.
        return in_line or bool(run.parent or placement.placeable(self._state, job, run))

    def _ready_ms(self, run_id: str) -> int:
        """Since or from when a waiting run may have its attempt."""
        run = self._state.runs[run_id]
        return (run.not_before_ms if run_id in self._state.unplaced else run.barrier_by_ms) or AT_ONCE

    def _settle_fire(self, command: Fire, rest_ms: int, verdict: Verdict | None) -> None:
        if self._firing.get(command.job_uid) != command:
            return
        del self._firing[command.job_uid]
        self._look_at_job(command.job_uid)
        if rest_ms and isinstance(verdict, Refused) and command.job_uid in self._state.jobs:
            self._rest_job(command.job_uid, rest_ms, f"{verdict.code.value}: {verdict.detail}")

    def _rest_job(self, uid: str, rest_ms: int, why: str) -> None:
        self._unread.drop(uid)
        self._due.put(uid, self._now_ms + rest_ms)
        self.problems[uid] = why

    def _settle_placement(self, command: PlaceRun, rest_ms: int, verdict: Verdict | None) -> None:
        run_id = command.run_id
        if self._placing.pop(run_id, None) is None or not waits(self._state, run_id):
            return
        called = run_id in self._called
        self._called.pop(run_id, None)
        early = called or self._ready_ms(run_id) > self._state.now_ms
        if isinstance(verdict, Refused) and verdict.code is Refusal.NOT_READY and not early:
            return
        self._waiting.put(run_id, max(self._now_ms + rest_ms if rest_ms else AT_ONCE, self._ready_ms(run_id)))
