"""Routes of pools: how many attempts of the jobs that share one may be alive at once."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from peercron.core.capacity import pool_use
from peercron.core.commands import DeletePool, SetPool
from peercron.core.limits import POOL_SIZE_MAX
from peercron.core.state import ClusterState
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import json_answer
from peercron.http.asking import READ_PARAMETERS, Route, commit, fields_of_body, fresh, node_of


def pool_view(state: ClusterState, name: str) -> dict[str, Any]:
    """A pool: its size, how many attempts are alive in it, and the runs that wait for it, the next one first."""
    line = list(state.pool_lines.get(name, ()))
    return {"name": name, "size": state.pools[name], "used": pool_use(state, name), "waiting": line}


async def list_pools(request: web.Request) -> web.Response:
    state = await fresh(request)
    return json_answer({"pools": [pool_view(state, name) for name in sorted(state.pools)]})


async def get_pool(request: web.Request) -> web.Response:
    state, name = await fresh(request), request.match_info["name"]
    if name not in state.pools:
        raise Refused("not_found", f"there is no pool {name}", state.index)
    return json_answer(pool_view(state, name))


async def put_pool(request: web.Request) -> web.Response:
    """Make the pool, or give it another size: {"size": n}."""
    size = (await fields_of_body(request, "size")).get("size")
    if type(size) is not int or not 0 <= size <= POOL_SIZE_MAX:
        raise ConfigError([Problem("size", f"must be a whole number from 0 (nothing runs) to {POOL_SIZE_MAX}")])
    name = request.match_info["name"]
    await commit(request, SetPool(name, size))
    return json_answer(pool_view(node_of(request).state, name))


async def delete_pool(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    await commit(request, DeletePool(name))
    return json_answer({"deleted": name})


ROUTES = (
    Route("GET", "/v1/pools", list_pools, READ_PARAMETERS),
    Route("GET", "/v1/pools/{name}", get_pool, READ_PARAMETERS),
    Route("PUT", "/v1/pools/{name}", put_pool),
    Route("DELETE", "/v1/pools/{name}", delete_pool),
)
