"""Mode queue: the worker that pulls the next item: the member that has the least of the job in its hands."""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.capacity import count
from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.placement.choice import Choice, untried
from peercron.core.placement.single import least_loaded, load, weight
from peercron.core.run import Run
from peercron.core.state import ClusterState


def first_with_room(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> Choice:
    """Candidates have room already; of them who just lost or failed the run is the last to get it again."""
    delivery = state.deliveries.get(run.delivery)
    if delivery is None:
        return least_loaded(state, job, run, candidates)  # in line since before the job was in this mode
    others = untried(run, candidates)
    chosen = min(others, key=lambda member: _rank(state, job, run, member))
    busy, most = count(state, job.uid, chosen.info.id), job.definition.concurrency.per_node
    return Choice(chosen, f"item {delivery.items[0]} of queue {delivery.queue} was next; {busy} of {most} ran there")


def _rank(state: ClusterState, job: Job, run: Run, member: Member) -> tuple[int, int, bytes]:
    return count(state, job.uid, member.info.id), load(state, member), weight(run.id, member.info.name)
