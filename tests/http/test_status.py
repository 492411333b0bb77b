"""Status, digest and health."""

from __future__ import annotations

from tests.http.conftest import Site


async def test_status_is_the_node_s_own(site: Site) -> None:
    answer = await site.get("/v1/status?consistency=stale")
    assert answer.json["healthy"] is True
    assert site.node.barriers == 0


async def test_the_digest_moves_with_the_state(site: Site) -> None:
    first = (await site.get("/v1/digest")).json
    assert first == (await site.get("/v1/digest")).json
    await site.ask("PUT", "/v1/state/default/k", b"1")
    second = (await site.get("/v1/digest")).json
    assert second["index"] > first["index"]
    assert second["digest"] != first["digest"]


async def test_live_and_ready_are_two_questions(site: Site) -> None:
    site.node.has_leader = False
    site.node.checks = [("leader", False, "none known"), ("disk", True, "writable")]
    assert (await site.get("/livez")).status == 200
    ready = await site.get("/readyz")
    assert (ready.status, ready.text) == (503, "[-]leader none known\n[+]disk writable\nnot ready\n")
    site.node.checks = [("leader", True, "n1")]
    assert (await site.get("/readyz")).text == "ready\n"
    assert (await site.get("/readyz?verbose")).text == "[+]leader n1\nready\n"
    site.node.lives = False
    assert (await site.get("/livez")).status == 503
