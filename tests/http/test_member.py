"""Members: who there is, who is invited, who goes, who is drained, who leads."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.apply.configuration import configure
from peercron.core.member import Configuration, Role, Seat
from peercron.errors import Refused
from tests.http.conftest import Site, StartSite


@pytest.fixture
async def cluster(start_site: StartSite) -> Site:
    """n1, which is asked, n2, and the witness w, which never came."""
    site, _ = await start_site("n1"), await start_site("n2")
    addresses = {row.info.name: row.info.address for row in site.node.state.members.values()}
    seats = [Seat(f"id-{name}", name, address) for name, address in addresses.items()]
    configure(site.node.state, Configuration((*seats, Seat("beef", "w", "10.0.0.9:7400", Role.WITNESS))))
    return site


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


async def test_somebody_is_invited_and_then_known(cluster: Site) -> None:
    body = {"address": "10.0.0.4:7400", "role": "witness", "name": "n4"}
    first = await cluster.ask("POST", "/v1/members", body)
    assert (first.status, first.json["state"], first.json["role"]) == (201, "invited", "witness")
    n1, n2 = (seat.address for seat in list(cluster.node.state.seats.values())[:2])
    assert first.json["command"] == (
        f"peercron --join {n1},{n2},10.0.0.9:7400 --self 10.0.0.4:7400 --name n4 --role witness"
    )
    assert (await cluster.ask("POST", "/v1/members", body)).status == 200
    assert (await cluster.ask("POST", "/v1/members", body | {"role": "voter"})).status == 201
    assert cluster.node.state.invitations["10.0.0.4:7400"].role is Role.VOTER
    again = await cluster.ask("POST", "/v1/members", {"address": n2})
    assert (again.status, again.json["name"], again.json["id"]) == (200, "n2", "id-n2")


async def test_an_invitation_can_be_taken_back(cluster: Site) -> None:
    for word in ("10.0.0.4:7400", "n4"):
        await cluster.ask("POST", "/v1/members", {"address": "10.0.0.4:7400", "name": "n4"})
        answer = await cluster.ask("DELETE", f"/v1/members/{word}")
        assert (answer.status, answer.json) == (200, {"uninvited": "10.0.0.4:7400"})
    assert (await cluster.ask("DELETE", "/v1/members/n4")).status == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "address"),
        ({"address": 7}, "address"),
        ({"address": "10.0.0.4"}, "address"),
        ({"address": "0.0.0.0:1"}, "address"),
        ({"address": "a:1", "role": "learner"}, "role"),
        ({"address": "a:1", "role": 0}, "role"),
        ({"address": "a:1", "name": "a b"}, "name"),
        ({"address": "a:1", "name": []}, "name"),
        ({"address": "a:1", "names": "n"}, "names"),
    ],
)
async def test_an_invitation_is_checked(cluster: Site, body: Any, path: str) -> None:
    answer = await cluster.ask("POST", "/v1/members", body)
    assert answer.status == 422
    assert [error["path"] for error in answer.json["errors"]] == [path]


async def test_a_name_that_is_taken_is_refused(cluster: Site) -> None:
    answer = await cluster.ask("POST", "/v1/members", {"address": "a:1", "name": "n2"})
    assert (answer.status, answer.json["code"]) == (409, "conflict")


@pytest.mark.parametrize("word", ["w", "beef", "10.0.0.9:7400"])
async def test_a_member_is_removed_by_name_id_or_address(cluster: Site, word: str) -> None:
    answer = await cluster.ask("DELETE", f"/v1/members/{word}")
    assert answer.status == 200
    assert answer.json["id"] == "beef"
    assert "beef" not in cluster.node.state.seats
    unknown = await cluster.ask("DELETE", f"/v1/members/{word}")
    assert (unknown.status, unknown.json["detail"]) == (404, f"there is no member {word}; there are n1, n2")


async def test_who_cannot_be_spared_stays(cluster: Site) -> None:
    cluster.node.fails = Refused("not_ready", "without n2 there would be no majority")
    answer = await cluster.ask("DELETE", "/v1/members/n2")
    assert (answer.status, answer.json["detail"]) == (409, "without n2 there would be no majority")


async def test_a_member_is_drained_and_given_work_again(cluster: Site) -> None:
    for word, deed, drained in (("n2", "drain", True), ("id-n2", "drain", True), ("n2", "undrain", False)):
        answer = await cluster.ask("POST", f"/v1/members/{word}:{deed}")
        assert (answer.status, answer.json["id"]) == (200, "id-n2")
        assert ("id-n2" in cluster.node.state.drained) is drained
    assert (await cluster.ask("POST", "/v1/members/n7:drain")).status == 404
    assert (await cluster.ask("POST", "/v1/members/n2:dry")).status in (404, 405)
