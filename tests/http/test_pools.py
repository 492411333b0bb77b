"""Pools over HTTP and on the command line."""

from __future__ import annotations

from tests.http.conftest import Site


async def test_a_pool_is_made_read_and_deleted(site: Site) -> None:
    made = await site.ask("PUT", "/v1/pools/db", {"size": 1})
    assert (made.status, made.json) == (200, {"name": "db", "size": 1, "used": 0, "waiting": []})
    await site.put_job(pool="db", overlap="allow")
    await site.run_job()
    waiting = await site.run_job()
    assert waiting["reason"] == "pool db is full: 1 of 1 run, 0 before it wait"
    row = {"name": "db", "size": 1, "used": 1, "waiting": [waiting["id"]]}
    assert (await site.get("/v1/pools")).json == {"pools": [row]}
    assert (await site.get("/v1/pools/db")).json == row
    assert (await site.ask("DELETE", "/v1/pools/db")).status == 409
    await site.put_job()
    assert (await site.ask("DELETE", "/v1/pools/db")).json == {"deleted": "db"}
    assert (await site.get("/v1/pools/db")).status == 404


async def test_a_size_is_a_whole_number(site: Site) -> None:
    for size in (None, "1", 1.5, True, -1, 1 << 64, -(10**30)):
        answer = await site.ask("PUT", "/v1/pools/db", {"size": size})
        assert (answer.status, answer.json["errors"][0]["path"]) == (422, "size")
