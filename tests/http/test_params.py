"""A run by hand is given parameters over HTTP, and what is no parameter is named."""

from __future__ import annotations

from tests.http.conftest import Site


async def test_a_run_is_given_parameters(site: Site) -> None:
    await site.put_job()
    answer = await site.ask("POST", "/v1/jobs/hello:run", {"params": {"day": "mon", "n": 3, "full": True}})
    assert answer.status == 202
    run = (await site.get(f"/v1/runs/{answer.json['id']}")).json
    assert run["params"] == {"day": "mon", "n": "3", "full": "true"}


async def test_what_is_no_parameter_is_named(site: Site) -> None:
    await site.put_job()
    wrong = await site.ask("POST", "/v1/jobs/hello:run", {"params": {"day": ["mon"], "n": None}})
    assert (wrong.status, [error["path"] for error in wrong.json["errors"]]) == (422, ["params.day", "params.n"])
    listed = await site.ask("POST", "/v1/jobs/hello:run", {"params": []})
    assert listed.json["errors"][0] == {"path": "params", "message": "must be an object"}
    named = await site.ask("POST", "/v1/jobs/hello:run", {"params": {"a b": "x"}})
    assert (named.status, named.json["code"]) == (422, "invalid")
    assert "no name of letters" in named.text
    assert not site.node.state.runs
