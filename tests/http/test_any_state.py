"""Whatever has happened to a cluster, each view of it can be asked for, and is as /openapi.json says (`Site.ask`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random
from urllib.parse import quote

import pytest

from peercron.access import digest_of, fresh_token
from peercron.core.apply import apply
from peercron.core.commands import CreateToken, PutItem
from peercron.core.history import recent_runs
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from tests.core.chance import some_command
from tests.http.conftest import NOW_MS, Site

STEPS = 500
#: Of each kind: more of the same say no more.
LOOKED_AT = 12


def views(state: ClusterState) -> Iterator[str]:
    """Paths of all that there is."""
    listed = ("jobs", "runs", "locks", "queues", "members", "clients", "pools", "calendars", "health", "tokens")
    whole = ("status", "export", "export?format=toml", "events?follow=0", "digest", "slices", "doctor", "overview")
    yield from (f"/v1/{what}" for what in (*listed, *whole))
    yield "/metrics"
    for job in list(state.jobs.values())[:LOOKED_AT]:
        yield from (
            f"/v1/jobs/{quote(job.key, safe='')}{what}" for what in ("", "/next", "/runs", "/ledger", "/explain")
        )
    for run_id in [*list(state.runs)[:LOOKED_AT], *(run.id for run in islice(recent_runs(state), LOOKED_AT))]:
        yield f"/v1/runs/{quote(run_id, safe='')}"
    for key in [*state.locks][:LOOKED_AT]:
        yield f"/v1/locks/{key}"
    for key in [*state.queues][:LOOKED_AT]:
        yield from (f"/v1/queues/{key}", f"/v1/queues/{key}/items")
        yield from (f"/v1/queues/{key}/items/{id_}" for id_ in list(state.items.get(key, ()))[:2])
    for kind in ("pools", "calendars"):
        yield from (f"/v1/{kind}/{name}" for name in getattr(state, kind))
    for namespace in state.keys:
        yield from (f"/v1/state/{namespace}/?values=1", f"/v1/state/{namespace}/?index={state.changes_floor}&wait=0s")


@pytest.mark.parametrize("seed", range(12))
async def test_each_view_is_as_described(site: Site, seed: int) -> None:
    dice, state, now_ms = Random(seed), site.node.state, NOW_MS
    for _ in range(STEPS):
        now_ms += dice.choice((0, 1, 400, 1_000, 5_000))
        command = some_command(dice, state)
        if isinstance(command, PutItem):
            command = replace(command, payload=b"{}")  # what comes by HTTP is JSON, unless it is said to be bytes
        apply(state, command, now_ms)
    token = fresh_token()
    apply(state, CreateToken("looker", digest_of(token), (Scope.ADMIN,)), now_ms)
    paths = list(views(state))
    assert len(paths) > 40
    for path in paths:
        answer = await site.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200, (path, answer.text)
