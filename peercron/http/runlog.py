"""The output of a run: from the file where it ran, and through that node from anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from peercron.core.history import find_run
from peercron.core.member import Member
from peercron.core.run import Attempt, Run
from peercron.core.state import ClusterState
from peercron.errors import Refused, RunNotFound
from peercron.http.asking import READ_PARAMETERS, fresh, node_of, switch, whole_number
from peercron.http.auth import check
from peercron.http.port import NodePort

LOG_PARAMETERS = READ_PARAMETERS | {"follow", "attempt", "offset"}
#: Set on the one hop between nodes: who gets it answers from what it has and asks nobody else.
FORWARDED = "Peercron-Forwarded"
#: Where the text is from: "file", or "tail" when only the end of it is left in the state.
ORIGIN = "Peercron-Log"
CHUNK_BYTES = 64 * 1024
#: How often the file is looked at while somebody follows it.
FOLLOW_S = 0.2
HOP_CONNECT_S = 2.0

PEERS: web.AppKey[aiohttp.ClientSession] = web.AppKey("peers", aiohttp.ClientSession)


async def run_log(request: web.Request) -> web.StreamResponse:
    """Output of one attempt (?attempt=n, the newest by default) as text; ?follow=1 goes on until the attempt ends."""
    node = node_of(request)
    offset, follow = whole_number(request, "offset", 0), switch(request, "follow")
    state = await fresh(request)
    run = find_run(state, request.match_info["id"])
    if run is None:
        raise RunNotFound(request.match_info["id"])
    attempt = await _attempt(request, node, run)
    if attempt is None:
        return await _send(request, _text(""), "tail")
    if relayed := await _from_elsewhere(request, node, attempt):
        return relayed
    going_on = follow and _is_live(node.state, run.id, attempt)
    if node.run_log_path(run.id, attempt.token) is None and not going_on:
        return await _send(request, _text(attempt.output_tail), "tail")
    return await _send(request, _output(request, run.id, attempt, offset=offset, follow=follow), "file")


async def _attempt(request: web.Request, node: NodePort, run: Run) -> Attempt | None:
    """The attempt that is meant; with `follow`, a run that still waits for its first one is waited for."""
    number = whole_number(request, "attempt", 0)
    while not run.attempts and run.finished_ms is None and switch(request, "follow") and _is_here(request):
        await node.wait_changed(node.state.index, FOLLOW_S)
        found = find_run(node.state, run.id)
        if found is None:
            return None
        run = found
    wanted = [attempt for attempt in run.attempts if number in (0, attempt.n)]
    if number and not wanted:
        raise RunNotFound(f"{run.id} attempt {number}")
    return wanted[-1] if wanted else None


async def _from_elsewhere(request: web.Request, node: NodePort, attempt: Attempt) -> web.StreamResponse | None:
    """The answer of the member that ran it; None when that is this node, or it cannot be asked."""
    member = node.state.members.get(attempt.member)
    if member is None or member.info.name == node.name or FORWARDED in request.headers:
        return None
    return await _relay(request, member)


def _is_live(state: ClusterState, run_id: str, attempt: Attempt) -> bool:
    run = state.runs.get(run_id)
    return run is not None and run.live_attempt is not None and run.live_attempt.token == attempt.token


def _is_here(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _output(
    request: web.Request, run_id: str, attempt: Attempt, *, offset: int, follow: bool
) -> AsyncIterator[bytes]:
    """What the file has from `offset` on; when it is followed also what is still to come."""
    node = node_of(request)
    while True:
        # Asked before reading: what was written before the end is read after it.
        live = follow and _is_live(node.state, run_id, attempt)
        path = node.run_log_path(run_id, attempt.token)
        while chunk := await asyncio.to_thread(_read, path, offset):
            offset += len(chunk)
            yield chunk
        if not live or not _is_here(request):
            return
        try:
            check(request)
        except Refused as refused:  # the token was revoked: what came so far is not whole
            raise ConnectionAbortedError(refused.message) from None
        await node.wait_changed(node.state.index, FOLLOW_S)


def _read(path: Path | None, offset: int) -> bytes:
    try:
        if path is None:
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


async def _text(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def _send(request: web.Request, chunks: AsyncIterator[bytes], origin: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8", ORIGIN: origin})
    await response.prepare(request)
    try:
        async for chunk in chunks:
            await response.write(chunk)
    except (aiohttp.ClientError, OSError):
        # The status has gone out already: an answer that breaks off is the one way left to say that it is not whole.
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _relay(request: web.Request, member: Member) -> web.StreamResponse | None:
    """The answer of the node that ran it; None when it cannot be asked."""
    node = node_of(request)
    scheme = "https" if node.settings.tls_cert else "http"
    url = f"{scheme}://{member.info.http}/v1/runs/{quote(request.match_info['id'], safe='')}/log"
    try:
        # In the name of who asks: the other node knows what he may do, and nobody else has to be trusted for it.
        own = {name: request.headers[name] for name in ("Authorization",) if name in request.headers}
        sent = {FORWARDED: node.name, **own}
        async with request.app[PEERS].get(url, params=dict(request.query), headers=sent) as answer:
            if answer.status != 200:
                return None
            return await _send(request, answer.content.iter_chunked(CHUNK_BYTES), answer.headers.get(ORIGIN, "file"))
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError, aiohttp.ServerDisconnectedError):
        return None
