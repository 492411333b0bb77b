"""Fitness: whether a node may be given a job, as far as the job's checks go."""

from __future__ import annotations

from peercron.core.check import Check
from peercron.core.health import Opinion
from peercron.core.job import Definition
from peercron.core.member import Member
from peercron.core.state import ClusterState

NOT_LOOKED_AT = "has not been looked at yet"


def unfit(state: ClusterState, definition: Definition, member: Member) -> str:
    """What speaks against giving this job to this node, in one sentence; empty: nothing.

    A node that nobody has looked at yet is not fit: its first result is a verdict, so that takes moments.
    """
    if not definition.checks:
        return ""
    uid = state.job_uids.get(f"{definition.namespace}/{definition.name}", "")
    return next((why for check in definition.checks if (why := complaint(state, uid, check, member))), "")


def complaint(state: ClusterState, job_uid: str, check: Check, member: Member) -> str:
    """What one check has against the node; empty: nothing."""
    said = opinions(state, job_uid, check, member.info.id)
    if not said:
        return f"check {check.name}: {member.info.name} {NOT_LOOKED_AT}"
    against = {observer: opinion for observer, opinion in said.items() if not opinion.well}
    needed = 1 if not check.by_peers else needed_against(check, len(said))
    if len(against) < needed:
        return ""
    who = f" (said by {len(against)} of {len(said)})" if check.by_peers else ""
    return f"check {check.name}: {next(iter(against.values())).detail}{who}"


def needed_against(check: Check, heard: int) -> int:
    """How many must call a node bad before it is: never more than have said something.

    Who has just come and has not looked yet speaks neither for the node nor against it.
    """
    return max(1, min(check.observers or heard // 2 + 1, heard))


def opinions(state: ClusterState, job_uid: str, check: Check, subject: str) -> dict[str, Opinion]:
    """Observer -> what it says, of those whose word counts: the node itself, or where peers look too all that look."""
    said = state.health.get(job_uid, {})
    observers = state.members if check.by_peers else (subject,)
    found = ((observer, said.get((check.name, subject, observer))) for observer in observers)
    return {observer: opinion for observer, opinion in found if opinion is not None}
