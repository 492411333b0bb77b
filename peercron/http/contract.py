"""Route of the contract: what this HTTP face takes and answers, as an OpenAPI 3.1 document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from aiohttp import web

from peercron.http.answers import etag_of, kept_answer
from peercron.http.asking import Route


class Contract:
    """The description of some routes as bytes, made when it is first asked for, and kept.

    >>> contract = Contract(ROUTES)             # doctest: +SKIP
    >>> await contract.content()                # doctest: +SKIP
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)
        self._content = b""
        self.etag = ""

    async def content(self) -> bytes:
        if not self._content:
            # In a thread: it takes tens of milliseconds, and a node that nobody asks does not even import it.
            self._content = await asyncio.to_thread(self._written)
            self.etag = etag_of(self._content)
        return self._content

    def _written(self) -> bytes:
        from peercron.http.openapi.document import document

        return msgspec.json.encode(document(self._routes))


CONTRACT: web.AppKey[Contract] = web.AppKey("contract", Contract)


async def openapi(request: web.Request) -> web.Response:
    """This document. Needs no leader; its ETag changes with the version of the node that is asked."""
    contract = request.app[CONTRACT]
    body = await contract.content()
    return kept_answer(request, body, contract.etag, "application/json")


ROUTES = (Route("GET", "/openapi.json", openapi, None),)
