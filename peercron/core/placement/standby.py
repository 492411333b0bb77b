"""Mode standby: one member does the work, and the next in order takes over; when the first is well again, it is back.

The incumbent keeps the job while it can: it loses it only when it is unfit at the moment of a run, or to an earlier
member that has been well without a break for long enough. So a member that comes and goes moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.job import Definition, Failback, Job
from peercron.core.member import Member
from peercron.core.placement.choice import Choice, names, untried
from peercron.core.placement.wellness import hold_ms, wellness
from peercron.core.roster import roster
from peercron.core.run import Run
from peercron.core.state import ClusterState


def first_healthy(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> Choice:
    order = in_order(state, job.definition, candidates)
    incumbent = incumbent_of(state, job, order)
    if incumbent is None:
        return Choice(*_anew(state, job, order))
    wanted = untried(run, order)
    if incumbent not in wanted:
        return Choice(wanted[0], f"{incumbent.info.name}, whose job it is, has just lost or failed this run")
    return _kept_or_back(state, job, order, incumbent)


def in_order(state: ClusterState, definition: Definition, candidates: Sequence[Member]) -> list[Member]:
    """As `nodes` names them, else in the order of the cluster's own roster."""
    order = {name: place for place, name in enumerate(roster(state, definition))}
    return sorted(candidates, key=lambda member: order.get(member.info.name, len(order)))


def incumbent_of(state: ClusterState, job: Job, candidates: Sequence[Member]) -> Member | None:
    """The one whose job it is, if it may run now."""
    holder = state.incumbents.get(job.uid)
    return next((member for member in candidates if holder and member.info.id == holder.member), None)


def _anew(state: ClusterState, job: Job, order: Sequence[Member]) -> tuple[Member, str]:
    first = order[0]
    before = state.incumbents.get(job.uid)
    known = state.members.get(before.member) if before else None
    if before is None:
        return first, f"the first that is well of {names(order)}"
    return first, f"takes over from {known.info.name if known else before.member}, which cannot run it now"


def _kept_or_back(state: ClusterState, job: Job, order: Sequence[Member], incumbent: Member) -> Choice:
    earlier = order[: order.index(incumbent)]
    if not earlier:
        return Choice(incumbent, f"the first that is well of {names(order)}")
    if job.definition.failback is not Failback.AUTO:
        return Choice(incumbent, f"stands in for {names(earlier)} (failback {job.definition.failback.value})")
    for member in earlier:
        how = wellness(state, job.definition, member)
        if state.now_ms - how.well_ms >= hold_ms(job.definition, how.falls):
            well_s = (state.now_ms - how.well_ms) // 1_000
            return Choice(member, f"back from {incumbent.info.name}: well for {well_s} s")
    return Choice(incumbent, f"stands in for {'; '.join(_waits(state, job.definition, member) for member in earlier)}")


def _waits(state: ClusterState, definition: Definition, member: Member) -> str:
    """For how long the member must still be well, and why so long."""
    how = wellness(state, definition, member)
    hold = hold_ms(definition, how.falls)
    fell = f" after {how.falls} falls" if how.falls > 1 else ""
    return f"{member.info.name}, well for {(state.now_ms - how.well_ms) // 1_000} s of {hold // 1_000} s{fell}"
