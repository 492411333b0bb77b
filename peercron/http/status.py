"""Routes about the cluster: status, the digest of the state, and the two health checks."""

from __future__ import annotations

from hashlib import blake2b

from aiohttp import web

from peercron.core.commands import PauseCluster, ResumeCluster
from peercron.core.token import Scope
from peercron.http.answers import json_answer, unhurried
from peercron.http.asking import READ_PARAMETERS, Route, commit, fields_of_body, node_of, switch
from peercron.wire.snapshot import DIGEST_BYTES, content, freeze


async def status(request: web.Request) -> web.Response:
    """As this node sees it; needs no leader, so that it can say that there is none."""
    return json_answer(node_of(request).status())


async def pause(request: web.Request) -> web.Response:
    """Stop the schedules of all jobs; what runs or waits goes on."""
    await fields_of_body(request)
    await commit(request, PauseCluster())
    return json_answer(node_of(request).status())


async def resume(request: web.Request) -> web.Response:
    """Let the schedules of all jobs go on."""
    await fields_of_body(request)
    await commit(request, ResumeCluster())
    return json_answer(node_of(request).status())


async def digest(request: web.Request) -> web.Response:
    """A fingerprint of what is applied here: equal on all nodes at the same index."""
    state = node_of(request).state
    index, told = state.index, blake2b(digest_size=DIGEST_BYTES)
    async for piece in unhurried(content(freeze(state))):
        told.update(piece)
    return json_answer({"index": index, "digest": told.hexdigest()})


async def livez(request: web.Request) -> web.Response:
    """Whether this process is worth keeping: never depends on the quorum, or a cut-off node would be restarted."""
    alive = node_of(request).alive()
    switch(request, "verbose")  # there is one check, and nothing to add; but what is no switch is told so
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
    Route("GET", "/v1/status", status, Scope.READ, READ_PARAMETERS),
    Route("POST", "/v1/cluster:pause", pause, Scope.ADMIN),
    Route("POST", "/v1/cluster:resume", resume, Scope.ADMIN),
    Route("GET", "/v1/digest", digest, Scope.READ, READ_PARAMETERS),
    Route("GET", "/livez", livez, None, frozenset({"verbose"})),
    Route("GET", "/readyz", readyz, None, frozenset({"verbose"})),
)
