"""GET /metrics: how this node and its cluster are, for Prometheus and what reads its format.

The numbers are read on the loop in one go, at a cost that does not depend on how many jobs, runs or items there are;
the text is made of them in a thread. No quorum is asked for: a node that is cut off says so here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from peercron.core.histogram import Histogram
from peercron.core.token import Scope
from peercron.http.asking import CLOCK, Route, node_of
from peercron.http.exposition import families
from peercron.http.families import counters, histograms

LATENCY_S = (0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)
#: What is asked for under no route, in the place of its path.
UNMATCHED = "unmatched"
#: The client went before it was answered, in the place of a status.
GONE = "gone"


class Scraped(Collector):
    """What this server has answered, and the text of all metrics. One registry for each node: a process may have more.

    There are as many routes as the application has, each with a few methods and six classes of status.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.seconds: dict[tuple[str, ...], Histogram] = {}
        self._families: list[Metric] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def answered(self, method: str, route: str, status: str, seconds: float) -> None:
        self.requests[method, route, status] += 1
        key = method, route
        if key not in self.seconds:
            self.seconds[key] = Histogram(LATENCY_S)
        self.seconds[key].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        yield from self._families

    def own(self) -> list[Metric]:
        """What is told of HTTP."""
        return [
            counters("peercron_http_requests", ANSWERED, ("method", "route", "status"), self.requests),
            histograms("peercron_http_request_duration_seconds", TOOK, ("method", "route"), self.seconds),
        ]

    async def text(self, told: list[Metric], accept: str) -> tuple[bytes, str]:
        """The metrics in a format that the caller takes, and the format's name."""
        self._families = [*told, *self.own()]
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), content_type


ANSWERED = f"Requests that this node answered, by class of status ({GONE}: the client went before)."
TOOK = "How long the answers took; reads that wait for a change, and streams, are as long as they were asked to wait."
SCRAPED: web.AppKey[Scraped] = web.AppKey("scraped", Scraped)


@web.middleware
async def measure(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Outermost: what it sees is what leaves."""
    clock, status = request.app[CLOCK], GONE
    begun_s = clock.monotonic()
    try:
        response = await handler(request)
        status = f"{response.status // 100}xx"
        return response
    finally:
        method, route = _route_of(request)
        request.app[SCRAPED].answered(method, route, status, clock.monotonic() - begun_s)


def _route_of(request: web.Request) -> tuple[str, str]:
    resource = request.match_info.route.resource
    return (request.method, resource.canonical) if resource is not None else ("", UNMATCHED)


async def metrics(request: web.Request) -> web.Response:
    """Every metric that this node has; see `peercron.http.exposition` for what they are."""
    node, clock = node_of(request), request.app[CLOCK]
    told = families(node, clock.wall_ms())
    text, content_type = await request.app[SCRAPED].text(told, request.headers.get("Accept", ""))
    return web.Response(body=text, headers={"Content-Type": content_type})


ROUTES = (Route("GET", "/metrics", metrics, Scope.READ),)
