"""Eligibility: whether a member may run a job now, and why not, in words.

One place for all that speaks against a member, so that every mode passes over the same ones.
"""

from __future__ import annotations

from peercron.core.capacity import node_full
from peercron.core.fitness import unfit
from peercron.core.job import Definition
from peercron.core.member import Member, Role
from peercron.core.state import ClusterState
from peercron.core.where import fits


def eligible(state: ClusterState, definition: Definition) -> list[Member]:
    """Members that may run the job now, in the order of the table. Nobody, while all is being ended for a restore."""
    if state.stage is not None and state.stage.ending:
        return []
    return [member for member in state.members.values() if not barred(state, definition, member)]


def barred(state: ClusterState, definition: Definition, member: Member) -> str:
    """Why the member may not run the job now; empty: it may."""
    return (
        not_for(state, definition, member)
        or unfit(state, definition, member)
        or node_full(state, definition, member.info.id)
    )


def may_run(state: ClusterState, member: Member, definition: Definition) -> bool:
    """Whether the job is for this member at all, well or not."""
    return not not_for(state, definition, member)


def not_for(state: ClusterState, definition: Definition, member: Member) -> str:
    """Why the job is not for this member; empty: it is, since its session is open, nobody drained it, and it is one of
    those that are meant.
    """
    if not member.open:
        return "its session has ended"
    if member.info.id in state.drained:
        return "it is drained"
    return _not_meant(state, definition, member)


def meant_for(state: ClusterState, definition: Definition, member: Member) -> bool:
    """Whether the job is for this member once it is there and not drained."""
    return not _not_meant(state, definition, member)


def _not_meant(state: ClusterState, definition: Definition, member: Member) -> str:
    """Why it is not meant; empty: it votes and is no witness, and `nodes` and `where` mean it if given."""
    seat = state.seats.get(member.info.id)
    if (seat.role if seat else member.info.role) is not Role.VOTER:
        return "it is no voter that runs jobs"
    if state.seats and seat is None:
        return "it is no member any more"  # removed, and not gone yet; or about to be
    if definition.nodes and member.info.name not in definition.nodes:
        return "the job does not name it"
    if definition.where and not fits(definition.where, member.info):
        return "it is not where the job wants to run"
    return ""
