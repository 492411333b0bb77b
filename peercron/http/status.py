"""Routes about the cluster: status, members, leadership, the digest of the state, and the two health checks."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from peercron.core import views
from peercron.errors import ConfigError, Problem
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import BLOCKING_PARAMETERS, READ_PARAMETERS, Route, fields_of_body, node_of, switch
from peercron.http.port import NodePort


async def status(request: web.Request) -> web.Response:
    """As this node sees it; needs no leader, so that it can say that there is none."""
    return json_answer(node_of(request).status())


async def members(request: web.Request) -> web.Response:
    node = node_of(request)
    return await blocking_answer(request, lambda: {"members": _members(node)})


def _members(node: NodePort) -> list[dict[str, Any]]:
    """What the state knows of each member, and over it what only its peers can measure."""
    known = {row.info.name: views.member_view(node.state, row) for row in node.state.members.values()}
    seen = {row["name"]: row for row in node.status().get("members", ())}
    return [known.get(name, {}) | seen.get(name, {}) for name in known | seen]


async def transfer(request: web.Request) -> web.Response:
    fields = await fields_of_body(request, "to")
    to = fields.get("to")
    if to is not None and not isinstance(to, str):
        raise ConfigError([Problem("to", "must be the name of a member")])
    node = node_of(request)
    await node.transfer_leadership(to)
    return json_answer({"leader": node.leader()})


async def digest(request: web.Request) -> web.Response:
    """A fingerprint of what is applied here: equal on all nodes at the same index."""
    state = node_of(request).state
    return json_answer({"index": state.index, "digest": views.digest(state)})


async def livez(request: web.Request) -> web.Response:
    """Whether this process is worth keeping: never depends on the quorum, or a cut-off node would be restarted."""
    alive = node_of(request).alive()
    return web.Response(
        text="ok\n" if alive else "the consensus has stopped; /readyz says why\n", status=200 if alive else 503
    )


async def readyz(request: web.Request) -> web.Response:
    """Whether this node can serve; with ?verbose each check on a line of its own."""
    checks = node_of(request).ready()
    well = all(passed for _, passed, _ in checks)
    lines = [f"[{'+' if passed else '-'}]{name} {word}".rstrip() for name, passed, word in checks]
    verbose = switch(request, "verbose") or not well
    text = "\n".join([*(lines if verbose else ()), "ready" if well else "not ready"])
    return web.Response(text=text + "\n", status=200 if well else 503)


ROUTES = (
    Route("GET", "/v1/status", status, READ_PARAMETERS),
    Route("GET", "/v1/members", members, BLOCKING_PARAMETERS),
    Route("POST", "/v1/leader:transfer", transfer),
    Route("GET", "/v1/digest", digest, READ_PARAMETERS),
    Route("GET", "/livez", livez, frozenset({"verbose"})),
    Route("GET", "/readyz", readyz, frozenset({"verbose"})),
)
