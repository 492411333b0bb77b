"""Routes of locks: who asks, who waits, who is told, and how often anybody is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from peercron.core.apply import apply
from peercron.core.commands import ExpireLease, ExpireSession, OpenSession, ReleaseLock
from peercron.errors import NoLeader
from peercron.http import lock
from peercron.http.presence import LOOK_S as PRESENCE_LOOK_S
from tests.http.conftest import NOW_MS, Answer, Site, StartSite

LOCK = "/v1/locks/reports/db"


async def acquire(site: Site, owner: str = "A", path: str = LOCK, **body: Any) -> Answer:
    return await site.ask("POST", f"{path}:acquire", {"owner": owner, **body})


async def token_of(site: Site, owner: str = "A", path: str = LOCK, **body: Any) -> int:
    answer = await acquire(site, owner, path, **body)
    assert answer.status == 200, answer.text
    return int(answer.json["token"])


async def release(site: Site, token: int, path: str = LOCK) -> Answer:
    return await site.ask("POST", f"{path}:release", {"token": token})


def line(site: Site, key: str = "reports/db") -> list[str]:
    return [waiter.claim.owner for waiter in site.node.state.lock_waiters.get(key, {}).values()]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing here tells of it
            await asyncio.sleep(0.005)


async def in_line(site: Site, owner: str, **body: Any) -> asyncio.Task[Answer]:
    """A request that waits, once it stands in line."""
    task = asyncio.create_task(acquire(site, owner, **({"wait": "60s"} | body)))
    await until(lambda: task.done() or owner in line(site))
    return task


async def test_what_cannot_be_a_lock_is_no_free_one(site: Site) -> None:
    for path in ("/v1/locks/ops/a%2Fb", "/v1/locks/-ops/a", "/v1/fence/a/b/c"):
        answer = await site.get(path)
        assert (answer.status, answer.json["code"]) == (422, "invalid")
        assert "wants letters, digits" in answer.json["detail"]


async def test_take_refuse_give_back_take(site: Site) -> None:
    first = await acquire(site, "n1/7/Thread-2", ttl="30s")
    assert first.json == {"lock": "reports/db", "token": first.json["token"], "expires_in": 30.0}
    second = await acquire(site, "B")
    assert (second.status, second.json["code"], second.json["retryable"]) == (409, "locked", True)
    assert "held by n1/7/Thread-2 with token" in second.json["detail"]
    assert (await release(site, first.json["token"])).json["released"] == first.json["token"]
    assert await token_of(site, "B") > first.json["token"]


async def test_a_stale_token_releases_and_renews_nothing(site: Site) -> None:
    token = await token_of(site)
    await release(site, token)
    other = await token_of(site, "B")
    for deed in ("release", "renew"):
        answer = await site.ask("POST", f"{LOCK}:{deed}", {"token": token})
        assert (answer.status, answer.json["code"]) == (409, "stale_token"), deed
    assert (await site.get(LOCK)).json["holders"][0]["token"] == other
    elsewhere = await token_of(site, path="/v1/locks/other/db")
    answer = await site.ask("POST", f"{LOCK}:renew", {"token": elsewhere})
    assert answer.json["code"] == "stale_token", "it is another lock's"
    key = await site.ask("PUT", "/v1/state/reports/db?ttl=30s", 7)
    answer = await site.ask("POST", f"{LOCK}:renew", {"token": key.json["revision"]})
    assert answer.json["code"] == "stale_token", "it is a key's, of the same name"


async def test_a_renewal_counts_from_when_it_was_sent(site: Site) -> None:
    token = await token_of(site, ttl="10s")
    answer = await site.ask("POST", f"{LOCK}:renew", {"token": token})
    assert answer.json == {"lock": "reports/db", "token": token, "expires_in": 10.0}
    assert site.node.renewed == [token]


async def test_who_waits_is_told_in_order(site: Site) -> None:
    token = await token_of(site)
    waiting = [await in_line(site, owner) for owner in "BCD"]
    for task in waiting:
        await release(site, token)
        answer = await task
        assert answer.status == 200
        assert not any(other.done() for other in waiting[waiting.index(task) + 1 :])
        assert answer.json["token"] > token
        token = answer.json["token"]


async def test_two_hundred_wait_and_each_grant_wakes_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No busy polling: a waiter looks when it comes, and when it is told; nobody else looks with it."""
    many, woken = 200, 0
    before = site.node.wait_for

    async def counted(resource: Any, timeout_s: float) -> bool:
        nonlocal woken
        told = await before(resource, timeout_s)
        woken += told
        return told

    monkeypatch.setattr(site.node, "wait_for", counted)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        crowd = Site(site.node, site.url, session, site.clock)
        token, tasks = await token_of(site), []
        for number in range(many):
            tasks.append(asyncio.create_task(acquire(crowd, f"o{number}", wait="60s")))
            if number % 50 == 49:
                await until(lambda: len(line(site)) == len(tasks))
        order = line(site)
        assert len(order) == many
        passed: list[int] = []
        for owner in order[:20]:
            await release(site, token)
            ((token, grant),) = site.node.state.lock_grants["reports/db"].items()
            assert grant.claim.owner == owner
            await until(lambda: woken > len(passed))
            passed.append(token)
        assert sum(task.done() for task in tasks) <= 20
        assert woken == 20
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: line(site) == [])  # else the loop ends under requests that are still on their way out


async def test_the_time_is_up(site: Site) -> None:
    token = await token_of(site)
    answer = await acquire(site, "B", wait=0.05)
    assert (answer.status, answer.json["code"]) == (409, "locked")
    assert "waited 0.05 s for lock reports/db, which is held by A" in answer.json["detail"]
    assert line(site) == []
    await release(site, token)
    assert site.node.state.locks == {}


async def test_a_waiter_that_went_away_is_skipped(site: Site) -> None:
    token = await token_of(site)
    async with aiohttp.ClientSession() as session:
        gone = await in_line(Site(site.node, site.url, session, site.clock), "B")
        rest = await in_line(site, "C")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await release(site, token)
    assert (await rest).status == 200
    assert [h["owner"] for h in (await site.get(LOCK)).json["holders"]] == ["C"]


async def test_a_waiter_that_went_away_leaves_the_line_before_its_turn(site: Site) -> None:
    await token_of(site)
    async with aiohttp.ClientSession() as session:
        gone = await in_line(Site(site.node, site.url, session, site.clock), "B")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await until(lambda: line(site) == [])


async def test_the_same_request_at_another_node_keeps_its_place(start_site: StartSite) -> None:
    one, two = await start_site("n1"), await start_site("n2")
    token = await token_of(one)
    first = await in_line(one, "B", request="b1")
    await in_line(one, "C")
    again = asyncio.create_task(acquire(two, "B", request="b1", wait="60s"))
    key = "reports/db"
    await until(lambda: next(iter(one.node.state.lock_waiters[key].values())).member == "id-n2")
    await one.node.do(ExpireSession("id-n1", 1))
    assert line(one) == ["B"], "what n1 served is gone, but B is n2's now"
    await release(two, token)
    answer = await again
    assert (await acquire(two, "B", request="b1")).json["token"] == answer.json["token"]
    first.cancel()


async def test_a_grant_that_is_asked_for_again_is_renewed(site: Site) -> None:
    token = await token_of(site, request="a1", ttl="10s")
    again = await acquire(site, request="a1", ttl="10s")
    assert (again.json["token"], again.json["expires_in"]) == (token, 10.0)
    assert site.node.renewed == [token]
    keyed = await site.ask("POST", f"{LOCK}:acquire", {"owner": "A", "ttl": "10s"}, headers={"Idempotency-Key": "a1"})
    assert keyed.json["token"] == token


async def test_after_a_long_wait_the_whole_time_is_left(site: Site) -> None:
    """It is renewed, and counted from when the request was sent: ttl and the time that it waited."""
    token = await token_of(site)
    waiting = await in_line(site, "B", ttl="10s")
    site.clock.advance(7.0)
    await release(site, token)
    assert (await waiting).json["expires_in"] == 17.0
    waiting = await in_line(site, "C", ttl="10s")
    site.clock.advance(1.0)
    await release(site, site.node.renewed[-1])
    assert (await waiting).json["expires_in"] == 10.0, "so little is not worth a renewal"


async def test_a_grant_of_the_very_moment_is_not_missed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the place in the line has been looked at, and before anybody listens."""
    token, propose = await token_of(site), site.node.propose

    def give_back() -> None:
        apply(site.node.state, ReleaseLock("reports", "db", token), NOW_MS)
        site.node._watch.turn()

    async def at_once(command: Any, timeout_s: float, once: Any = None) -> Any:
        done = await propose(command, timeout_s, once)
        asyncio.get_running_loop().call_soon(give_back)
        return done

    monkeypatch.setattr(site.node, "propose", at_once)
    async with asyncio.timeout(20):
        assert await token_of(site, "B", wait="60s") > token


async def test_who_cannot_leave_the_line_does_not_know_and_leaves_it_later(site: Site) -> None:
    await token_of(site)
    waiting = await in_line(site, "B", wait=0.2)
    site.node.fails = NoLeader()
    answer = await waiting
    assert (answer.status, answer.json["code"]) == (504, "unknown_outcome")
    assert line(site) == ["B"]
    site.node.fails = None
    await until(lambda: line(site) == [])


async def test_who_went_away_leaves_the_line_when_there_is_a_leader_again(site: Site) -> None:
    await token_of(site)
    async with aiohttp.ClientSession() as session:
        gone = await in_line(Site(site.node, site.url, session, site.clock), "B")
        site.node.fails = NoLeader()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await asyncio.sleep(2 * PRESENCE_LOOK_S)
    assert line(site) == ["B"]
    site.node.fails = None
    await until(lambda: line(site) == [])


async def test_a_grant_that_cannot_be_told_for_certain_is_not_called_nothing(site: Site) -> None:
    """It has to be renewed after the long wait, and nobody leads: it was granted all the same."""
    token = await token_of(site)
    waiting = await in_line(site, "B", ttl="10s")
    site.clock.advance(7.0)
    site.node.fails = NoLeader()
    await site.node.do(ReleaseLock("reports", "db", token))
    answer = await waiting
    assert (answer.status, answer.json["code"]) == (504, "unknown_outcome")
    assert [h["owner"] for h in (await site.get(LOCK)).json["holders"]] == ["B"]


async def test_the_echo_of_a_request_does_not_give_back_what_its_sender_has(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was believed lost arrives late, after the one that was sent in its place; nobody waits there."""
    monkeypatch.setattr(lock, "LINGER_S", 0.0)
    one, two = await start_site("n1"), await start_site("n2")
    token, key = await token_of(one), "reports/db"
    asking = await in_line(one, "B", request="b1", wait="60s")
    async with aiohttp.ClientSession() as session:
        lost = Site(two.node, two.url, session, two.clock)
        echo = asyncio.create_task(acquire(lost, "B", request="b1", wait="60s"))
        await until(lambda: next(iter(one.node.state.lock_waiters[key].values())).member == "id-n2")
        await release(one, token)
        answer = await asking
        echo.cancel()
        await asyncio.gather(echo, return_exceptions=True)
    assert answer.status == 200
    await asyncio.sleep(2 * PRESENCE_LOOK_S)
    assert [h["token"] for h in (await one.get(LOCK)).json["holders"]] == [answer.json["token"]]


async def test_a_node_that_came_back_serves_in_its_new_session(site: Site) -> None:
    await token_of(site)
    info = site.node.state.members["id-n1"].info
    await site.node.do(OpenSession(info, 2))
    waiting = await in_line(site, "B")
    assert line(site) == ["B"]
    waiting.cancel()


async def test_a_place_that_is_gone_is_asked_for_again(site: Site) -> None:
    """The node was given up and came back: whom it served stands in no line any more."""
    await token_of(site)
    waiting = await in_line(site, "B")
    await site.node.do(OpenSession(site.node.state.members["id-n1"].info, 2))
    answer = await waiting
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (503, "stale_session", True)


async def test_readers_share(site: Site) -> None:
    for owner in "AB":
        assert await token_of(site, owner, shared=True)
    writer = await in_line(site, "W", kind="rw")
    reader = await in_line(site, "R", shared=True)
    view = (await site.get(LOCK)).json
    assert (view["kind"], view["waiting"], [w["owner"] for w in view["line"]]) == ("rw", 2, ["W", "R"])
    assert [w["node"] for w in view["line"]] == ["n1", "n1"]
    for task in (writer, reader):
        task.cancel()


async def test_permits_make_a_semaphore(site: Site) -> None:
    for owner in "AB":
        assert await token_of(site, owner, permits=2)
    assert (await acquire(site, "C", permits=2)).json["code"] == "locked"
    assert (await acquire(site, "C")).json["code"] == "conflict"


async def test_a_cycle_is_told_at_once(site: Site) -> None:
    one, two = "/v1/locks/default/one", "/v1/locks/default/two"
    await token_of(site, "A", one)
    await token_of(site, "B", two)
    waiting = asyncio.create_task(acquire(site, "A", two, wait="60s"))
    await until(lambda: line(site, "default/two") == ["A"])
    answer = await acquire(site, "B", one, wait="60s")
    assert (answer.status, answer.json["code"]) == (409, "deadlock")
    assert answer.json["detail"] == ("B waits for default/one, which A holds; A waits for default/two, which B holds")
    waiting.cancel()


async def test_what_a_session_of_a_client_holds_ends_with_it(site: Site) -> None:
    opened = await site.ask("POST", "/v1/clients", {"label": "batch/1", "ttl": "20s"})
    client = opened.json["client"]
    assert (opened.status, opened.json["expires_in"]) == (201, 20.0)
    await token_of(site, client=client, delay=0)
    assert (await site.get("/v1/clients")).json["clients"] == [
        {"client": client, "label": "batch/1", "ttl_ms": 20_000, "holds": 1}
    ]
    assert (await site.ask("POST", f"/v1/clients/{client}:renew")).json["expires_in"] == 20.0
    assert (await site.ask("DELETE", f"/v1/clients/{client}")).status == 200
    assert await token_of(site, "B")
    for gone in (
        await site.ask("POST", f"/v1/clients/{client}:renew"),
        await site.ask("DELETE", f"/v1/clients/{client}"),
        await acquire(site, "C", "/v1/locks/x/y", client=client),
    ):
        assert (gone.status, gone.json["code"]) == (409, "stale_token")


async def test_a_fence_says_whether_a_token_is_stale(site: Site) -> None:
    token = await token_of(site, delay="1s")
    assert (await site.get(f"/v1/fence/reports/db?token={token}")).json == {
        "lock": "reports/db",
        "token": token,
        "current": token,
        "stale": False,
    }
    await site.node.do(ExpireLease(token))
    told = (await site.get(f"/v1/fence/reports/db?token={token}")).json
    assert (told["stale"], told["current"]) == (True, None)
    view = (await site.get(LOCK)).json
    assert (view["holders"], view["lost"][0]["owner"]) == ([], "A")
    assert (await site.get("/v1/fence/db")).json == {"lock": "default/db", "current": None}


async def test_lists(site: Site) -> None:
    await token_of(site)
    await token_of(site, path="/v1/locks/other/x")
    assert [row["name"] for row in (await site.get("/v1/locks")).json["locks"]] == ["x", "db"]
    assert [row["name"] for row in (await site.get("/v1/locks?namespace=reports")).json["locks"]] == ["db"]
    free = (await site.get("/v1/locks/reports/free")).json
    assert (free["holders"], free["kind"], free["waiting"]) == ([], None, 0)


async def test_what_is_wrong_is_told_with_its_field(site: Site) -> None:
    answer = await site.ask("POST", f"{LOCK}:acquire", {"ttl": "soon", "permits": 0, "kind": "mutax"})
    assert answer.status == 422
    told = {problem["path"]: problem["message"] for problem in answer.json["errors"]}
    assert set(told) == {"owner", "ttl", "permits", "kind"}
    assert "mutex" in told["kind"]
    unknown = await acquire(site, "A", tll="3s")
    assert unknown.json["errors"] == [{"path": "tll", "message": "unknown field; did you mean ttl?"}]
    assert (await acquire(site, "A", ttl="1ms")).json["code"] == "invalid"
    assert (await site.ask("POST", f"{LOCK}:release", {})).status == 422
