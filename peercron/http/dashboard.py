"""Routes of the dashboard: the page at / and its files, from any node, also from one that is alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Final

from aiohttp import web

from peercron.http.answers import etag_of, kept_answer
from peercron.http.asking import Route
from peercron.http.problems import BadRequest

#: What each kind of file is; no other is served.
KINDS: Final = MappingProxyType(
    {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
)
#: Nothing comes from elsewhere, nothing is sent elsewhere, and no text that got in somehow is run.
POLICY: Final = "; ".join(
    [
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    ]
)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    kind: str
    body: bytes
    etag: str


class Files:
    """The files of the page, read when the first of them is asked for, and kept: all together they are small.

    >>> files = Files()                         # doctest: +SKIP
    >>> (await files.get("index.html")).kind    # doctest: +SKIP
    'text/html'
    """

    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    async def get(self, name: str) -> File | None:
        """None: there is no such file."""
        if not self._files:
            self._files = await asyncio.to_thread(_read)
        return self._files.get(name)


FILES: web.AppKey[Files] = web.AppKey("files", Files)


def _read() -> dict[str, File]:
    folder = resources.files(__package__).joinpath("ui")
    found = {}
    for path in folder.iterdir():
        kind = KINDS.get(path.name.rpartition(".")[2])
        if kind is not None:
            found[path.name] = File(kind, body := path.read_bytes(), etag_of(body))
    return found


async def page(request: web.Request) -> web.Response:
    """The dashboard. Needs no leader and no token: the page asks for one where the cluster wants it."""
    return await _answer(request, "index.html")


async def file(request: web.Request) -> web.Response:
    """A file of the dashboard: a script, a style sheet, an icon."""
    return await _answer(request, request.match_info["file"])


async def _answer(request: web.Request, name: str) -> web.Response:
    found = await request.app[FILES].get(name)
    if found is None:
        raise BadRequest("path", f"the dashboard has no file {name}", code="not_found", status=404)
    answer = kept_answer(request, found.body, found.etag, found.kind)
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Vary"] = "Accept-Encoding"
    if answer.status == 200:
        answer.enable_compression()  # a third of it, which counts where the node is far away
    return answer


ROUTES = (
    Route("GET", "/", page, None),
    Route("GET", "/ui/{file:[a-z]+[.][a-z]+}", file, None),
)
