"""Placement: which member gets a run's next attempt; one function per mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from peercron.core.fitness import unfit
from peercron.core.job import Definition, Mode
from peercron.core.member import Member, Role
from peercron.core.retry import preferred
from peercron.core.roster import roster
from peercron.core.run import AttemptState, Run
from peercron.core.state import ClusterState


def choose(state: ClusterState, run: Run, definition: Definition) -> Member | None:
    """The member that gets the next attempt; None: nobody who may run it is there."""
    candidates = preferred(run, eligible(state, definition))
    return MODES[definition.mode](state, run, candidates) if candidates else None


def eligible(state: ClusterState, definition: Definition) -> Sequence[Member]:
    """Members that may run the job now: their session is open, they vote and are no witness, nobody drained them, and
    `nodes` names them if given, and no check of the job has anything against them. Nobody, while all that runs is being
    ended for a restore.
    """
    if state.stage is not None and state.stage.ending:
        return []
    return [
        member
        for member in state.members.values()
        if may_run(state, member, definition) and not unfit(state, definition, member)
    ]


def may_run(state: ClusterState, member: Member, definition: Definition) -> bool:
    """Whether the job is for this member at all, well or not."""
    seat = state.seats.get(member.info.id)
    if not member.open or (seat.role if seat else member.info.role) is not Role.VOTER:
        return False
    if member.info.id in state.drained or (state.seats and seat is None):
        return False  # removed, and not gone yet; or about to be
    return not definition.nodes or member.info.name in definition.nodes


def _least_loaded(state: ClusterState, run: Run, candidates: Sequence[Member]) -> Member:
    """Mode single: fewest live attempts; the run's own hash decides among equals, so that equals share evenly.

    Who just lost the run gets it again only if there is nobody else: what broke there may break again.
    """
    others = [member for member in candidates if member.info.id != _loser(run)] or candidates
    loads = [len(state.live_attempts.get(member.info.id, ())) for member in others]
    least = min(loads)
    equals = [member for member, load in zip(others, loads, strict=True) if load == least]
    return equals[0] if len(equals) == 1 else max(equals, key=lambda member: _weight(run.id, member.info.name))


def _slice_owner(state: ClusterState, run: Run, candidates: Sequence[Member]) -> Member:
    """Mode slice, where a quorum fills the slices of who is not there: whose slice it is, else the next in order."""
    definition = state.jobs[run.job_uid].definition
    order = roster(state, definition)
    turn = run.slot_ms // definition.slice_ms
    here = {member.info.name: member for member in candidates}
    in_turn = [order[(turn + more) % len(order)] for more in range(len(order))]
    return next((here[name] for name in in_turn if name in here), candidates[0])


def _loser(run: Run) -> str | None:
    """Member whose attempt was the last to be lost, if the last attempt was."""
    if run.attempts and run.attempts[-1].state is AttemptState.LOST:
        return run.attempts[-1].member
    return None


def _weight(run_id: str, name: str) -> bytes:
    """Rendezvous hashing: the largest wins. Not `hash()`, which differs between processes."""
    return blake2b(f"{run_id}\n{name}".encode(), digest_size=8).digest()


MODES: dict[Mode, Callable[[ClusterState, Run, Sequence[Member]], Member]] = {
    Mode.SINGLE: _least_loaded,
    Mode.SLICE: _slice_owner,
}

assert MODES.keys() == set(Mode)
