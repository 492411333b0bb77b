"""Routes of the shared state."""

from __future__ import annotations

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


async def test_keys_may_have_slashes_and_anything_else(site: Site) -> None:
    for name in ("a/b/c", "caf%C3%A9", "a%20b", "%25", "a:b"):
        assert (await site.ask("PUT", f"/v1/state/default/{name}", b"x")).status == 200
        assert (await site.get(f"/v1/state/default/{name}")).body == b"x"
    assert set(site.node.state.keys["default"]) == {"a/b/c", "café", "a b", "%", "a:b"}


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
