"""Routes of the shared state."""

from __future__ import annotations

import pytest

from peercron.core.commands import ExpireLease
from tests.http.conftest import Site


async def test_what_is_put_is_got(site: Site) -> None:
    for value, kind in ((b"\x00\xff", "application/octet-stream"), (b'{"a": 1}', "application/json")):
        put = await site.ask("PUT", "/v1/state/default/stock", value)
        assert put.status == 200
        got = await site.get("/v1/state/default/stock")
        assert (got.body, got.headers["Content-Type"]) == (value, kind)
        assert got.headers["ETag"] == put.headers["ETag"] == f'"{put.json["revision"]}"'


async def test_json_is_kept_as_it_was_written(site: Site) -> None:
    await site.ask("PUT", "/v1/state/default/stock", {"n": 10})
    assert (await site.get("/v1/state/default/stock")).json == {"n": 10}


@pytest.mark.parametrize("value", [b"NaN", b'{"n": -Infinity}', b"{"])
async def test_what_is_said_to_be_json_has_to_be(site: Site, value: bytes) -> None:
    answer = await site.ask("PUT", "/v1/state/default/k", value, headers={"Content-Type": "application/json"})
    assert (answer.status, "is not JSON" in answer.json["detail"]) == (400, True)
    assert ("it knows no Infinity" in answer.json["detail"]) is (b"Infinity" in value)
    assert (await site.get("/v1/state/default/k")).status == 404
    assert (await site.ask("PUT", "/v1/state/default/k", value)).status == 200, "bytes are bytes"


async def test_keys_may_have_slashes_and_anything_else(site: Site) -> None:
    for name in ("a/b/c", "caf%C3%A9", "a%20b", "%25", "a:b", "a%0Ab"):
        assert (await site.ask("PUT", f"/v1/state/default/{name}", b"x")).status == 200
        assert (await site.get(f"/v1/state/default/{name}")).body == b"x"
    assert set(site.node.state.keys["default"]) == {"a/b/c", "café", "a b", "%", "a:b", "a\nb"}


async def test_compare_and_set(site: Site) -> None:
    revision = (await site.ask("PUT", "/v1/state/default/k", b"1", headers={"If-None-Match": "*"})).json["revision"]
    taken = await site.ask("PUT", "/v1/state/default/k", b"2", headers={"If-None-Match": "*"})
    assert (taken.status, taken.json["code"]) == (412, "conflict")
    fine = await site.ask("PUT", "/v1/state/default/k", b"2", headers={"If-Match": f'"{revision}"'})
    assert fine.status == 200
    stale = await site.ask("DELETE", "/v1/state/default/k", headers={"If-Match": f'"{revision}"'})
    assert stale.status == 412
    assert (await site.ask("DELETE", "/v1/state/default/k")).status == 200
    assert (await site.get("/v1/state/default/k")).status == 404
    assert (await site.ask("DELETE", "/v1/state/default/k")).status == 404


async def test_list(site: Site) -> None:
    for name in ("b", "a/1", "a/2"):
        await site.ask("PUT", f"/v1/state/default/{name}", b"xx")
    listed = (await site.get("/v1/state/default/?prefix=a/")).json["keys"]
    assert [(entry["key"], entry["size"]) for entry in listed] == [("a/1", 2), ("a/2", 2)]
    assert (await site.get("/v1/state/other/")).json["keys"] == []


async def test_refusals_name_the_field(site: Site) -> None:
    answer = await site.ask("PUT", "/v1/state/a%20b/k", b"x")
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert "namespace" in answer.json["detail"]


async def test_compare_and_set_in_one_body(site: Site) -> None:
    first = await site.ask("POST", "/v1/state/default/a/k:cas", {"if_revision": 0, "value": {"n": 1}})
    assert (first.status, first.json["key"]) == (200, "a/k")
    again = await site.ask("POST", "/v1/state/default/a/k:cas", {"if_revision": 0, "value": None})
    assert (again.status, again.json["code"]) == (409, "conflict")
    revision = first.json["revision"]
    assert (await site.ask("POST", "/v1/state/default/a/k:cas", {"if_revision": revision, "value": 2})).status == 200
    assert (await site.get("/v1/state/default/a/k")).json == 2


async def test_a_count(site: Site) -> None:
    told = [(await site.ask("POST", "/v1/state/default/n:incr", body)).json for body in (None, {"by": 41}, {"by": -2})]
    assert [each["value"] for each in told] == [1, 42, 40]
    got = await site.get("/v1/state/default/n")
    assert (got.json, got.headers["ETag"]) == (40, f'"{told[-1]["revision"]}"')
    await site.ask("PUT", "/v1/state/default/n", b"many")
    answer = await site.ask("POST", "/v1/state/default/n:incr")
    assert (answer.status, answer.json["code"]) == (422, "invalid")


async def test_a_key_may_have_a_time(site: Site) -> None:
    await site.ask("PUT", "/v1/state/default/k?ttl=30s", b"x")
    await site.ask("POST", "/v1/state/default/l:cas", {"if_revision": 0, "value": 1, "ttl": "2s"})
    await site.ask("POST", "/v1/state/default/n:incr", {"ttl": "1m"})
    assert [lease.ttl_ms for lease in site.node.state.leases.values()] == [30_000, 2_000, 60_000]
    await site.node.do(ExpireLease(next(iter(site.node.state.leases))))
    assert (await site.get("/v1/state/default/k")).status == 404


@pytest.mark.parametrize("ttl", ["0s", "50ms", "367d", "x"])
async def test_a_time_to_live_that_is_none_is_no_eternal_life(site: Site, ttl: str) -> None:
    answer = await site.ask("PUT", f"/v1/state/default/k?ttl={ttl}", b"x")
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "ttl")
    assert "wants 100 ms to 366 days" in answer.json["detail"] or ttl == "x"
    assert not site.node.state.keys


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("k:cas", {"value": 1}, "if_revision"),
        ("k:cas", {"if_revision": -1, "value": 1}, "if_revision"),
        ("k:cas", {"if_revision": True, "value": 1}, "if_revision"),
        ("k:cas", {"if_revision": 0}, "value"),
        ("k:cas", {"if_revision": 0, "value": 1, "ttl": 5}, "ttl"),
        ("n:incr", {"by": 1.5}, "by"),
        ("n:incr", {"by": 2**63}, "by"),
        ("n:incr", {"ttl": "soon"}, "ttl"),
        ("n:incr", {"ttl": "0s"}, "ttl"),
        ("n:incr", {"step": 2}, "step"),
    ],
)
async def test_a_wrong_field_is_named(site: Site, path: str, body: object, field: str) -> None:
    answer = await site.ask("POST", f"/v1/state/default/{path}", body)
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, field)
