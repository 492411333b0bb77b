"""Routes of queues, and who gets an item when several wait for one."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from peercron.core.commands import ExpireLease, PutItem, ReceiveItems
from peercron.core.limits import VISIBILITY_MS
from peercron.errors import NoLeader
from peercron.http import receiving
from tests.http.conftest import NOW_MS, Answer, Site, StartSite

MAIL = "/v1/queues/default/mail"


async def put(site: Site, payload: Any = "x", **more: Any) -> int:
    answer = await site.ask("POST", f"{MAIL}/items", {"payload": payload, **more})
    assert answer.status in (200, 201), answer.text
    return int(answer.json["id"])


async def receive(site: Site, **body: Any) -> Any:
    answer = await site.ask("POST", f"{MAIL}:receive", body)
    assert answer.status == 200, answer.text
    return answer.json


async def settle(site: Site, what: str, item: int, token: int, **more: Any) -> Answer:
    return await site.ask("POST", f"{MAIL}/items/{item}:{what}", {"token": token, **more})


async def in_line(site: Site, count: int, **body: Any) -> list[asyncio.Task[Any]]:
    """So many receivers that wait, in this order."""
    waiting = []
    for n in range(count):
        waiting.append(asyncio.create_task(receive(site, wait="60s", **body)))
        await until(lambda n=n: _standing(site) == n + 1)
    return waiting


def _standing(site: Site) -> int:
    desks = site.desks._desks  # type: ignore[attr-defined]
    return len(desks["default/mail"][0]._line) if "default/mail" in desks else 0


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is in the server, which tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture
async def site(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> Site:
    """With a look behind the desks."""
    made: list[receiving.Desks] = []
    desks = receiving.Desks
    monkeypatch.setattr(receiving, "Desks", lambda *of: made.append(desks(*of)) or made[-1])
    site = await start_site()
    site.desks = made[0]  # type: ignore[attr-defined]
    return site


async def test_what_is_put_is_received_and_gone_when_it_is_acked(site: Site) -> None:
    item = await put(site, {"to": [1, "é"]}, priority=2, group="g", key="k")
    got = await receive(site, owner="n1/9/Thread-2")
    assert got["expires_in"] == VISIBILITY_MS / 1_000
    (seen,) = got["items"]
    assert seen | {"put_at": "", "not_before": ""} == {
        "id": item,
        "payload": {"to": [1, "é"]},
        "key": "k",
        "group": "g",
        "priority": 2,
        "attempts": 1,
        "put_at": "",
        "not_before": "",
        "origin": "",
        "reason": "",
    }
    assert site.node.state.deliveries[got["token"]].owner == "n1/9/Thread-2"
    assert (await receive(site)) == {"token": None, "items": []}
    acked = await settle(site, "ack", item, got["token"])
    assert (acked.status, acked.json) == (200, {"token": got["token"], "left": 0})
    late = await settle(site, "ack", item, got["token"])
    assert (late.status, late.json["code"]) == (409, "stale_token")


async def test_bytes_come_back_as_they_were(site: Site) -> None:
    answer = await site.ask("POST", f"{MAIL}/items", {"payload_base64": "AP8="})
    assert answer.status == 201
    (item,) = (await receive(site))["items"]
    assert (item["payload_base64"], "payload" in item) == ("AP8=", False)


async def test_a_key_is_put_once(site: Site) -> None:
    item = await put(site, key="k")
    again = await site.ask("POST", f"{MAIL}/items", {"payload": "other", "key": "k"})
    assert (again.status, again.json["id"]) == (200, item)


async def test_nack_gives_back_and_the_last_attempt_makes_a_dead_letter_that_can_be_replayed(site: Site) -> None:
    put_settings = await site.ask("PUT", MAIL, {"visibility": "5s", "max_attempts": 2})
    assert (put_settings.json["visibility"], put_settings.json["dead_letters"]) == ("5s", "mail.dead")
    item = await put(site)
    for _ in range(2):
        got = await receive(site)
        assert (await settle(site, "nack", item, got["token"], reason="no route")).status == 200
    counts = (await site.get(MAIL)).json
    assert (counts["items"], counts["dead"]) == (0, 1)
    (dead,) = (await site.get("/v1/queues/default/mail.dead/items")).json["items"]
    assert (dead["origin"], dead["reason"], dead["attempts"]) == ("default/mail", "no route", 2)
    assert (await site.ask("POST", f"{MAIL}:replay")).json["replayed"] == 1
    assert (await receive(site))["items"][0]["attempts"] == 1


async def test_a_whole_delivery_is_settled_at_once_or_in_part(site: Site) -> None:
    items = [await put(site) for _ in range(3)]
    token = (await receive(site, max=3))["token"]
    assert (await site.ask("POST", f"{MAIL}:ack", {"token": token, "items": items[:1]})).json["left"] == 2
    assert (await site.ask("POST", f"{MAIL}:nack", {"token": token})).json["left"] == 0
    assert (await site.get(MAIL)).json["ready"] == 2


async def test_extend_renews_off_the_log_and_other_times_are_a_command(site: Site) -> None:
    item = await put(site)
    token = (await receive(site))["token"]
    index = site.node.state.index
    assert (await settle(site, "extend", item, token)).json["expires_in"] == VISIBILITY_MS / 1_000
    assert (site.node.state.index, site.node.renewed) == (index, [token])
    assert (await settle(site, "extend", item, token, visibility="90s")).json["expires_in"] == 90
    assert site.node.state.leases[token].ttl_ms == 90_000
    await site.node.do(ExpireLease(token))
    assert (await settle(site, "extend", item, token)).status == 409


async def test_what_a_queue_holds_can_be_seen_and_dropped(site: Site) -> None:
    await put(site, "now", priority=1)
    await put(site, "first", group="g")
    await put(site, "second", group="g")
    await put(site, "late", delay="1h")
    await receive(site)
    listed = (await site.get("/v1/queues")).json["queues"]
    assert [(q["name"], q["items"], q["ready"], q["delayed"], q["in_flight"], q["behind"]) for q in listed] == [
        ("mail", 4, 1, 1, 1, 1)
    ]
    items = (await site.get(f"{MAIL}/items")).json["items"]
    assert {item["payload"]: item["state"] for item in items} == {
        "first": "ready",
        "now": "in_flight",
        "second": "behind",
        "late": "delayed",
    }
    assert items[0]["payload"] == "first"
    assert (await site.ask("DELETE", f"{MAIL}/items")).json["purged"] == 4
    assert (await site.ask("DELETE", MAIL)).status == 200
    assert (await site.get(MAIL)).status == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"{MAIL}/items", {}, "payload"),
        (f"{MAIL}/items", {"payload": 1, "payload_base64": ""}, "payload"),
        (f"{MAIL}/items", {"payload_base64": "a?"}, "payload_base64"),
        (f"{MAIL}/items", {"payload": 1, "delay": "soon"}, "delay"),
        (f"{MAIL}/items", {"payload": 1, "prio": 1}, "prio"),
        (f"{MAIL}:receive", {"max": "all"}, "max"),
        (f"{MAIL}:receive", {"wait": True}, "wait"),
        (f"{MAIL}:ack", {}, "token"),
        (f"{MAIL}:ack", {"token": 1, "items": ["a"]}, "items"),
    ],
    ids=str,
)
async def test_a_wrong_request_is_told_its_field(site: Site, path: str, body: Any, field: str) -> None:
    answer = await site.ask("POST", path, body)
    assert (answer.status, [error["path"] for error in answer.json["errors"]]) == (422, [field])


async def test_a_token_is_of_its_queue(site: Site) -> None:
    item = await put(site)
    token = (await receive(site))["token"]
    answer = await site.ask("POST", f"/v1/queues/default/other/items/{item}:ack", {"token": token})
    assert (answer.status, answer.json["code"]) == (409, "stale_token")


# Waiting.


async def test_who_waits_gets_what_comes_at_once(site: Site) -> None:
    (waiting,) = await in_line(site, 1)
    index = site.node.state.index
    item = await put(site)
    assert (await waiting)["items"][0]["id"] == item
    assert site.node.state.index == index + 2  # the put and one receive


async def test_items_go_to_who_waits_longest_and_wake_nobody_else(site: Site) -> None:
    waiting = await in_line(site, 5)
    index = site.node.state.index
    first, second = await put(site), await put(site)
    assert [(await task)["items"][0]["id"] for task in waiting[:2]] == [first, second]
    assert not any(task.done() for task in waiting[2:])
    assert site.node.state.index == index + 4
    for _ in waiting[2:]:
        await put(site)
    await asyncio.gather(*waiting)


async def test_nobody_comes_before_who_waits(site: Site) -> None:
    (waiting,) = await in_line(site, 1)
    await site.node.do(PutItem("default", "mail", b"1"))
    assert (await receive(site)) == {"token": None, "items": []}
    assert (await waiting)["items"][0]["payload"] == 1


async def test_an_empty_queue_costs_no_command(site: Site) -> None:
    await receive(site)  # the first write waits until the node knows of tokens
    index, barriers = site.node.state.index, site.node.barriers
    assert (await receive(site)) == {"token": None, "items": []}
    assert site.node.barriers == barriers + 1  # it is not said from an old state
    assert site.node.state.index == index


async def test_the_time_of_who_waits_is_up(site: Site) -> None:
    (waiting,) = await in_line(site, 1, max=1)
    short = await receive(site, wait="20ms")
    assert short == {"token": None, "items": []}
    site.node.has_leader = False
    answer = await site.ask("POST", f"{MAIL}:receive", {"wait": "20ms"})
    assert (answer.status, answer.json["code"]) == (503, "no_leader")
    site.node.has_leader = True
    await put(site)
    await waiting


async def test_what_is_given_back_wakes_too(site: Site) -> None:
    item = await put(site)
    token = (await receive(site))["token"]
    (waiting,) = await in_line(site, 1)
    await settle(site, "nack", item, token)
    assert (await waiting)["items"][0]["attempts"] == 2


async def test_a_delayed_item_wakes_at_its_time_with_no_command(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    item = await put(site, delay="100ms")
    (waiting,) = await in_line(site, 1)
    index = site.node.state.index
    site.clock.advance(0.1)
    monkeypatch.setattr("tests.http.conftest.NOW_MS", NOW_MS + 100)
    assert (await waiting)["items"][0]["id"] == item
    assert site.node.state.index == index + 1


async def test_nothing_is_taken_for_a_client_that_has_gone(site: Site) -> None:
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(f"{site.url}{MAIL}:receive", json={"wait": "60s"}))
        await until(lambda: _standing(site) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    (other,) = await in_line_after(site)
    await asyncio.sleep(0.05)  # the server hears of the closed connection
    item = await put(site)
    assert (await other)["items"][0]["id"] == item
    assert site.node.state.items["default/mail"][item].attempts == 1


async def in_line_after(site: Site) -> list[asyncio.Task[Any]]:
    waiting = [asyncio.create_task(receive(site, wait="60s"))]
    await until(lambda: _standing(site) == 2)
    return waiting


async def test_what_was_taken_for_a_client_that_went_meanwhile_is_given_back_unseen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await put(site)
    asked = iter((False, False, True))
    monkeypatch.setattr(receiving, "gone", lambda _: next(asked, True))
    assert (await receive(site)) == {"token": None, "items": []}
    row = site.node.state.items["default/mail"][item]
    assert (row.token, row.attempts) == (0, 0)


async def test_who_was_called_in_vain_is_called_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (waiting,) = await in_line(site, 1)
    take = site.node.propose

    async def too_late(command: Any, *rest: Any) -> Any:
        if isinstance(command, ReceiveItems):
            monkeypatch.setattr(site.node, "propose", take)
            await site.node.do(command)  # somebody else, through another node
        return await take(command, *rest)

    first = PutItem("default", "mail", b"1")
    monkeypatch.setattr(site.node, "propose", too_late)
    await site.node.do(first)
    await until(lambda: site.node.propose == take and site.node.state.deliveries)
    assert not waiting.done()
    item = await put(site)
    assert (await waiting)["items"][0]["id"] == item


async def test_a_receive_that_fails_lets_the_next_have_its_turn(site: Site) -> None:
    await put(site)
    site.node.fails = NoLeader()
    assert (await site.ask("POST", f"{MAIL}:receive", {"wait": "60s"})).status == 503
    site.node.fails = None
    assert (await receive(site))["token"]


@pytest.mark.parametrize("id_", [0, -1, 10**30, "1", None, True])
async def test_what_can_be_no_id_is_refused_by_name(site: Site, id_: Any) -> None:
    answer = await site.ask("POST", f"{MAIL}:ack", {"token": 1, "items": [id_]})
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "items")


async def test_what_somebody_else_is_about_to_take_is_not_called_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one may not get it: only the log can say."""
    await put(site)
    held, propose = asyncio.Event(), site.node.propose

    async def slow(command: Any, timeout_s: float, once: Any = None) -> Any:
        if isinstance(command, ReceiveItems) and command.owner == "slow":
            await held.wait()
        return await propose(command, timeout_s, once)

    monkeypatch.setattr(site.node, "propose", slow)
    first = asyncio.create_task(receive(site, owner="slow"))
    await until(lambda: any(desk._wanted for desk, _ in site.desks._desks.values()))  # type: ignore[attr-defined]
    assert len((await receive(site))["items"]) == 1
    held.set()
    assert await first == {"token": None, "items": []}


async def test_what_was_over_before_it_could_be_told_is_not_called_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(site)
    propose = site.node.propose

    async def late(command: Any, timeout_s: float, once: Any = None) -> Any:
        done = await propose(command, timeout_s, once)
        if isinstance(command, ReceiveItems):
            await site.node.do(ExpireLease(done.index))
            site.node.fails = NoLeader()
        return done

    monkeypatch.setattr(site.node, "propose", late)
    answer = await site.ask("POST", f"{MAIL}:receive", {})
    assert (answer.status, answer.json["code"]) == (504, "unknown_outcome")
