"""Mode turns: the server queue: the head of the line runs and goes to the back."""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.placement.choice import Choice, untried
from peercron.core.placement.eligibility import may_run
from peercron.core.run import Run
from peercron.core.standing import Place
from peercron.core.state import ClusterState


def head_of_line(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> Choice:
    ready = {member.info.id: member for member in candidates}
    line = [ready[place.member] for place in line_of(state, job) if place.member in ready]
    wanted = untried(run, candidates)
    head = next(member for member in line if member in wanted)
    if len(line) == 1:
        return Choice(head, "alone in the line")
    after = [member for member in line if member is not head]
    place = "head" if head is line[0] else "first that has not just lost or failed it"
    return Choice(head, f"{place} of the line of {len(line)}; next is {after[0].info.name}")


def line_of(state: ClusterState, job: Job) -> tuple[Place, ...]:
    """The line as it stands now: who stood in it and is there still, then who joins, in the order of the member table.

    A place belongs to a session: a member that died in between has lost it, and joins at the end. One that a check or
    a limit keeps from its turn is passed over, and has it as soon as it may.
    """
    here = {m.info.id: m.session for m in state.members.values() if may_run(state, m, job.definition)}
    stayed = [place for place in state.turns.get(job.uid, ()) if here.get(place.member) == place.session]
    known = {place.member for place in stayed}
    joining = [Place(member_id, session) for member_id, session in here.items() if member_id not in known]
    return (*stayed, *joining)


def moved_back(line: Sequence[Place], member_id: str) -> tuple[Place, ...]:
    """The line after this member had its turn."""
    behind = [place for place in line if place.member != member_id]
    return (*behind, *(place for place in line if place.member == member_id))
