"""Routes of the snapshot: the whole state as a file to keep, and such a file put in the place of what is here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from aiohttp import web

from peercron import __version__
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import Busy
from peercron.http.answers import json_answer
from peercron.http.asking import CLOCK, READ_PARAMETERS, Route, fresh, node_of, switch
from peercron.http.port import NodePort
from peercron.http.restoring import put_in_place, receive
from peercron.wire.archive import ArchiveWriter, Header

#: Files written, and files taken in, at the same time by one node: each holds a copy of the tables, or of the file.
AT_ONCE: Final = {"save": 4, "restore": 1}
#: A reader who takes nothing for this long is gone.
WRITE_S: Final = 60.0

UNDER_WAY: web.AppKey[Counter[str]] = web.AppKey("under_way", Counter)


async def save(request: web.Request) -> web.StreamResponse:
    """All that the cluster knows, as of one index; with every write acknowledged before the request."""
    node = node_of(request)
    with _one_of(request, "save"):
        state = await fresh(request)
        # Nothing is awaited in between: header and blocks are of the same index.
        header = _header(node, state, request.app[CLOCK].wall_ms())
        blocks = node.frozen()
        name = f"{header.cluster}-{header.index}.snapshot"
        kind = {"Content-Type": "application/octet-stream", "Content-Disposition": f'attachment; filename="{name}"'}
        response = web.StreamResponse(headers=kind)
        await response.prepare(request)
        if request.method == "GET":
            await _send(request, response, _file(header, blocks))
        return response


def _header(node: NodePort, state: ClusterState, now_ms: int) -> Header:
    return Header(
        cluster=node.settings.cluster,
        index=state.index,
        generation=state.generation,
        term=node.term,
        created_ms=now_ms,
        version=__version__,
        jobs=len(state.jobs),
        runs=len(state.runs) + sum(map(len, state.ended_runs.values())),
        ledger=sum(map(len, state.ledger.values())),
        keys=state.key_count,
        members=len(state.members),
    )


def _file(header: Header, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of the file; an empty piece is only a place to pause."""
    writer = ArchiveWriter()
    yield writer.begin(header)
    for block in blocks:
        yield from writer.write(block)
        yield b""
    yield writer.end()


async def _send(request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes]) -> None:
    try:
        for piece in pieces:
            if piece:
                async with asyncio.timeout(WRITE_S):
                    await response.write(piece)
            await asyncio.sleep(0)
    except (aiohttp.ClientError, OSError, TimeoutError):
        # An answer that breaks off has no checksum at its end: whoever reads it sees that it is not whole.
        if request.transport is not None:
            request.transport.abort()
        return
    await response.write_eof()


async def restore(request: web.Request) -> web.Response:
    """Put the body, a file that `save` gave, in the place of what the cluster has; ?force=1 where it has something."""
    with _one_of(request, "restore"):
        force = switch(request, "force")
        upload = await receive(request)
        done = await put_in_place(node_of(request), upload, force=force)
    told = upload.header
    return json_answer(
        {
            "restored": {"cluster": told.cluster, "index": told.index, "generation": told.generation},
            "index": done.index,
            "generation": done.value,
            "jobs": told.jobs,
            "runs": told.runs,
            "ledger": told.ledger,
            "keys": told.keys,
        }
    )


@contextmanager
def _one_of(request: web.Request, what: str) -> Iterator[None]:
    under_way = request.app[UNDER_WAY]
    if under_way[what] >= AT_ONCE[what]:
        raise Busy(f"this node is busy with {under_way[what]} of the same ({what}); try again when it is over")
    under_way[what] += 1
    try:
        yield
    finally:
        under_way[what] -= 1


ROUTES = (
    Route("GET", "/v1/snapshot", save, Scope.READ, READ_PARAMETERS),
    Route("PUT", "/v1/snapshot", restore, Scope.ADMIN, frozenset({"force"})),
)
