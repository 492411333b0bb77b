"""Slices: this node's own slots of jobs in slices: fired by its clock, with no leader, and told when there is one.

It works from what it knows: the state while that is newer than what it has written down, else the jobs that it wrote
down. So a node that was cut off, or that came back to no quorum, goes on; it may be wrong about what was changed since.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from peercron.clock import Clock
from peercron.core.agenda import Agenda
from peercron.core.dispatcher import Start
from peercron.core.limits import GAP_SLOTS_MAX
from peercron.core.run import Attempt, AttemptState, Run, RunState
from peercron.core.schedule import ScheduleError
from peercron.core.slice_duty import Go, Mind, Plan, decide, plan_of, unfit_here
from peercron.core.slices import INSTANT_NEVER, SliceEntry, stands_for_all
from peercron.execution.attempt import OVERDUE
from peercron.execution.port import AttemptResult, AttemptSpec, Executor, Until
from peercron.machine import Machine
from peercron.node.slice_journal import SliceJournal
from peercron.node.slice_telling import Propose, SliceTelling
from peercron.node.slice_view import job_view

log = logging.getLogger(__name__)

#: Longest sleep between two looks, so that a wall clock that steps is noticed.
LOOK_S_MAX: Final = 1.0
#: A boot fires nothing before the clocks of others had this long to be heard.
SETTLE_S: Final = 2.0
#: After a trigger that cannot be read here.
REST_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Live:
    """An attempt of ours that is alive."""

    uid: str
    key: str
    slot_ms: int


class Slices:
    """The own slots of this node.

    Args:
        name: what the roster calls this node.
        machine: whose state knows the jobs.
        clock: wall time says what is due.
        journal: what was done already, on disk.
        spec: how an attempt is made here.
        doubt: why nothing may be started in slices at a wall time, given an instant that has been; empty: it may.
        propose: takes a command and a time-out in seconds.
        can_tell: whether there is a leader, and a session with it.
    """

    def __init__(
        self,
        name: Callable[[], str],
        machine: Machine,
        clock: Clock,
        journal: SliceJournal,
        spec: Callable[[Start], AttemptSpec],
        doubt: Callable[[int, int], str],
        propose: Propose,
        can_tell: Callable[[], bool],
    ) -> None:
        self._name, self._machine, self._clock, self._journal = name, machine, clock, journal
        self._spec, self._doubt = spec, doubt
        self.supervisor: Executor | None = None
        #: Jobs by their next own slot.
        self._due = Agenda()
        self._live: dict[tuple[str, int], Live] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._telling = SliceTelling(name, journal, propose, can_tell)
        #: As of the last look at all jobs.
        self._behind, self._generation, self._called = False, -1, ""
        self._started_ms, self._settled_s = 0, float("inf")
        #: Our doubt as of the last look; when the last one ended (wall time), and what it was.
        self._doubted, self._refused = "", (0, "")
        #: The node is on its way out: nothing is started any more.
        self.ending = False

    def start(self) -> None:
        """Nothing of an earlier boot runs any more: what it had begun is lost."""
        self._started_ms = self._clock.wall_ms()
        self._settled_s = self._clock.monotonic() + SETTLE_S
        self._journal.end_lost(f"node {self._name()} went down while it ran")
        if self._journal.cut_bytes or self._journal.bad_bytes:
            bytes_ = {"cut": self._journal.cut_bytes, "unreadable": self._journal.bad_bytes}
            log.warning("slice_journal_torn", extra=bytes_)
        self._flush()
        self._look_at_all()
        self._wake()

    def turn(self) -> None:
        """The state may have moved."""
        state = self._machine.state
        caught_up = self._behind and state.index >= self._journal.index
        if self._generation != self._machine.generation or self._called != self._name() or caught_up:
            self._look_at_all()
        elif not state.changed_slices:
            return
        changed, state.changed_slices = state.changed_slices or {}, {}
        for uid in changed:
            self._look(uid)
        self._flush()
        self._wake()

    def mind_the_clock(self) -> None:
        """Once in a while, so that it is known how the clocks came apart when they do."""
        self._ask_the_clock(self._clock.wall_ms())

    def is_ours(self, run_id: str, token: int) -> bool:
        return (run_id, token) in self._live

    def finished(self, result: AttemptResult) -> None:
        """The supervisor has seen the end of one of our attempts; a refusal is a failure: the slice is this node's."""
        live = self._live.pop((result.run_id, result.token))
        overdue = result.outcome is AttemptState.TIMED_OUT and result.reason == OVERDUE
        reason = f"its slice ended, with the guard band ({OVERDUE})" if overdue else result.reason
        outcome = RunState.FAILED if result.outcome is AttemptState.REFUSED else RunState(result.outcome.value)
        entry = SliceEntry(live.slot_ms, outcome, reason, result.started_ms, result.finished_ms, result.exit_code)
        entry = replace(entry, output_tail=result.output_tail)
        self._journal.end(live.uid, entry)
        log.info("slice_finished", extra={"job": live.key, "slot": live.slot_ms, "outcome": str(entry.outcome)})
        self._flush()
        self._wake()

    async def settle(self, seconds: float) -> None:
        """Wait until what can be told is told, for a while."""
        await self._telling.settle(seconds)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._telling.close()
        self._journal.close()

    # What people see.

    @property
    def name(self) -> str:
        """What the roster calls this node."""
        return self._name()

    @property
    def behind(self) -> bool:
        """The state of this boot does not know yet what we have written down: what it says of names is as old."""
        return self._machine.state.index < self._journal.index

    @property
    def doubt(self) -> str:
        """Why nothing is started in slices here, as of the last look; empty: it is, or there are none."""
        return self._doubted if self._journal.plans else ""

    def view(self) -> list[dict[str, Any]]:
        """Of each job in slices that this node knows: its next own slot, what runs, and what is not told yet."""
        now_ms, jobs = self._clock.wall_ms(), list[dict[str, Any]]()
        for uid, plan in self._journal.plans.items():
            running = [live.slot_ms for live in self._live.values() if live.uid == uid]
            after_ms = max(self._after_ms(plan), now_ms)
            jobs.append(job_view(plan, self._name(), after_ms, running, self._journal.entries(uid)))
        return jobs

    # What is due.

    def _look_at_all(self) -> None:
        """Another state, or another name: everything anew."""
        state = self._machine.state
        state.changed_slices = {}
        self._behind, self._generation, self._called = self.behind, self._machine.generation, self._name()
        for uid in {**state.slices, **self._journal.plans}:
            self._look(uid)

    def _look(self, uid: str) -> None:
        """Take in what the state says of a job, unless we know more than it does: a boot begins with an old state."""
        state, journal = self._machine.state, self._journal
        if state.index >= journal.index:
            journal.know(uid, state.index, plan_of(state, uid))
        through_ms = state.slices_through.get(uid, {}).get(self._name())
        if through_ms is not None:
            journal.told(uid, through_ms)
        if uid not in journal.plans:
            self._let_go(uid)
        self._plan_next(uid)

    def _let_go(self, uid: str) -> None:
        """The job was deleted, and what runs of it ends."""
        assert self.supervisor is not None
        for (run_id, token), live in self._live.items():
            if live.uid == uid:
                self.supervisor.stop(run_id, token, f"job {live.key} was deleted")

    def _plan_next(self, uid: str, decided_ms: int = -1) -> None:
        """When the job has its next own slot; all up to `decided_ms` are decided."""
        self._due.drop(uid)
        plan = self._journal.plans.get(uid)
        if plan is None:
            return
        try:
            slot_ms, looked_ms = plan.own(self._name()).next_after(max(self._after_ms(plan), decided_ms))
        except ScheduleError as error:  # our time zone data may be older than another's
            log.error("slices_unreadable", extra={"job": plan.job.key, "reason": str(error)})  # noqa: TRY400
            slot_ms, looked_ms = None, self._clock.wall_ms() + REST_MS
        if looked_ms < INSTANT_NEVER:
            self._due.put(uid, looked_ms if slot_ms is None else slot_ms)

    def _after_ms(self, plan: Plan) -> int:
        return max(self._journal.latest(plan.job.uid), plan.cursor.after_ms)

    def _wake(self) -> None:
        """Do what is due, and sleep until the next thing is."""
        if self._timer is not None:
            self._timer.cancel()
        now_ms = self._clock.wall_ms()
        if not self.ending and self._clock.monotonic() >= self._settled_s:
            self._fire(now_ms)
        self._telling.look()
        due_ms = self._due.next_ms()
        if (due_ms is not None or self._doubted) and not self.ending:
            wait_s = LOOK_S_MAX if due_ms is None or self._doubted else (due_ms - now_ms) / 1000
            sleep_s = min(max(0.0, wait_s, self._settled_s - self._clock.monotonic()), LOOK_S_MAX)
            self._timer = asyncio.get_running_loop().call_later(sleep_s, self._wake)

    def _fire(self, now_ms: int) -> None:
        if not self._doubted and (self._due.next_ms() or INSTANT_NEVER) > now_ms:
            return
        self._ask_the_clock(now_ms)
        if self._doubted:  # by a clock that runs ahead, what is still to come would be given up
            now_ms = min(now_ms, self._machine.state.now_ms)
        due = list(iter(lambda: self._due.pop(now_ms), None))
        now_s, started = self._clock.monotonic(), list[tuple[Plan, Go]]()
        for uid in due:
            plan = self._journal.plans[uid]
            try:
                started += [(plan, go) for go in self._decide(plan, now_ms)]
            except ScheduleError as error:
                log.error("slices_unreadable", extra={"job": plan.job.key, "reason": str(error)})  # noqa: TRY400
        written = self._flush()
        for plan, go in started:
            if written:
                self._launch(plan, go, now_s)
            else:
                reason = f"node {self._name()} could not write its journal of slices"
                self._journal.end(plan.job.uid, SliceEntry(go.slot_ms, RunState.MISSED, reason))
        for uid in due:
            self._plan_next(uid, decided_ms=now_ms)

    def _ask_the_clock(self, now_ms: int) -> None:
        """Are we to be trusted? What the cluster has stamped has been."""
        before, self._doubted = self._doubted, self._doubt(now_ms, self._machine.state.now_ms)
        if before:
            self._refused = (now_ms, before)
        if bool(before) != bool(self._doubted) and self._journal.plans:
            level, event = (logging.ERROR, "slices_refused") if self._doubted else (logging.INFO, "slices_resumed")
            log.log(level, event, extra={"reason": self._doubted or before})

    def _decide(self, plan: Plan, now_ms: int) -> list[Go]:
        """The own slots of the job that have come; what is not to be started is written down."""
        uid, after_ms = plan.job.uid, self._after_ms(plan)
        slots = plan.own(self._name()).between(after_ms, now_ms, GAP_SLOTS_MAX)
        doubt = self._doubted and f"node {self._name()} refuses its slices: {self._doubted}"
        alive = sum(live.uid == uid for live in self._live.values())
        doubt = doubt or unfit_here(self._machine.state, plan, self._name())
        mind = Mind(self._name(), now_ms, self._started_ms, doubt, alive, *self._refused)
        starts: list[Go] = []
        for n, what in enumerate(decide(plan, slots, mind)):
            if isinstance(what, Go):
                self._journal.begin(uid, what.slot_ms)
                starts.append(what)
            else:
                first_of_many = n == 0 and len(slots) == GAP_SLOTS_MAX
                self._journal.end(uid, stands_for_all(what, after_ms) if first_of_many else what)
        return starts

    def _launch(self, plan: Plan, go: Go, now_s: float) -> None:
        assert self.supervisor is not None
        job, slot_ms, now_ms = plan.job, go.slot_ms, self._clock.wall_ms()
        run_id, given = f"{job.uid}/{slot_ms}", job.definition.params
        attempt = Attempt(1, self._name(), 0, slot_ms, AttemptState.STARTED, slot_ms)
        run = Run(run_id, job.uid, job.key, slot_ms, False, RunState.RUNNING, now_ms, (attempt,), params=given)
        until = Until(now_s + go.room.stop_ms / 1000, now_s + go.room.kill_ms / 1000)
        self._live[run_id, slot_ms] = Live(job.uid, job.key, slot_ms)
        self.supervisor.launch(replace(self._spec(Start(run, attempt, job.definition)), until=until))
        log.info("slice_started", extra={"job": job.key, "run": run_id})

    def _flush(self) -> bool:
        try:
            self._journal.flush()
        except OSError as error:
            log.error("slice_journal_not_written", extra={"reason": error.strerror or str(error)})  # noqa: TRY400
            return False
        return True
