"""Routes of slices: what the asked node knows of its own, which no other node may know yet."""

from __future__ import annotations

from aiohttp import web

from peercron.core.token import Scope
from peercron.http.answers import json_answer
from peercron.http.asking import READ_PARAMETERS, Route, node_of


async def slices(request: web.Request) -> web.Response:
    """Of each job in slices that needs no quorum, or of ?job=: this node's next slot, what runs, and what the
    ledger has not been told yet. Needs no leader.
    """
    seen, wanted = node_of(request).slices(), request.query.get("job")
    if wanted is not None:
        key = wanted if "/" in wanted else f"default/{wanted}"
        seen["jobs"] = [job for job in seen["jobs"] if job["job"] == key]
    return json_answer(seen)


ROUTES = (Route("GET", "/v1/slices", slices, Scope.READ, READ_PARAMETERS | {"job"}),)
