"""Clients: sessions of programs outside; what is taken in the name of one ends with it."""

from __future__ import annotations

from typing import Final

from peercron.http.openapi.operation import Operation, optional
from peercron.http.openapi.parameters import text
from peercron.http.openapi.shape import Count, Life, Number, Seconds, Shape


class ClientBody(Shape):
    """A new session.

    label: for people
    ttl: how long it lives without being renewed
    """

    label: str | None = None
    ttl: Life | None = "30s"


class ClientOpened(Shape):
    """A session.

    expires_in: seconds, counted from when the request was sent
    """

    client: Number
    expires_in: Seconds


class ClientRenewed(Shape):
    """A session.

    expires_in: seconds, counted from when the request was sent
    leases: tokens of what it holds, as far as the asked node knows
    """

    client: Number
    expires_in: Seconds
    leases: list[Number]


class ClientClosed(Shape):
    """A session that has ended."""

    closed: Number


class Client(Shape):
    """A session that is open.

    holds: how many leases end with it
    """

    client: Number
    label: str
    ttl_ms: Count
    holds: Count


class ClientList(Shape):
    """Sessions that are open."""

    clients: list[Client]


_ID: Final = {"id": text("the number of a session")}
OPERATIONS: Final = {
    "GET /v1/clients": Operation("listClients", {200: ClientList}),
    "POST /v1/clients": Operation("openClient", {201: ClientOpened}, body=optional(ClientBody)),
    "POST /v1/clients/{id}:renew": Operation("renewClient", {200: ClientRenewed}, parameters=_ID),
    "DELETE /v1/clients/{id}": Operation("closeClient", {200: ClientClosed}, parameters=_ID),
}
