"""Lookout: what one member has to look at for all jobs."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core import placement
from peercron.core.check import Check
from peercron.core.listening import CHECKED
from peercron.core.state import ClusterState


@dataclass(frozen=True, slots=True)
class Duty:
    """One check of a job, on one node."""

    job_uid: str
    check: Check
    #: Member id and address ("host:port") of the node that is looked at.
    subject: str
    address: str


def duties(state: ClusterState, me: str) -> list[Duty]:
    """What this member looks at: itself for every check of jobs that it may run, its peers where peers look too."""
    found: list[Duty] = []
    for uid in state.listening.get(CHECKED, ()):
        definition = state.jobs[uid].definition
        subjects = [member for member in state.members.values() if placement.may_run(state, member, definition)]
        found += [
            Duty(uid, check, member.info.id, member.info.address)
            for check in definition.watched
            for member in subjects
            if check.by_peers or member.info.id == me
        ]
    return found
