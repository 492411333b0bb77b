"""Simulation: what would run where and when: the production planner, dispatcher and apply under a clock that leaps.

Every run is taken to succeed after as long as the job's last success took, or as is assumed. Nodes neither come nor go,
and do at once what they are asked to: of those who contend, the first by the order of the members is the first to ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush, merge
from types import MappingProxyType

from peercron.core.apply import apply
from peercron.core.commands import (
    ApplyJobs,
    AttemptFinished,
    AttemptReady,
    AttemptStarted,
    Command,
    Contend,
    ExpireSession,
    Fire,
    OpenSession,
    ReportHealth,
    SetCalendar,
)
from peercron.core.dispatcher import Announce, Ask, Forgo, Instruction, Release, Start, Stop, TellReady, decide
from peercron.core.happening import Happening
from peercron.core.health import HealthReport
from peercron.core.history import entries_of, runs_of
from peercron.core.job import Definition
from peercron.core.level import LEVEL
from peercron.core.member import Member, MemberInfo
from peercron.core.planner import Planner
from peercron.core.run import Attempt, AttemptState, LedgerEntry, Run, RunState
from peercron.core.slice_simulation import slice_happenings
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.verdict import Refused

#: Outcomes of slots that got no run.
_UNMADE = frozenset({RunState.SKIPPED, RunState.MISSED})


def cluster_of(
    definitions: tuple[Definition, ...],
    nodes: tuple[str, ...],
    now_ms: int,
    calendars: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> ClusterState:
    """A cluster of these nodes, calendars (name -> rules) and jobs, as it would be right after the jobs were applied,
    and every check had found every node well.

    Raises:
        ValueError: the cluster would refuse them; the message says why.
    """
    state = ClusterState()
    for name in nodes:
        apply(state, OpenSession(MemberInfo(name, name, f"{name}:7400", f"{name}:8400", level=LEVEL), 1), now_ms)
    days: list[Command] = [SetCalendar(name, rules) for name, rules in calendars.items()]
    for command in (*days, ApplyJobs(definitions)):
        verdict = apply(state, command, now_ms)
        if isinstance(verdict, Refused):
            raise ValueError(verdict.detail)  # noqa: TRY004 - of what was asked, not of a type
    for uid, job in state.jobs.items():
        for name in nodes if job.definition.checks else ():
            well = tuple([HealthReport(uid, check.name, name, well=True) for check in job.definition.checks])
            apply(state, ReportHealth(name, 1, well), now_ms)
    return state


def without(state: ClusterState, node: str) -> bool:
    """Let a node be down; False: there is none of this name."""
    member = next((member for member in state.members.values() if member.info.name == node), None)
    if member is None:
        return False
    apply(state, ExpireSession(member.info.id, member.session), state.now_ms)
    return True


def simulate(state: ClusterState, *, from_ms: int, through_ms: int, lasting_ms: int) -> Iterator[Happening]:
    """What happens from one instant through another, in order of time. The state is used up; stop taking to stop."""
    span = {"from_ms": from_ms, "through_ms": through_ms}
    uids = [job.uid for job in state.jobs.values() if unled(job.definition)]
    own = [slice_happenings(state, uid, **span, lasting_ms=_lasts_ms(state, uid, lasting_ms)) for uid in uids]
    led = _Run(state, lasting_ms).happenings(from_ms, through_ms)
    yield from merge(led, *own, key=lambda happening: happening.at_ms)


def _lasts_ms(state: ClusterState, uid: str, lasting_ms: int) -> int:
    """As long as the job's last success took, or as is assumed."""
    for past in runs_of(state, uid):
        for last in _last_attempts(past):
            if last.state is AttemptState.SUCCEEDED and last.started_ms and last.finished_ms:
                return max(1, last.finished_ms - last.started_ms)
    return lasting_ms


def _last_attempts(run: Run) -> list[Attempt]:
    """The last one of the run, and of each of its shards that have ended."""
    return [attempts[-1] for attempts in (run.attempts, *(shard.attempts for shard in run.ended)) if attempts]


class _Run:
    def __init__(self, state: ClusterState, lasting_ms: int) -> None:
        self._state, self._lasting_ms = state, lasting_ms
        self._planner = Planner(state)
        #: (run, token) of the attempts that their nodes have taken on.
        self._taken: dict[tuple[str, int], None] = {}
        #: (when, run, token) of the attempts that are taken to be alive until then.
        self._ends: list[tuple[int, str, int]] = []

    def happenings(self, from_ms: int, through_ms: int) -> Iterator[Happening]:
        now_ms = max(from_ms, self._state.now_ms)
        self._take_over(now_ms)
        while now_ms <= through_ms:
            yield from self._settle(now_ms)
            dues = [self._planner.next_due_ms(), self._ends[0][0] if self._ends else None]
            coming = [due_ms for due_ms in dues if due_ms is not None]
            if not coming:
                return
            now_ms = max(now_ms, min(coming))
            self._end(now_ms)

    def _take_over(self, now_ms: int) -> None:
        """What has started already does not start again."""
        for held in self._state.live_attempts.values():
            for run_id, token in held.items():
                attempt = self._state.runs[run_id].live_attempt
                if attempt is not None and attempt.started_ms is not None:
                    self._taken[run_id, token] = None
                    self._end_later(run_id, token, max(now_ms, attempt.started_ms + self._lasts_ms(run_id)))

    def _settle(self, now_ms: int) -> Iterator[Happening]:
        """Plan, apply and let the nodes do their part, until there is nothing more to say at this instant."""
        moved = True
        while moved:
            commands = self._planner.plan(now_ms)
            for command in commands:
                self._planner.settle(command, apply(self._state, command, now_ms))
                if isinstance(command, Fire):
                    yield from self._unmade(command, now_ms)
            told = [(member, what) for member in self._state.members.values() for what in self._told(member)]
            for member, instruction in told:
                yield from self._carry_out(member, instruction, now_ms)
            moved = bool(commands or told)

    def _told(self, member: Member) -> list[Instruction]:
        return decide(self._state, member.info.id, member.session, self._taken_by(member.info.id))

    def _taken_by(self, member_id: str) -> list[tuple[str, int]]:
        held = self._state.live_attempts.get(member_id, {})
        return [each for each in held.items() if each in self._taken]

    def _carry_out(self, member: Member, instruction: Instruction, now_ms: int) -> Iterator[Happening]:
        """As a node does it, in no time."""
        match instruction:
            case Ask(run_id):
                self._say(Contend(run_id, member.info.id, member.session), now_ms)
            case Announce(run_id, token):
                self._say(AttemptStarted(run_id, token, now_ms), now_ms)
            case TellReady(run_id, token):
                self._say(AttemptReady(run_id, token), now_ms)
            case Start(run, attempt, held=True):
                self._taken[run.id, attempt.token] = None
            case Start(run, attempt):
                self._taken[run.id, attempt.token] = None
                yield self._start(run.id, attempt.token, member, now_ms)
            case Release(run_id, token):
                yield self._start(run_id, token, member, now_ms)
            case Stop(run_id, token, reason) | Forgo(run_id, token, reason):
                self._taken.pop((run_id, token), None)
                self._say(AttemptFinished(run_id, token, AttemptState.CANCELLED, now_ms, reason=reason), now_ms)

    def _start(self, run_id: str, token: int, member: Member, now_ms: int) -> Happening:
        self._say(AttemptStarted(run_id, token, now_ms), now_ms)
        self._end_later(run_id, token, now_ms + self._lasts_ms(run_id))
        run = self._state.runs[run_id]
        return Happening(now_ms, run.job_key, run.slot_ms, "starts", member.info.name)

    def _say(self, command: Command, now_ms: int) -> None:
        apply(self._state, command, now_ms)

    def _lasts_ms(self, run_id: str) -> int:
        return _lasts_ms(self._state, self._state.runs[run_id].job_uid, self._lasting_ms)

    def _end_later(self, run_id: str, token: int, at_ms: int) -> None:
        heappush(self._ends, (at_ms, run_id, token))

    def _unmade(self, fire: Fire, now_ms: int) -> Iterator[Happening]:
        found: list[LedgerEntry] = []
        for entry in reversed(list(entries_of(self._state, fire.job_uid))):
            if entry.slot_ms <= fire.after_ms:
                break
            found.append(entry)
        job = self._state.jobs[fire.job_uid]
        for entry in reversed(found):
            if entry.outcome in _UNMADE and entry.slot_ms in fire.slots:
                yield Happening(now_ms, job.key, entry.slot_ms, entry.outcome.value, reason=entry.reason)

    def _end(self, now_ms: int) -> None:
        while self._ends and self._ends[0][0] <= now_ms:
            _, run_id, token = heappop(self._ends)
            if (run_id, token) in self._taken:  # else it was cancelled
                del self._taken[run_id, token]
                self._say(AttemptFinished(run_id, token, AttemptState.SUCCEEDED, now_ms, exit_code=0), now_ms)
