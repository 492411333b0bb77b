"""Routes of client sessions: what a program outside takes in the name of its session ends with it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from peercron.core.commands import CloseClient, OpenClient
from peercron.core.lease import LeaseKind
from peercron.core.token import Scope
from peercron.errors import Refused
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import BLOCKING_PARAMETERS, TIMEOUT_S, Route, commit, fields_of_body, node_of
from peercron.http.fields import fields_of

TTL_MS = 30_000


async def list_clients(request: web.Request) -> web.Response:
    """Sessions that are open, and how many leases end with each."""
    node = node_of(request)

    def view() -> dict[str, Any]:
        sessions = [(id_, lease) for id_, lease in node.state.leases.items() if lease.kind is LeaseKind.CLIENT]
        held = node.state.client_leases
        rows = [{"client": i, "label": s.name, "ttl_ms": s.ttl_ms, "holds": len(held.get(i, ()))} for i, s in sessions]
        return {"clients": rows}

    return await blocking_answer(request, view)


async def open_client(request: web.Request) -> web.Response:
    """A session that ends when it is not renewed for so long: {"label": "batch/1", "ttl": "30s"}.

    `expires_in` is in seconds from when the request was SENT.
    """
    fields = await fields_of(request, "label", "ttl")
    label, ttl_ms = fields.text("label", ""), fields.duration_ms("ttl", TTL_MS)
    fields.check()
    done = await commit(request, OpenClient(label, ttl_ms))
    return json_answer({"client": done.value, "expires_in": ttl_ms / 1_000}, status=201)


async def renew_client(request: web.Request) -> web.Response:
    """The session lives for its whole time again, counted from when this was SENT. Refused: stale_token, it has ended.

    `leases` are the tokens of what it holds, as far as this node knows: to Peercron-Index.
    """
    await fields_of_body(request)
    client, node = int(request.match_info["id"]), node_of(request)
    lease = node.state.leases.get(client)
    if lease is not None and lease.kind is not LeaseKind.CLIENT:
        raise Refused("stale_token", f"client session {client} has ended")
    left_ms = await node.renew(client, TIMEOUT_S)
    told = {"client": client, "expires_in": left_ms / 1_000, "leases": list(node.state.client_leases.get(client, ()))}
    return json_answer(told, headers={"Peercron-Index": str(node.state.index)})


async def close_client(request: web.Request) -> web.Response:
    """All that the session holds is free again."""
    client = int(request.match_info["id"])
    await commit(request, CloseClient(client))
    return json_answer({"closed": client})


ROUTES = (
    Route("GET", "/v1/clients", list_clients, Scope.READ, BLOCKING_PARAMETERS),
    Route("POST", "/v1/clients", open_client, Scope.DATA),
    Route("POST", r"/v1/clients/{id:\d{1,15}}:renew", renew_client, Scope.DATA),
    Route("DELETE", r"/v1/clients/{id:\d{1,15}}", close_client, Scope.DATA),
)
