"""Who may not ask: pages of other sites in a browser that can reach this node, and runs in the name of another."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from peercron.address import is_loopback, split_address
from peercron.core.shards import holder_of
from peercron.http.asking import node_of
from peercron.http.auth import READS, bearer
from peercron.http.problems import BadRequest
from peercron.runpass import is_pass, named_by


@web.middleware
async def refuse_foreign_pages(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Browsers say where a page is from; programs do not and are let through.

    A write of another origin is refused. Where HTTP listens on loopback only, so is any request under a foreign host
    name: that is how a page whose name was bound anew to 127.0.0.1 would read what is here.
    """
    if request.method not in READS and _is_foreign(request):
        raise BadRequest("header.Origin", "writes from pages of other sites are refused", code="forbidden", status=403)
    if is_loopback(split_address(node_of(request).settings.http)[0]) and not _names_this_machine(request.host):
        raise BadRequest("header.Host", f"{request.host!r} is not this machine", code="misdirected", status=421)
    return await handler(request)


def _is_foreign(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        return True
    return request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")


def _names_this_machine(host_header: str) -> bool:
    host = urlsplit(f"//{host_header}").hostname or ""
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return is_loopback(host) or host in ("", "ip6-localhost")


def check_pass(request: web.Request, run_id: str, token: int) -> str:
    """Refuse who does not carry the secret of this attempt (PEERCRON_TOKEN) as its bearer token.

    Returns:
        The run, or that one of its shards, that has the attempt.
    """
    node, said = node_of(request), bearer(request)
    run_id = holder_of(node.state, run_id, token)
    if "Authorization" not in request.headers:
        message = "wants `Bearer` and the PEERCRON_TOKEN of an attempt; without it nobody knows who asks"
        raise BadRequest("header.Authorization", message, code="unauthenticated", status=401)
    # Without a secret each node has a key of its own, and runs may speak to any: as long as all may do everything, it
    # is enough that they do not take each other's names.
    all_are_trusted = node.settings.secret is None and not node.state.tokens
    if not (is_pass(said, node.pass_key, node.settings.cluster, run_id, token)) and not (
        all_are_trusted and named_by(said) == (run_id, token)
    ):
        message = "wants `Bearer` and the PEERCRON_TOKEN of this very attempt"
        raise BadRequest("header.Authorization", message, code="forbidden", status=403)
    return run_id
