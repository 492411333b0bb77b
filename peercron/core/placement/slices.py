"""Mode slice, where a quorum fills the slices of who is not there: whose slice it is, else the next in order."""

from __future__ import annotations

from collections.abc import Sequence

from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.placement.choice import Choice
from peercron.core.retry import preferred
from peercron.core.roster import roster
from peercron.core.run import Run
from peercron.core.state import ClusterState

ITS_SLICE = "its slice"


def slice_owner(state: ClusterState, job: Job, run: Run, candidates: Sequence[Member]) -> Choice:
    order = roster(state, job.definition)
    turn = run.slot_ms // job.definition.slice_ms
    here = {member.info.name: member for member in preferred(run, candidates)}
    in_turn = [order[(turn + more) % len(order)] for more in range(len(order))]
    taker = next((here[name] for name in in_turn if name in here), next(iter(here.values())))
    owner = in_turn[0]
    return Choice(taker, ITS_SLICE if taker.info.name == owner else f"fills the slice of {owner}")
