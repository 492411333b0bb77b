"""Who is let in to what: every scope at every route, runs, root, and tokens that come and go meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest

from peercron.access import ROOT_MS, digest_of, fresh_token, root_pass
from peercron.core.commands import CreateToken, PutKey, RevokeToken
from peercron.core.token import Scope, allowed
from peercron.errors import NoLeader
from peercron.http.app import ROUTES
from peercron.http.openapi.document import key_of
from peercron.runpass import run_pass
from tests.http.conftest import NOW_MS, Answer, Site, StartSite
from tests.http.promises import DOCUMENT

STATE = "/v1/state/default/k"
#: What each route wants, said once more here. "": everybody may, or it asks in its own way.
WANTED = {
    "": """
        GET /livez | GET /readyz | GET /openapi.json | POST /v1/hooks/{name} | POST /v1/runs/{id}:checkpoint
        | GET / | GET /ui/{file}
    """,
    "read": """
        GET /metrics | GET /v1/calendars | GET /v1/calendars/{name} | GET /v1/clients | GET /v1/digest | GET /v1/doctor
        | GET /v1/events | GET /v1/export | GET /v1/fence/{name} | GET /v1/health | GET /v1/jobs | GET /v1/jobs/{name}
        | GET /v1/jobs/{name}/explain | GET /v1/jobs/{name}/ledger | GET /v1/jobs/{name}/next | GET /v1/jobs/{name}/runs
        | GET /v1/locks | GET /v1/locks/{namespace}/{name} | GET /v1/members | GET /v1/pools | GET /v1/pools/{name}
        | GET /v1/queues | GET /v1/queues/{namespace}/{name} | GET /v1/queues/{namespace}/{name}/items
        | GET /v1/queues/{namespace}/{name}/items/{id} | GET /v1/runs | GET /v1/runs/{id} | GET /v1/runs/{id}/log
        | GET /v1/overview
        | GET /v1/slices | GET /v1/state | GET /v1/state/{namespace}/ | GET /v1/state/{namespace}/{key} | GET /v1/status
        | GET /v1/snapshot | GET /v1/tokens | POST /v1/plan
    """,
    "data": """
        POST /v1/clients | POST /v1/clients/{id}:renew | DELETE /v1/clients/{id} | POST /v1/events/{name}
        | POST /v1/locks/{namespace}/{name}:acquire | POST /v1/locks/{namespace}/{name}:renew
        | POST /v1/locks/{namespace}/{name}:release | PUT /v1/queues/{namespace}/{name}
        | DELETE /v1/queues/{namespace}/{name} | POST /v1/queues/{namespace}/{name}/items
        | DELETE /v1/queues/{namespace}/{name}/items | POST /v1/queues/{namespace}/{name}/items/{id}:ack
        | POST /v1/queues/{namespace}/{name}/items/{id}:extend | POST /v1/queues/{namespace}/{name}/items/{id}:nack
        | POST /v1/queues/{namespace}/{name}:ack | POST /v1/queues/{namespace}/{name}:extend
        | POST /v1/queues/{namespace}/{name}:nack | POST /v1/queues/{namespace}/{name}:receive
        | POST /v1/queues/{namespace}/{name}:replay | PUT /v1/state/{namespace}/{key}
        | DELETE /v1/state/{namespace}/{key} | POST /v1/state/{namespace}/{key}:cas
        | POST /v1/state/{namespace}/{key}:incr
    """,
    "run": """
        POST /v1/jobs/{name}:run | POST /v1/jobs/{name}:pause | POST /v1/jobs/{name}:resume
        | POST /v1/jobs/{name}:failback | POST /v1/jobs/{name}:backfill | POST /v1/runs/{id}:cancel
        | POST /v1/runs/{id}:retry
    """,
    "jobs": """
        POST /v1/jobs | PUT /v1/jobs/{name} | PATCH /v1/jobs/{name} | DELETE /v1/jobs/{name} | POST /v1/apply
        | PUT /v1/pools/{name} | DELETE /v1/pools/{name} | PUT /v1/calendars/{name} | DELETE /v1/calendars/{name}
    """,
    "admin": """
        POST /v1/members | DELETE /v1/members/{name} | POST /v1/members/{name}:drain | POST /v1/members/{name}:undrain
        | POST /v1/leader:transfer | PUT /v1/snapshot | POST /v1/cluster:pause
        | POST /v1/cluster:resume | POST /v1/tokens | DELETE /v1/tokens/{name}
    """,
}
BY_ROUTE = {" ".join(key.split()): scope for scope, keys in WANTED.items() for key in keys.split("|")}


async def let_in(site: Site, *scopes: Scope, name: str = "ops", ttl_ms: int = 0) -> str:
    """A new token."""
    token = fresh_token()
    await site.node.do(CreateToken(name, digest_of(token), scopes or (Scope.ADMIN,), ttl_ms))
    return token


def showing(token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def ask(site: Site, route: str, **more: Any) -> Answer:
    """A request that the route would carry out or refuse for its own reasons."""
    method, path = route.split()
    path = re.sub(r"\{\w+\}", "1", path.replace("{file}", "main.js")) + ("?follow=0" if path == "/v1/events" else "")
    return await site.ask(method, path, **more)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


def test_every_route_says_what_it_wants() -> None:
    """A new route has a scope, and a line here."""
    assert {key_of(route): route.scope or "" for route in ROUTES} == BY_ROUTE


@pytest.mark.parametrize("scope", Scope)
async def test_a_scope_opens_what_it_is_for_and_nothing_else(site: Site, scope: Scope) -> None:
    await let_in(site)
    mine = showing(await let_in(site, scope, name="mine"))
    for route, wanted in {**BY_ROUTE, "POST /v1/hooks/{name}": "run"}.items():  # a hook without a secret
        answer = await ask(site, route, **mine)
        if wanted and wanted not in allowed((scope,)):
            assert code(answer) == (403, "forbidden"), route
            assert f"scope {wanted}, and token mine may" in answer.json["detail"]
        elif route != "POST /v1/runs/{id}:checkpoint":  # which wants another kind of pass
            assert answer.status not in (401, 403), (route, answer.text)


@pytest.mark.parametrize("said", ["", "Bearer ", "Basic b3BzOm9wcw==", "Bearer pcr_" + "0" * 40, "Bearer \udcff"])
async def test_who_has_no_token_sees_what_is_for_everybody(site: Site, said: str) -> None:
    await let_in(site)
    headers = {"Authorization": said} if said else {}
    for route, wanted in BY_ROUTE.items():
        answer = await ask(site, route, headers=headers)
        if wanted or "hooks" in route:
            assert code(answer) == (401, "unauthenticated"), route
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        elif "checkpoint" not in route:
            assert answer.status == 200, route


async def test_without_tokens_nobody_is_asked(site: Site) -> None:
    for said in ("", "Bearer pcr_" + "0" * 40):
        for route in BY_ROUTE:
            if "checkpoint" not in route:
                answer = await ask(site, route, headers={"Authorization": said} if said else {})
                assert answer.status not in (401, 403), route


def test_the_document_says_what_is_wanted() -> None:
    for key, wanted in BY_ROUTE.items():
        method, path = key.split()
        security = DOCUMENT["paths"][path][method.lower()].get("security", [])
        run = [{"run": []}] if wanted in ("read", "data") else []
        if wanted:
            assert security == [{}, {"token": [wanted]}, *run], key
    assert DOCUMENT["paths"]["/v1/runs/{id}:checkpoint"]["post"]["security"] == [{"run": []}]
    assert DOCUMENT["paths"]["/v1/hooks/{name}"]["post"]["security"] == [{}, {"token": ["run"]}]
    assert "security" not in DOCUMENT["paths"]["/livez"]["get"]


async def test_a_revoked_token_is_none(site: Site) -> None:
    await let_in(site)
    mine = showing(await let_in(site, Scope.DATA, name="mine"))
    assert (await site.ask("PUT", STATE, b"1", **mine)).status == 200
    await site.node.do(RevokeToken("mine"))
    assert code(await site.ask("PUT", STATE, b"2", **mine)) == (401, "unauthenticated")
    assert code(await site.get(STATE, **mine)) == (401, "unauthenticated")


async def test_an_end_comes_by_the_clock_of_the_node_or_by_the_time_of_the_state(start_site: StartSite) -> None:
    one, two = await start_site("n1"), await start_site("n2")
    await let_in(one)
    mine = showing(await let_in(one, Scope.READ, name="mine", ttl_ms=60_000))
    one.clock.advance(59.9)
    assert (await one.get("/v1/jobs", **mine)).status == 200
    one.clock.advance(0.1)
    answer = await one.get("/v1/jobs", **mine)
    assert code(answer) == (401, "unauthenticated")
    assert "token mine expired at 2027-01-15T08:01:00.000Z" in answer.json["detail"]
    assert (await two.get("/v1/jobs", **mine)).status == 200, "its clock says so, and nothing has happened"
    two.node.state.now_ms = NOW_MS + 60_000
    assert code(await two.get("/v1/jobs", **mine)) == (401, "unauthenticated")


async def test_a_token_that_is_on_its_way_is_waited_for(site: Site) -> None:
    """It was made at another node a moment ago."""
    await let_in(site)
    token = fresh_token()
    barrier = site.node.read_barrier

    async def catch_up(timeout_s: float) -> None:
        await site.node.do(CreateToken("new", digest_of(token), (Scope.READ,)))
        site.node.read_barrier = barrier  # type: ignore[method-assign]

    site.node.read_barrier = catch_up  # type: ignore[method-assign]
    assert (await site.get("/v1/status", **showing(token))).status == 200


async def test_without_a_leader_this_node_goes_by_what_it_knows(site: Site) -> None:
    token = await let_in(site)
    site.node.has_leader = False
    assert (await site.get("/v1/status", **showing(token))).status == 200
    assert code(await site.get("/v1/status", **showing(fresh_token()))) == (401, "unauthenticated")
    assert (await site.get("/readyz")).status == 200


async def test_a_node_that_has_just_begun_may_not_have_heard_of_tokens(site: Site) -> None:
    """Neither does it write, nor show what it hears with the first of them."""

    async def catch_up(timeout_s: float) -> None:
        if not site.node.state.tokens:
            await let_in(site)

    site.node.read_barrier = catch_up  # type: ignore[method-assign]
    assert code(await site.ask("PUT", STATE, b"1")) == (401, "unauthenticated")
    await site.node.do(RevokeToken("ops", open=True))
    assert code(await site.get("/v1/jobs")) == (401, "unauthenticated")


async def test_without_a_leader_it_does_not_write_either(site: Site) -> None:
    site.node.has_leader = False
    assert code(await site.ask("PUT", STATE, b"1")) == (503, "no_leader")
    site.node.has_leader = True
    assert (await site.ask("PUT", STATE, b"1")).status == 200
    barriers = site.node.barriers
    assert (await site.ask("PUT", STATE, b"1")).status == 200
    assert site.node.barriers == barriers, "once is enough"


# What takes its time.


async def test_an_answer_that_waited_is_given_to_who_may_still_have_it(site: Site) -> None:
    await let_in(site)
    mine = showing(await let_in(site, Scope.READ, name="mine"))
    index = (await site.get("/v1/jobs", **mine)).headers["Peercron-Index"]
    site.node.waiting.clear()
    waits = asyncio.create_task(site.get(f"/v1/jobs?index={index}&wait=1m", **mine))
    await site.node.waiting.wait()
    await site.node.do(RevokeToken("mine"))
    assert code(await waits) == (401, "unauthenticated")


async def test_a_stream_ends_with_its_token(site: Site) -> None:
    await let_in(site)
    mine = showing(await let_in(site, Scope.READ, name="mine"))
    site.node.waiting.clear()
    async with site.session.get(f"{site.url}/v1/state/default/?watch=1", **mine) as answer:
        await answer.content.readline()
        await site.node.waiting.wait()
        await site.node.do(RevokeToken("mine"))
        await site.node.do(PutKey("default", "k", b"what comes then"))
        *_, last = (await answer.content.read()).splitlines()
    assert json.loads(last)["error"]["code"] == "unauthenticated"
    assert b"what comes then" not in last


# Runs.


async def run_of(site: Site) -> tuple[str, int, dict[str, Any]]:
    await site.put_job()
    run = await site.run_job()
    token = run["attempts"][0]["token"]
    return run["id"], token, showing(run_pass(site.node.pass_key, site.node.settings.cluster, run["id"], token))


async def test_a_run_reads_and_uses_data_and_defines_nothing(site: Site) -> None:
    run_id, token, own = await run_of(site)
    await let_in(site)
    for route, wanted in BY_ROUTE.items():
        if wanted:
            answer = await ask(site, route, **own)
            may = wanted in ("read", "data")
            assert (answer.status not in (401, 403)) if may else (code(answer) == (403, "forbidden")), route
    path = f"/v1/runs/{run_id.replace('/', '%2F')}:checkpoint"
    assert (await site.ask("POST", path, {"token": token, "data": 1}, **own)).status == 200
    claim = {"owner": "n1/1/x", "run": run_id, "attempt": token}
    assert (await site.ask("POST", "/v1/locks/default/l:acquire", claim, **own)).status == 200


async def saved(site: Site, run_id: str, token: int, pass_: dict[str, Any]) -> int:
    path = f"/v1/runs/{run_id.replace('/', '%2F')}:checkpoint"
    return (await site.ask("POST", path, {"token": token, "data": 1}, **pass_)).status


async def test_where_all_are_trusted_runs_may_speak_to_any_node(site: Site) -> None:
    """Without a secret each node makes passes by its own; with tokens, or with a secret, that is not good enough."""
    run_id, token, _ = await run_of(site)
    others = showing(run_pass(b"of another node", "peercron", run_id, token))
    assert await saved(site, run_id, token, others) == 200
    assert await saved(site, run_id, token, showing(run_pass(b"", "peercron", run_id, token + 1))) == 403
    await let_in(site)
    assert await saved(site, run_id, token, others) == 403


async def test_with_a_secret_nobody_makes_passes_without_it(guarded: Site) -> None:
    await guarded.node.do(RevokeToken("ops", open=True))
    run_id, token, own = await run_of(guarded)
    for secret in (b"", b"another"):
        assert await saved(guarded, run_id, token, showing(run_pass(secret, "peercron", run_id, token))) == 403
    assert await saved(guarded, run_id, token, own) == 200


async def test_the_pass_of_a_run_dies_with_it(site: Site) -> None:
    run_id, _, own = await run_of(site)
    await let_in(site)
    await site.node.finish_attempt(run_id)
    answer = await site.get(STATE, **own)
    assert code(answer) == (401, "stale_token")
    assert "is over" in answer.json["detail"]


async def test_a_run_that_the_state_does_not_know_is_known_where_it_runs(site: Site) -> None:
    """In slices a node gives attempts to itself."""
    await let_in(site)
    own = showing(run_pass(site.node.pass_key, site.node.settings.cluster, "7/1700000000000", 3))
    assert code(await site.get("/v1/jobs", **own)) == (401, "stale_token")
    site.node.running.append(("7/1700000000000", 3))
    assert (await site.get("/v1/jobs", **own)).status == 200


async def test_the_output_of_a_run_comes_from_another_node_in_the_name_of_who_asks(start_site: StartSite) -> None:
    one, two = await start_site("n1"), await start_site("n2")
    await one.put_job(nodes=["n2"])
    run = await one.run_job()
    (two.node.folder / f"{run['attempts'][0]['token']}.log").write_bytes(b"from two\n")
    mine = showing(await let_in(one))
    path = f"/v1/runs/{run['id'].replace('/', '%2F')}/log"
    answer = await one.get(path, **mine)
    assert (answer.text, answer.headers["Peercron-Log"]) == ("from two\n", "file")
    assert code(await two.get(path, headers={"Peercron-Forwarded": "n1"})) == (401, "unauthenticated")


async def test_output_that_is_followed_breaks_off_with_the_token(site: Site) -> None:
    run_id, token, _ = await run_of(site)
    await let_in(site)
    mine = showing(await let_in(site, Scope.READ, name="mine"))
    (site.node.folder / f"{token}.log").write_bytes(b"first\n")
    url = f"{site.url}/v1/runs/{run_id.replace('/', '%2F')}/log?follow=1"
    async with site.session.get(url, **mine) as answer:
        assert await answer.content.readline() == b"first\n"
        await site.node.do(RevokeToken("mine"))
        with pytest.raises(Exception, match="payload"):
            await answer.content.read()


# Webhooks.


async def test_a_webhook_with_a_secret_wants_no_token(site: Site, tmp_path: Path) -> None:
    secret, body = tmp_path / "secret", b"{}"
    secret.write_text("top\n")
    await site.ask("PUT", "/v1/jobs/open", {"shell": "true", "overlap": "allow", "webhook": True})
    signed = {"webhook_secret": {"file": str(secret)}}
    await site.ask("PUT", "/v1/jobs/signed", {"shell": "true", "overlap": "allow", "webhook": True} | signed)
    await let_in(site)
    mine = showing(await let_in(site, Scope.RUN, name="mine"))["headers"]
    kind = {"Content-Type": "application/json"}
    signature = {"X-Hub-Signature-256": "sha256=" + hmac.new(b"top", body, hashlib.sha256).hexdigest()}
    assert (await site.ask("POST", "/v1/hooks/signed", body, headers=kind | signature)).status == 202
    assert code(await site.ask("POST", "/v1/hooks/signed", body, headers=kind | mine)) == (403, "forbidden")
    assert (await site.ask("POST", "/v1/hooks/open", body, headers=kind | mine)).status == 202
    for name in ("open", "nobody"):  # who is not let in does not hear which jobs there are
        assert code(await site.ask("POST", f"/v1/hooks/{name}", body, headers=kind)) == (401, "unauthenticated")


# Root.


@pytest.fixture
async def guarded(start_site: StartSite, tmp_path: Path) -> Site:
    """A node of a cluster with a secret, and a token whose holder is not here."""
    (tmp_path / "secret").write_bytes(b"the secret of the cluster, long enough\n")
    site = await start_site(secret_file=str(tmp_path / "secret"))
    await let_in(site)
    return site


def root(site: Site, **changes: Any) -> dict[str, Any]:
    made = {"secret": site.node.settings.secret, "cluster": "peercron", "now_ms": NOW_MS} | changes
    return showing(root_pass(**made))


async def test_who_has_the_secret_may_do_everything(guarded: Site) -> None:
    for route, wanted in BY_ROUTE.items():
        if wanted:
            assert (await ask(guarded, route, **root(guarded))).status not in (401, 403), route


@pytest.mark.parametrize(
    "changes",
    [{"secret": b"another"}, {"cluster": "payroll"}, {"now_ms": NOW_MS - ROOT_MS}, {"now_ms": NOW_MS + ROOT_MS + 1}],
)
async def test_another_secret_cluster_or_time_is_none(guarded: Site, changes: dict[str, Any]) -> None:
    assert code(await guarded.get("/v1/tokens", **root(guarded, **changes))) == (401, "unauthenticated")


async def test_nobody_is_root_by_no_secret(site: Site) -> None:
    await let_in(site)
    assert site.node.pass_key == b""
    assert code(await site.get("/v1/tokens", **showing(root_pass(b"", "peercron", NOW_MS)))) == (401, "unauthenticated")
    for said in ("pcr_root_", "pcr_root_x_0", "pcr_root_99999999999999999999_0", "pcr_root_\u0661_0"):
        assert code(await site.get("/v1/tokens", **showing(said))) == (401, "unauthenticated")


async def test_no_error_says_what_was_shown(site: Site) -> None:
    token = await let_in(site, name="ops", ttl_ms=1)
    site.clock.advance(1)
    site.node.fails = NoLeader()
    for said in (token, fresh_token()):
        answer = await site.ask("PUT", STATE, b"1", **showing(said))
        assert answer.status == 401
        assert said not in answer.text


async def test_the_first_write_does_not_wait_for_a_leader_that_was_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def lost_at_first(timeout_s: float) -> None:
        waited.append(timeout_s)
        if len(waited) == 1:
            raise NoLeader

    monkeypatch.setattr(site.node, "read_barrier", lost_at_first)
    assert (await site.ask("PUT", "/v1/state/default/k", b"v")).status == 200
    assert len(waited) == 2
    assert sum(waited) < 1.0
