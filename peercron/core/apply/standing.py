"""Standing: what a grant, the end of a session and an operator's word change in who stands where."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.commands import FailBack
from peercron.core.job import Failback, Job, Mode
from peercron.core.member import Member
from peercron.core.placement import eligible
from peercron.core.placement.standby import in_order, incumbent_of
from peercron.core.placement.turns import line_of, moved_back
from peercron.core.placement.wellness import fallen
from peercron.core.standing import Incumbent, Wellness
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: The level that knows these tables: before it is in force nothing is written to them.
SINCE_LEVEL = 2


def remember(state: ClusterState, job: Job, member: Member) -> None:
    """The member has got an attempt of the job: what that makes of the next one."""
    match job.definition.mode:
        case Mode.TURNS:
            state.turns[job.uid] = moved_back(line_of(state, job), member.info.id)
        case Mode.STANDBY:
            _sit(state, job, member)
        case _:
            pass


def _sit(state: ClusterState, job: Job, member: Member) -> None:
    """The job is the member's from now on, unless it only helps out: the incumbent is well and comes before it."""
    order = in_order(state, job.definition, eligible(state, job.definition))
    incumbent = incumbent_of(state, job, order)
    if incumbent is None or order.index(member) < order.index(incumbent):
        state.incumbents[job.uid] = Incumbent(member.info.id, state.now_ms)


def forget(state: ClusterState, job_uid: str) -> None:
    """The job is gone, or is shared in another way now."""
    state.turns.pop(job_uid, None)
    state.incumbents.pop(job_uid, None)


def note_opened(state: ClusterState, member: Member, before: Member | None) -> None:
    """A session was opened: well from now on. Opened over one that was open: it fell in between, unseen."""
    if state.level < SINCE_LEVEL:
        return
    if before is not None and before.open:
        note_ended(state, before)
    known = state.wellness.get(member.info.id, Wellness(state.now_ms))
    state.wellness[member.info.id] = replace(known, well_ms=state.now_ms)


def note_ended(state: ClusterState, member: Member) -> None:
    """A session ended."""
    if state.level >= SINCE_LEVEL:
        known = state.wellness.get(member.info.id, Wellness(member.opened_ms))
        state.wellness[member.info.id] = fallen(known, state.now_ms)


def note_unfit(state: ClusterState, member: Member) -> None:
    """A check of a job has turned against it. Since when it is well for that job, the check itself says."""
    known = state.wellness.get(member.info.id, Wellness(member.opened_ms))
    state.wellness[member.info.id] = replace(fallen(known, state.now_ms), well_ms=known.well_ms)


def note_undrained(state: ClusterState, member_id: str) -> None:
    """It is given work again: its time of being well begins anew, and that was no fall."""
    if state.level >= SINCE_LEVEL and member_id in state.members:
        known = state.wellness.get(member_id, Wellness(state.now_ms))
        state.wellness[member_id] = replace(known, well_ms=state.now_ms)


def fail_back(state: ClusterState, command: FailBack) -> Verdict:
    """The next run goes to the first that is well, however long it has been; the answer is its name."""
    uid = state.job_uids.get(command.key)
    if uid is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no job {command.key}")
    job = state.jobs[uid]
    refused = _refusal(state, job)
    if refused is not None:
        return refused
    first = in_order(state, job.definition, eligible(state, job.definition))[0]
    state.incumbents[uid] = Incumbent(first.info.id, state.now_ms)
    state.touch(uid)
    return Done(state.index, first.info.name)


def _refusal(state: ClusterState, job: Job) -> Refused | None:
    """Why the job cannot go back; None: it can."""
    if job.definition.mode is not Mode.STANDBY:
        detail = f"job {job.key} has mode {job.definition.mode.value}; only one with mode standby goes back"
        return Refused(state.index, Refusal.INVALID, detail)
    if job.definition.failback is Failback.NEVER:
        return Refused(state.index, Refusal.CONFLICT, f"job {job.key} has failback never")
    order = in_order(state, job.definition, eligible(state, job.definition))
    if not order:
        return Refused(state.index, Refusal.NOT_READY, "no node that may run it is there")
    if incumbent_of(state, job, order) is order[0]:
        detail = f"it is with {order[0].info.name} already, the first that is well"
        return Refused(state.index, Refusal.CONFLICT, detail)
    return None
