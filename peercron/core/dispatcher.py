"""Dispatcher: each member's duty: what to start and what to stop here, from what the state says and what runs here.

Level, not edge: the difference is computed anew each time, so a restart, a snapshot or a missed event needs no special
case. An instruction comes again until its effect shows in `state` or in `running`; who carries it out remembers what is
under way (instructions other than Start are small and hashable).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from peercron.core.job import Definition, Guarantee
from peercron.core.run import Attempt, AttemptState, Run
from peercron.core.shards import at_barrier
from peercron.core.state import ClusterState

SUPERSEDED = "the attempt is not this node's any more"
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Start:
    """Spawn the attempt; say AttemptStarted when it is there."""

    run: Run
    attempt: Attempt
    definition: Definition
    #: Prepare it only: it starts when the barrier of its run opens.
    held: bool = False


@dataclass(frozen=True, slots=True)
class Announce:
    """Propose AttemptStarted, and spawn nothing yet: with at_most_once the log hears of the start before it happens."""

    run_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Forgo:
    """Nothing was spawned, and nothing shall be: propose AttemptFinished as cancelled."""

    run_id: str
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process tree of the attempt: TERM, grace, KILL."""

    run_id: str
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class TellReady:
    """If it is prepared, propose AttemptReady."""

    run_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Release:
    """The barrier has opened: what was prepared starts now."""

    run_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A run of mode contend wants to know who contends for it: propose Contend."""

    run_id: str


Instruction = Start | Announce | Forgo | Stop | TellReady | Release | Ask


def decide(
    state: ClusterState, member_id: str, session: int, running: Collection[tuple[str, int]]
) -> list[Instruction]:
    """What this member has to do now, in the order of the grants.

    `running`: (run id, token) of every attempt that this boot has taken on and whose end is not yet in the state: also
    of one whose process has ended and whose report is on its way, or it would be started twice.
    """
    held = _held(state, member_id, session)
    instructions: list[Instruction] = []
    for run_id, token in held.items():
        instruction = _toward(state, state.runs[run_id], token, (run_id, token) in running)
        if instruction is not None:
            instructions.append(instruction)
    strays = [(run_id, token) for run_id, token in running if held.get(run_id) != token]
    return [
        *instructions,
        *(Stop(run_id, token, SUPERSEDED) for run_id, token in strays),
        *(Ask(run_id) for run_id in _asked(state, member_id, session)),
    ]


def _held(state: ClusterState, member_id: str, session: int) -> dict[str, int]:
    """Run id -> token of the live attempts of this session; a session that is not the open one holds nothing."""
    return state.live_attempts.get(member_id, {}) if _is_open(state, member_id, session) else {}


def _asked(state: ClusterState, member_id: str, session: int) -> list[str]:
    """Runs that this session is asked whether it contends for."""
    if not state.contests or not _is_open(state, member_id, session):
        return []
    return [run_id for run_id, called in state.contests.items() if member_id in called]


def _is_open(state: ClusterState, member_id: str, session: int) -> bool:
    member = state.members.get(member_id)
    return member is not None and member.open and member.session == session


def _toward(state: ClusterState, run: Run, token: int, here: bool) -> Instruction | None:
    """The step that brings what runs here nearer to what the state wants of one live attempt."""
    attempt, definition = run.live_attempt, run.definition
    assert attempt is not None, "live_attempts lists live attempts"
    assert definition is not None, "a grant pins what the run does"
    assert attempt.token == token, "live_attempts names their tokens"
    if run.cancel_requested:
        reason = run.reason or CANCELLED
        return Stop(run.id, token, reason) if here else Forgo(run.id, token, reason)
    waits = at_barrier(state, run)
    if here:
        return _at_barrier(run, attempt, waits)
    if waits:
        return Start(run, attempt, definition, held=True)  # nothing starts before the log says that all do
    if definition.guarantee is Guarantee.AT_MOST_ONCE and attempt.state is AttemptState.ASSIGNED:
        return Announce(run.id, token)
    return Start(run, attempt, definition)


def _at_barrier(run: Run, attempt: Attempt, waits: bool) -> Instruction | None:
    """What is due of an attempt that was taken on here: only one that was prepared ahead has anything left to do."""
    if waits:
        return TellReady(run.id, attempt.token) if attempt.state is AttemptState.ASSIGNED else None
    return Release(run.id, attempt.token) if attempt.state is AttemptState.READY else None
