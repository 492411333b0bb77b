"""Routes of health: what the checks of jobs say of the nodes, and who says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from peercron.core import fitness, placement, views
from peercron.core.check import Check
from peercron.core.job import Job
from peercron.core.listening import CHECKED
from peercron.core.member import Member
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.http.answers import blocking_answer, in_slices
from peercron.http.asking import BLOCKING_PARAMETERS, Route, node_of
from peercron.http.jobs import find_job


async def health(request: web.Request) -> web.Response:
    """Each check of each job (?job= of one) on each node that the job is for: well or not, why, and who says so."""
    node, wanted = node_of(request), request.query.get("job")
    key = wanted if wanted is None or "/" in wanted else f"default/{wanted}"

    async def view() -> dict[str, Any]:
        state = node.state
        jobs = [state.jobs[uid] for uid in state.listening.get(CHECKED, ())] if key is None else [find_job(state, key)]
        return {"health": await in_slices(row for job in jobs for row in _rows(state, job))}

    return await blocking_answer(request, view)


def _rows(state: ClusterState, job: Job) -> Iterator[dict[str, Any]]:
    members = [member for member in state.members.values() if placement.may_run(state, member, job.definition)]
    for member in members:
        for check in job.definition.checks:
            yield _row(state, job, check, member)


def _row(state: ClusterState, job: Job, check: Check, member: Member) -> dict[str, Any]:
    said = fitness.opinions(state, job.uid, check, member.info.id)
    against = fitness.complaint(state, job.uid, check, member)
    return {
        "job": job.key,
        "check": check.name,
        "node": member.info.name,
        "well": None if not said else not against,
        "reason": against,
        "since": views.instant(max((opinion.since_ms for opinion in said.values()), default=None)),
        "observers": [
            {
                "node": state.members[observer].info.name,
                "well": opinion.well,
                "since": views.instant(opinion.since_ms),
                "detail": opinion.detail,
            }
            for observer, opinion in said.items()
        ],
    }


ROUTES = (Route("GET", "/v1/health", health, Scope.READ, BLOCKING_PARAMETERS | {"job"}),)
