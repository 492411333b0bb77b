"""Simulation: what would run where and when: the production planner and apply under a clock that leaps.

Every run is taken to succeed after as long as the job's last success took, or as is assumed. Nodes neither come nor go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush, merge
from types import MappingProxyType

from peercron.core.apply import apply
from peercron.core.commands import ApplyJobs, AttemptFinished, Command, ExpireSession, Fire, OpenSession, SetCalendar
from peercron.core.happening import Happening
from peercron.core.history import entries_of, runs_of
from peercron.core.job import Definition
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, LedgerEntry, RunState
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
    """A cluster of these nodes, calendars (name -> rules) and jobs, as it would be right after the jobs were applied.

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
        last = past.attempts[-1] if past.attempts else None
        if past.state is RunState.SUCCEEDED and last is not None and last.started_ms and last.finished_ms:
            return max(1, last.finished_ms - last.started_ms)
    return lasting_ms


class _Run:
    def __init__(self, state: ClusterState, lasting_ms: int) -> None:
        self._state, self._lasting_ms = state, lasting_ms
        self._planner = Planner(state)
        #: (when, run, token) of the attempts that are taken to be alive until then.
        self._ends: list[tuple[int, str, int]] = []
        self._seen: dict[int, None] = {}

    def happenings(self, from_ms: int, through_ms: int) -> Iterator[Happening]:
        now_ms = max(from_ms, self._state.now_ms)
        while now_ms <= through_ms:
            yield from self._settle(now_ms)
            dues = [self._planner.next_due_ms(), self._ends[0][0] if self._ends else None]
            coming = [due_ms for due_ms in dues if due_ms is not None]
            if not coming:
                return
            now_ms = max(now_ms, min(coming))
            self._end(now_ms)

    def _settle(self, now_ms: int) -> Iterator[Happening]:
        """Plan and apply until there is nothing more to say at this instant."""
        while commands := self._planner.plan(now_ms):
            for command in commands:
                self._planner.settle(command, apply(self._state, command, now_ms))
                if isinstance(command, Fire):
                    yield from self._unmade(command, now_ms)
            yield from self._started(now_ms)
        yield from self._started(now_ms)

    def _started(self, now_ms: int) -> Iterator[Happening]:
        for member_id, held in self._state.live_attempts.items():
            for run_id, token in held.items():
                if token in self._seen:
                    continue
                self._seen[token] = None
                run = self._state.runs[run_id]
                heappush(self._ends, (now_ms + _lasts_ms(self._state, run.job_uid, self._lasting_ms), run_id, token))
                name = self._state.members[member_id].info.name
                yield Happening(now_ms, run.job_key, run.slot_ms, "starts", name)

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
            apply(self._state, AttemptFinished(run_id, token, AttemptState.SUCCEEDED, now_ms, exit_code=0), now_ms)
