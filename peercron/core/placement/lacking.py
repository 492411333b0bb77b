"""Lacking: nodes that have said of a job class that they do not have it, and what follows from that for a run.

A node says so when it is given an attempt: its end is `refused`, which costs the run nothing. Each run asks a node at
most once in one session of that node, and first those of which nobody has heard such a thing: so a class that one node
of many has goes there from the second run on, and a module that was installed meanwhile is found by the next run.
"""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.job import ClassTask, Definition
from peercron.core.limits import LACKING_KEPT
from peercron.core.member import Member
from peercron.core.placement.eligibility import meant_for
from peercron.core.run import AttemptState, Run
from peercron.core.state import ClusterState


def target_of(definition: Definition) -> str:
    """The class that the job runs, as "module:Class"; empty: it runs none."""
    return definition.task.target if isinstance(definition.task, ClassTask) else ""


def lacks(state: ClusterState, definition: Definition, member: Member) -> bool:
    """Whether the member has said, in its open session, that it does not have the job's class."""
    return target_of(definition) in state.lacking.get(member.info.id, ())


def told(said: Sequence[str], target: str) -> tuple[str, ...]:
    """What a member lacks, after it said so of one more class; the oldest is forgotten."""
    return (*[each for each in said if each != target], target)[-LACKING_KEPT:]


def refused(run: Run, member: Member) -> bool:
    """Whether the member, as it is since it came, has refused the run."""
    return any(
        attempt.state is AttemptState.REFUSED and (attempt.member, attempt.session) == (member.info.id, member.session)
        for attempt in run.attempts
    )


def still_to_ask(
    state: ClusterState, definition: Definition, run: Run, candidates: Sequence[Member]
) -> Sequence[Member]:
    """Those of the candidates that have not refused the run; of them those that may have its class, if any may."""
    unasked = [member for member in candidates if not refused(run, member)]
    return [member for member in unasked if not lacks(state, definition, member)] or unasked


def nobody_has(state: ClusterState, definition: Definition, run: Run) -> str:
    """Why the run has no node and will get none, in one sentence; empty: somebody that it is for may have its class.

    Who is drained or away may have it, unless it has said otherwise before it went.
    """
    last = run.attempts[-1] if run.attempts else None
    if last is None or last.state is not AttemptState.REFUSED:
        return ""
    # Where its next attempt may go, the job says as it is now; what that does, its first one has pinned.
    now = state.jobs[run.job_uid].definition
    meant = [member for member in state.members.values() if meant_for(state, now, member)]
    meant = [member for member in meant if run.member in ("", member.info.id)] or meant
    if not all(refused(run, member) for member in meant):
        return ""
    said = {attempt.member: attempt.reason for attempt in run.attempts if attempt.state is AttemptState.REFUSED}
    names = {member.info.id: member.info.name for member in state.members.values()}
    each = "; ".join(f"{names.get(member_id, member_id)}: {why}" for member_id, why in said.items())
    return f"no node has {target_of(definition) or 'what it runs'} ({each})"
