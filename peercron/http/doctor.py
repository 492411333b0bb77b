"""GET /v1/doctor: all that this node finds wrong, with its cluster and with itself; needs no leader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from peercron.core.checkup.finding import Finding, Severity
from peercron.core.checkup.jobs import of_job, of_waiting
from peercron.core.checkup.members import of_cluster, of_members
from peercron.core.checkup.traffic import of_lock, of_queues
from peercron.core.token import Scope
from peercron.http.answers import json_answer, unhurried
from peercron.http.asking import CLOCK, Route, node_of
from peercron.http.port import NodePort
from peercron.http.problems import BadRequest
from peercron.http.vitals import of_node

#: Findings of one check that are told one by one; of the others it is told how many there are.
TOLD_PER_CHECK: Final = 20
SCOPES: Final = ("all", "node")


async def doctor(request: web.Request) -> web.Response:
    """What this node finds wrong, the worst first: all, or with ?scope=node what it alone knows, of itself."""
    scope = request.query.get("scope", "all")
    if scope not in SCOPES:
        raise BadRequest("query.scope", f"{scope!r}: must be {' or '.join(SCOPES)}")
    node, now_ms = node_of(request), request.app[CLOCK].wall_ms()
    found: list[Finding] = []
    counts: Counter[str] = Counter()
    # A hundred thousand jobs are looked at a few milliseconds at a time.
    async for finding in unhurried(_findings(node, now_ms, whole=scope == "all")):
        if finding is not None:
            counts[finding.check] += 1
            if counts[finding.check] <= TOLD_PER_CHECK:
                found.append(finding)
    found += [
        _others(found, check, count - TOLD_PER_CHECK) for check, count in counts.items() if count > TOLD_PER_CHECK
    ]
    worst_first = sorted(found, key=lambda finding: list(Severity).index(finding.severity))
    return json_answer(_head(node) | {"findings": [finding.view for finding in worst_first]})


def _findings(node: NodePort, now_ms: int, *, whole: bool) -> Iterator[Finding | None]:
    """None: something was looked at, and is well."""
    yield from of_node(node, now_ms)
    if not whole:
        return
    state, status = node.state, node.status()
    yield from of_cluster(status, state)
    yield from of_members(status, state, now_ms)
    for job in tuple(state.jobs.values()):
        yield from of_job(state, job, now_ms)
        yield None
    yield from of_waiting(state, now_ms)
    yield from of_queues(state, now_ms)
    for key in tuple(state.locks):
        yield from of_lock(state, key, now_ms)
        yield None


def _head(node: NodePort) -> dict[str, Any]:
    return {"node": node.name, "leader": node.leader(), "term": node.term, "index": node.state.index}


def _others(found: list[Finding], check: str, more: int) -> Finding:
    like = next(finding for finding in found if finding.check == check)
    return Finding(like.severity, check, "others", f"{more} more like this", like.advice)


ROUTES = (Route("GET", "/v1/doctor", doctor, Scope.READ, frozenset({"scope", "consistency"})),)
