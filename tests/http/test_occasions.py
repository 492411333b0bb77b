"""Webhooks, events and verdicts over HTTP."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

from peercron.core.commands import ReportHealth
from peercron.core.health import HealthReport
from tests.http.conftest import NOW_MS, Site

HOOK = {"every": None, "webhook": True}


async def put(site: Site, name: str, **table: Any) -> Any:
    answer = await site.ask("PUT", f"/v1/jobs/{name}", {"shell": "true", "overlap": "allow"} | table)
    assert answer.status in (200, 201), answer.text
    return answer.json


# Webhooks.


async def test_a_call_runs_the_job_with_the_bodys_keys_as_params(site: Site) -> None:
    await put(site, "hooked", webhook=True)
    answer = await site.ask("POST", "/v1/hooks/hooked", {"day": "mon", "n": 3, "more": {"a": [1]}})
    assert answer.status == 202
    assert answer.json["params"] == {"day": "mon", "n": "3", "more": '{"a": [1]}'}
    assert (answer.json["cause"], answer.json["state"], answer.json["manual"]) == ("webhook", "running", False)
    assert (await site.ask("POST", "/v1/hooks/hooked")).status == 202  # no body, no params


async def test_what_has_no_webhook_is_not_called(site: Site) -> None:
    await put(site, "plain", every="1h")
    answer = await site.ask("POST", "/v1/hooks/plain", {})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "webhook = true" in answer.json["detail"]
    assert (await site.ask("POST", "/v1/hooks/nobody", {})).status == 404


async def test_a_body_that_is_no_object_is_refused(site: Site) -> None:
    await put(site, "hooked", webhook=True)
    assert (await site.ask("POST", "/v1/hooks/hooked", [1])).status == 422
    assert (await site.ask("POST", "/v1/hooks/hooked", {"no good": 1})).status == 422


async def test_with_a_secret_only_signed_calls_are_taken(site: Site, tmp_path: Path) -> None:
    secret, body = tmp_path / "secret", b'{"day": "mon"}'
    secret.write_text("top\n")
    await put(site, "hooked", webhook=True, webhook_secret={"file": str(secret)})
    json = {"Content-Type": "application/json"}
    signature = hmac.new(b"top", body, hashlib.sha256).hexdigest()
    for wrong in ({}, {"X-Hub-Signature-256": "sha256=" + "0" * 64}, {"X-Hub-Signature-256": signature}):
        answer = await site.ask("POST", "/v1/hooks/hooked", body, headers=json | wrong)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
    right = json | {"X-Hub-Signature-256": f"sha256={signature}"}
    assert (await site.ask("POST", "/v1/hooks/hooked", body, headers=right)).status == 202
    assert (await site.ask("POST", "/v1/hooks/hooked", body + b" ", headers=right)).status == 403
    secret.unlink()
    answer = await site.ask("POST", "/v1/hooks/hooked", body, headers=right)
    assert answer.status >= 400
    assert "cannot read the secret" in answer.json["detail"]


# Events.


async def test_an_event_reaches_who_waits_for_it(site: Site) -> None:
    await put(site, "x", on={"event": "deployed"})
    answer = await site.ask("POST", "/v1/events/deployed", {"params": {"tag": "v1"}})
    assert (answer.status, answer.json) == (202, {"event": "default/deployed", "jobs": 1})
    (run,) = (await site.get("/v1/jobs/x/runs")).json["runs"]
    assert (run["params"], run["cause"]) == ({"tag": "v1"}, "event default/deployed")
    assert (await site.ask("POST", "/v1/events/ops%2Fdeployed")).json == {"event": "ops/deployed", "jobs": 0}


async def test_a_key_that_crosses_starts_the_job(site: Site) -> None:
    await put(site, "low", when='state("stock") < 10')
    for value in (b"20", b"9", b"8"):
        await site.ask("PUT", "/v1/state/default/stock", value)
    (run,) = (await site.get("/v1/jobs/low/runs")).json["runs"]
    assert run["cause"].startswith("condition, as of default/stock at revision")
    wrong = await site.ask("PUT", "/v1/jobs/bad", {"shell": "true", "when": 'state("stock") <'})
    assert wrong.json["errors"] == [{"path": "when", "message": "column 17: a value is missing at the end"}]


# Health.


async def test_verdicts_are_listed_with_who_gave_them(site: Site) -> None:
    view = await put(site, "x", every="1h", checks=[{"name": "port", "endpoint": ":80"}])
    (row,) = (await site.get("/v1/health")).json["health"]
    assert (row["job"], row["check"], row["node"], row["well"]) == ("default/x", "port", "n1", None)
    assert row["reason"] == "check port: n1 has not been looked at yet"
    await site.node.do(ReportHealth("id-n1", 1, (HealthReport(view["uid"], "port", "id-n1", False, "refused"),)))
    (row,) = (await site.get("/v1/health?job=x")).json["health"]
    assert (row["well"], row["reason"]) == (False, "check port: refused (said by 1 of 1)")
    (said,) = row["observers"]
    assert (said["node"], said["well"], said["detail"]) == ("n1", False, "refused")
    assert said["since"].startswith("20")
    assert site.node.state.now_ms == NOW_MS
    assert (await site.get("/v1/health?job=nobody")).status == 404
