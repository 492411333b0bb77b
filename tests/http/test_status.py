"""Status, members, leadership, digest and health."""

from __future__ import annotations

from tests.http.conftest import Site, StartSite


async def test_status_is_the_node_s_own(site: Site) -> None:
    answer = await site.get("/v1/status?consistency=stale")
    assert answer.json["healthy"] is True
    assert site.node.barriers == 0


async def test_members_are_what_the_state_knows_and_what_peers_measure(start_site: StartSite) -> None:
    one, _ = await start_site("n1"), await start_site("n2")
    members = {row["name"]: row for row in (await one.get("/v1/members")).json["members"]}
    assert set(members) == {"n1", "n2"}
    assert members["n1"]["behind"] == 0
    assert (members["n2"]["dc"], members["n2"]["tags"]) == ("east", {"disk": "ssd"})


async def test_leadership_is_handed_on(site: Site) -> None:
    assert (await site.ask("POST", "/v1/leader:transfer", {"to": "n2"})).status == 200
    assert (await site.ask("POST", "/v1/leader:transfer")).status == 200
    assert site.node.transferred == ["n2", None]
    wrong = await site.ask("POST", "/v1/leader:transfer", {"too": "n2"})
    assert (wrong.status, "did you mean to?" in wrong.json["detail"]) == (422, True)
    assert (await site.ask("POST", "/v1/leader:transfer", {"to": 7})).status == 422


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
