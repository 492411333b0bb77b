"""The application: every route in one table, what goes around them, and the server that listens."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from peercron.address import split_address
from peercron.clock import Clock, SystemClock
from peercron.errors import ConfigError, Problem
from peercron.http import (
    backfill,
    calendars,
    clients,
    contract,
    dashboard,
    doctor,
    documents,
    events,
    explain,
    health,
    jobs,
    lock,
    member,
    metrics,
    occasions,
    overview,
    pools,
    queues,
    runs,
    slices,
    snapshot,
    state,
    status,
    tokens,
)
from peercron.http.answers import CHANGES, LastChanges, add_headers
from peercron.http.asking import CLOCK, NODE, Handler, Route, check_names, check_once, wants_stale
from peercron.http.auth import DOOR, Door, admit
from peercron.http.contract import CONTRACT, Contract
from peercron.http.dashboard import FILES, Files
from peercron.http.feed import FEED, Feed
from peercron.http.guard import refuse_foreign_pages
from peercron.http.leaving import leaving
from peercron.http.malformed import SERVER_LOG
from peercron.http.metrics import SCRAPED, Scraped, measure
from peercron.http.overview import COMING, Coming
from peercron.http.port import NodePort
from peercron.http.presence import PRESENCE, Presence
from peercron.http.problems import BadRequest, answer_errors
from peercron.http.receiving import desks
from peercron.http.runlog import HOP_CONNECT_S, PEERS
from peercron.http.snapshot import UNDER_WAY
from peercron.settings import Settings
from peercron.sources import nearest

ROUTES: tuple[Route, ...] = (
    *status.ROUTES,
    *member.ROUTES,
    *jobs.ROUTES,
    *runs.ROUTES,
    *documents.ROUTES,
    *health.ROUTES,
    *occasions.ROUTES,
    *state.ROUTES,
    *queues.ROUTES,
    *lock.ROUTES,
    *clients.ROUTES,
    *snapshot.ROUTES,
    *slices.ROUTES,
    *pools.ROUTES,
    *calendars.ROUTES,
    *backfill.ROUTES,
    *explain.ROUTES,
    *events.ROUTES,
    *metrics.ROUTES,
    *doctor.ROUTES,
    *overview.ROUTES,
    *tokens.ROUTES,
    *contract.ROUTES,
    *dashboard.ROUTES,
)
BODY_BYTES_MAX = 1024 * 1024
#: Of the first line of a request: what has a name that is too long is told so by us.
LINE_BYTES_MAX = 32 * 1024
#: How long open answers (logs that are followed, reads that wait) may go on when the node ends.
SHUTDOWN_S = 0.5


def make_app(node: NodePort, clock: Clock | None = None) -> web.Application:
    """The application around a node; it starts nothing."""
    app = web.Application(middlewares=[measure, answer_errors, refuse_foreign_pages], client_max_size=BODY_BYTES_MAX)
    app[NODE] = node
    app[CLOCK] = clock or SystemClock()
    app[CHANGES] = LastChanges()
    app[FEED] = Feed()
    app[SCRAPED] = Scraped()
    app[COMING] = Coming()
    app[PRESENCE] = Presence()
    app[UNDER_WAY] = Counter()
    app[CONTRACT] = Contract(ROUTES)
    app[DOOR] = Door()
    app[FILES] = Files()
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, _checked(route))  # HEAD too
        else:
            app.router.add_route(route.method, route.path, _checked(route))
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_peers)
    app.cleanup_ctx.append(desks)
    app.cleanup_ctx.append(leaving)
    return app


def _checked(route: Route) -> Handler:
    """The route's handler, behind the door, the refusal of parameters that it does not know, and of what none takes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.scope is not None:
            await admit(request, route.scope)
        for name in request.query:
            if name not in route.parameters:
                hint = nearest(name, tuple(route.parameters))
                raise BadRequest(f"query.{name}", f"unknown parameter{hint}")
        wants_stale(request)
        check_once(request)
        if "namespace" in request.match_info:
            check_names(request.match_info)
        return await route.handler(request)

    return handle


async def _peers(app: web.Application) -> AsyncIterator[None]:
    """The session in which this node asks others for the output of their runs."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=HOP_CONNECT_S)
    connector = aiohttp.TCPConnector(ssl=_client_tls(app[NODE].settings) or True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        app[PEERS] = session
        yield


class Server:
    """HTTP of one node, listening until it is closed."""

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner = runner
        #: Base URL for people and programs.
        self.url = url

    async def close(self) -> None:
        """Stop listening, give open answers a moment, then drop them."""
        await self._runner.cleanup()


async def serve(node: NodePort, clock: Clock | None = None) -> Server:
    """Listen on `settings.http`; ConfigError names the address or the certificate that cannot be used.

    >>> server = await serve(node)                # doctest: +SKIP
    >>> await server.close()                      # doctest: +SKIP
    """
    settings = node.settings
    tls = _server_tls(settings)
    host, port = split_address(settings.http)
    runner = web.AppRunner(
        make_app(node, clock),
        access_log=None,
        logger=SERVER_LOG,
        shutdown_timeout=SHUTDOWN_S,
        max_line_size=LINE_BYTES_MAX,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, reuse_address=True).start()
    except OSError as error:
        await runner.cleanup()
        message = f"cannot listen on {settings.http}: {error.strerror or error}"
        raise ConfigError([Problem("--http", message)]) from None
    return Server(runner, settings.http_url)


def _server_tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise _unusable(settings.tls_cert, error) from None
    return context


def _client_tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (ssl.SSLError, OSError) as error:
        raise _unusable(settings.tls_ca, error) from None


def _unusable(path: Path | None, error: Exception) -> ConfigError:
    return ConfigError([Problem("--tls-cert", f"{path} and its key cannot be used: {error}")])
