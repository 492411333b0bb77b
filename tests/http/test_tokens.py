"""Routes of access tokens: what is told once, what is kept, and how the last one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peercron.access import digest_of, fresh_token, is_token, root_pass
from peercron.core.token import Scope
from peercron.wire import snapshot
from tests.http.conftest import NOW_MS, Answer, Site, StartSite


async def create(site: Site, name: str = "ops", by: str = "", **body: Any) -> Answer:
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    return await site.ask("POST", "/v1/tokens", {"name": name, "scopes": ["admin"]} | body, headers=headers)


async def first(site: Site) -> str:
    """A token that was made here, and is shown by the request that makes it the first of the cluster."""
    token = fresh_token()
    assert (await create(site, by=token, digest=digest_of(token).hex())).status == 201
    return token


@pytest.mark.parametrize("shows", ["nothing", "another", "no digest"])
async def test_nobody_closes_the_cluster_with_a_token_that_nobody_has(site: Site, shows: str) -> None:
    token = fresh_token()
    body = {} if shows == "no digest" else {"digest": digest_of(token).hex()}
    by = {"nothing": "", "another": fresh_token(), "no digest": token}[shows]
    answer = await create(site, by=by, **body)
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "digest")
    assert "`peercron token create` makes one so" in answer.json["errors"][0]["message"]
    assert (await site.get("/v1/tokens")).json == {"tokens": []}


async def test_root_makes_the_first_as_it_likes(start_site: StartSite, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"the secret of the cluster, long enough\n")
    site = await start_site(secret_file=str(tmp_path / "secret"))
    root = root_pass(site.node.pass_key, "peercron", NOW_MS)
    assert is_token((await create(site, by=root)).json["token"])


async def test_a_token_is_told_once_and_lets_its_holder_in(site: Site) -> None:
    answer = await create(site, "boss", await first(site))
    assert answer.status == 201
    token = answer.json["token"]
    assert is_token(token)
    by = {"headers": {"Authorization": f"Bearer {token}"}}
    listed = await site.get("/v1/tokens", **by)
    made = {key: value for key, value in answer.json.items() if key != "token"}
    assert listed.json == {"tokens": [made, made | {"name": "ops"}]}
    assert made == {
        "name": "boss",
        "scopes": ["admin"],
        "created_at": "2027-01-15T08:00:00.000Z",
        "expires_at": None,
        "expired": False,
    }
    assert token not in listed.text


async def test_the_cluster_keeps_its_digest_and_nothing_else_of_it(site: Site) -> None:
    token = await first(site)
    kept = b"".join(snapshot.blocks(snapshot.freeze(site.node.state)))
    assert digest_of(token) in kept
    assert token.encode() not in kept
    assert token not in repr(site.node.state)


async def test_who_makes_a_token_himself_gives_its_digest(site: Site) -> None:
    token = fresh_token()
    answer = await create(site, by=token, digest=digest_of(token).hex(), expires="90d")
    assert "token" not in answer.json
    assert answer.json["expires_at"] == "2027-04-15T08:00:00.000Z"
    assert (await site.get("/v1/tokens", headers={"Authorization": f"Bearer {token}"})).status == 200


async def test_the_order_of_names_and_of_scopes(site: Site) -> None:
    by = await first(site)
    assert (await create(site, "ci", by, scopes=["jobs", "data", "jobs"])).json["scopes"] == ["data", "jobs"]
    site.clock.advance(1)
    listed = await site.get("/v1/tokens", headers={"Authorization": f"Bearer {by}"})
    assert [row["name"] for row in listed.json["tokens"]] == ["ci", "ops"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "admin"}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": [["admin"]]}, "scopes"),
        ({"expires": "soon"}, "expires"),
        ({"expires": 90}, "expires"),
        ({"expires": "0s"}, "expires"),
        ({"expires": "11000d"}, "expires"),
        ({"digest": "cafe"}, "digest"),
        ({"digest": "G" * 64}, "digest"),
        ({"token": "pcr_"}, "token"),
    ],
)
async def test_what_cannot_be_made_is_said(site: Site, body: dict[str, Any], path: str) -> None:
    answer = await create(site, **body)
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, path)
    assert not site.node.state.tokens


async def test_the_first_has_to_be_an_admin(site: Site) -> None:
    token = fresh_token()
    answer = await create(site, by=token, digest=digest_of(token).hex(), scopes=["run"])
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert "the first token wants admin" in answer.json["detail"]


async def test_one_that_was_made_and_never_told_is_not_told_wrong(site: Site) -> None:
    """The answer got lost: the cluster does not know what it said."""
    by = await first(site)
    headers = {"Authorization": f"Bearer {by}", "Idempotency-Key": "k"}
    body = {"name": "ci", "scopes": ["run"]}
    assert (await site.ask("POST", "/v1/tokens", body, headers=headers)).status == 201
    again = await site.ask("POST", "/v1/tokens", body, headers=headers)
    assert (again.status, again.json["code"]) == (409, "conflict")
    own = body | {"name": "own", "digest": digest_of(fresh_token()).hex()}
    once, again = [await site.ask("POST", "/v1/tokens", own, headers=headers | {"Idempotency-Key": "l"}) for _ in "12"]
    assert (once.status, once.json) == (again.status, again.json)


async def test_the_last_one_goes_when_it_is_said_what_that_means(site: Site) -> None:
    token = await first(site)
    by = {"headers": {"Authorization": f"Bearer {token}"}}
    assert (await site.ask("DELETE", "/v1/tokens/nobody", **by)).status == 404
    refused = await site.ask("DELETE", "/v1/tokens/ops", **by)
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    answer = await site.ask("DELETE", "/v1/tokens/ops?open=1", **by)
    assert (answer.status, answer.json) == (200, {"revoked": "ops", "open": True})
    assert (await site.get("/v1/tokens")).json == {"tokens": []}
    assert [scope.value for scope in Scope] == ["read", "data", "run", "jobs", "admin"]
