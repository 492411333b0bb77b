"""Routes of pools: how many attempts of the jobs that share one may be alive at once."""

from __future__ import annotations

from typing import Any

from peercron.core.capacity import pool_use
from peercron.core.commands import DeletePool, SetPool
from peercron.core.limits import POOL_SIZE_MAX
from peercron.core.state import ClusterState
from peercron.http.catalog import Catalog


def pool_view(state: ClusterState, name: str) -> dict[str, Any]:
    """A pool: its size, how many attempts are alive in it, and the runs that wait for it, the next one first."""
    line = list(state.pool_lines.get(name, ()))
    return {"name": name, "size": state.pools[name], "used": pool_use(state, name), "waiting": line}


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= POOL_SIZE_MAX


POOLS = Catalog(
    word="pool",
    rows=lambda state: state.pools,
    view=pool_view,
    field="size",
    right=(f"a whole number from 0 (nothing runs) to {POOL_SIZE_MAX}", _is_size),
    put=SetPool,
    delete=DeletePool,
)
ROUTES = tuple(POOLS.routes())
