"""The session of a client: opened when it is needed, kept alive off the log, and all that hangs on it ends with it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from peercron.client import Client
from peercron.core.commands import CloseClient, ExpireLease, ReleaseLock
from peercron.core.lease import LeaseKind
from peercron.errors import LeaseLost, NoLeader, OutcomeUnknown, PeercronError, Refused
from tests.http.conftest import Site, StartSite
from tests.http.test_lock import until


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.url, label="batch", session_ttl="2s") as client:
        yield client


def sessions(site: Site) -> list[int]:
    return [id_ for id_, lease in site.node.state.leases.items() if lease.kind is LeaseKind.CLIENT]


def held(site: Site) -> list[str]:
    grants = [grant for granted in site.node.state.lock_grants.values() for grant in granted.values()]
    return [grant.claim.owner for grant in grants if not grant.free_ms]


async def test_it_is_opened_by_the_first_that_needs_it(client: Client, site: Site) -> None:
    await client.state.put("k", 1)
    await client.queue("mail").put(1)
    assert sessions(site) == []
    async with client.lock("a", owner="me"), client.lock("b", permits=2, owner="me"):
        (session,) = sessions(site)
        assert site.node.state.leases[session].name == f"{socket.gethostname()}/batch-{os.getpid()}"
        assert len(site.node.state.client_leases[session]) == 2
    (delivery,) = [await client.queue("mail").receive()]
    assert sessions(site) == [session]
    assert site.node.state.leases[delivery.token or 0].client == session


async def test_one_renewal_keeps_all(client: Client, site: Site) -> None:
    async with client.lock("a"), client.lock("b"):
        index = site.node.state.index
        await until(lambda: len(site.node.renewed) >= 2)
        assert set(site.node.renewed) == set(sessions(site))
        assert site.node.state.index == index, "off the log"


async def test_many_at_once_open_one(client: Client, site: Site) -> None:
    await asyncio.gather(*[client.lock(f"l{n}").acquire() for n in range(5)])
    assert len(sessions(site)) == 1


async def test_what_has_a_time_of_its_own_hangs_on_nothing(client: Client, site: Site) -> None:
    await client.queue("mail").put(1)
    await client.queue("mail").receive(visibility="30s")
    async with client.lock("a", ttl="30s"):
        assert sessions(site) == []


async def test_who_holds_something_is_told_when_the_session_is_lost(site: Site) -> None:
    told: list[str] = []
    async with Client(site.url, session_ttl="300ms", on_lost=told.append) as client:

        async def work(name: str) -> None:
            async with client.lock(name, on_lost=told.append):
                await asyncio.sleep(30)

        working = [asyncio.ensure_future(work(name)) for name in ("a", "b")]
        await until(lambda: len(held(site)) == 2)
        (session,) = sessions(site)
        await site.node.do(ExpireLease(session))
        for each in working:
            with pytest.raises(LeaseLost, match=f"lock . was lost: client session {session} was lost"):
                await each
        assert len(told) == 3
        async with client.lock("c") as lock:  # with another session
            assert lock.held
            assert sessions(site) != [session]


async def test_an_item_ends_with_its_session(client: Client, site: Site) -> None:
    await client.queue("mail").put(1)
    (item,) = await client.queue("mail").receive()

    async def work() -> None:
        async with item:
            await site.node.do(ExpireLease(sessions(site)[0]))
            await asyncio.sleep(30)

    with pytest.raises(LeaseLost, match=f"item {item.id} was lost: client session"):
        await work()
    assert site.node.state.items["default/mail"][item.id].token == 0


async def test_a_session_that_nobody_can_renew_is_lost_in_time(client: Client, site: Site) -> None:
    async def work() -> None:
        async with client.lock("a") as lock:
            site.node.fails = NoLeader()
            assert lock.held
            await asyncio.sleep(30)

    with pytest.raises(LeaseLost, match="could not be renewed in time"):
        await work()


async def test_one_lock_that_was_taken_away_is_told_at_the_next_renewal(client: Client, site: Site) -> None:
    async with client.lock("b") as other:

        async def work() -> None:
            async with client.lock("a") as lock:
                await site.node.do(ExpireLease(lock.token))
                await asyncio.sleep(30)

        with pytest.raises(LeaseLost, match="the cluster has taken it away"):
            await work()
        assert other.held


async def test_a_node_that_is_behind_takes_nothing_away(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not heard of the grant, and so says nothing of it."""
    async with client.lock("a") as lock:
        state = site.node.state
        monkeypatch.setattr(state, "client_leases", {})
        monkeypatch.setattr(state, "index", lock.token - 1)
        renewed = len(site.node.renewed)
        await until(lambda: len(site.node.renewed) >= renewed + 2)
        assert lock.held
        monkeypatch.undo()


async def test_a_session_that_ended_unseen_is_replaced(client: Client, site: Site) -> None:
    await client.lock("a").acquire()
    (first,) = sessions(site)
    await site.node.do(CloseClient(first))
    async with client.lock("b", wait=0) as lock:
        assert lock.held
    await site.node.do(CloseClient(sessions(site)[0]))
    await client.queue("mail").put(1)
    assert len(await client.queue("mail").receive()) == 1


async def test_who_lost_a_lock_waits_for_it_and_not_for_itself(client: Client, site: Site) -> None:
    """The cluster counts a little longer than we do: until then what we have lost is still ours there."""

    async def work() -> None:
        async with client.lock("a", owner="me", ttl="300ms"):
            site.node.fails = NoLeader()
            await asyncio.sleep(30)

    with pytest.raises(LeaseLost):
        await work()
    site.node.fails = None
    (ghost,) = site.node.state.lock_grants["default/a"]
    again = asyncio.ensure_future(client.lock("a", owner="me").acquire())
    async with Client(site.url) as other:
        with pytest.raises(Refused, match="me waits for default/a, which me holds"):
            await other.lock("a", owner="me").acquire()
    assert not again.done()
    await site.node.do(ReleaseLock("default", "a", ghost))
    assert await again > ghost


async def test_closing_gives_back_all_at_once(site: Site) -> None:
    client = Client(site.url)
    bound, timed = client.lock("a"), client.lock("b", ttl="30s")
    await bound.acquire()
    await timed.acquire()
    await client.queue("mail").put(1)
    await client.queue("mail").receive()
    await client.close()
    state = site.node.state
    assert (state.lock_grants, state.deliveries, state.leases) == ({}, {}, {})
    assert "was closed" in bound.lost
    assert "was closed" in timed.lost
    with pytest.raises(PeercronError, match="closed"):
        await client.status()


async def test_a_block_that_outlives_its_client_is_told(site: Site) -> None:
    client = Client(site.url)

    async def work() -> None:
        async with client.lock("a"):
            await asyncio.sleep(30)

    working = asyncio.ensure_future(work())
    await until(lambda: held(site))
    await client.close()
    with pytest.raises(LeaseLost, match="was closed"):
        await working


async def test_who_stops_asking_leaves_nothing_behind(client: Client, site: Site) -> None:
    """The grant and the end of the wait meet: the answer finds nobody."""
    taken = await client.lock("a").acquire()
    assert taken
    propose = site.node.propose

    async def slowly(*asked: Any) -> Any:
        done = await propose(*asked)
        if type(asked[0]).__name__ == "AcquireLock":
            asking.cancel()
        return done

    asking = asyncio.ensure_future(client.lock("b").acquire())
    site.node.propose = slowly  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await asking
    site.node.propose = propose  # type: ignore[method-assign]
    await until(lambda: list(site.node.state.lock_grants) == ["default/a"])


async def test_who_stops_asking_and_closes_leaves_nothing_behind(site: Site) -> None:
    """What has a time of its own does not end with the session."""
    propose = site.node.propose

    async def slowly(*asked: Any) -> Any:
        done = await propose(*asked)
        if type(asked[0]).__name__ == "AcquireLock":
            asking.cancel()
        return done

    async with Client(site.url) as client:
        asking = asyncio.ensure_future(client.lock("b", ttl="1h").acquire())
        site.node.propose = slowly  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await asking
        site.node.propose = propose  # type: ignore[method-assign]
    assert not held(site)


async def test_a_release_that_nobody_answered_is_said_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.client.chores.PAUSE_S", 0.02)
    async with Client(site.url, timeout="100ms") as client:
        async with client.lock("a"):
            site.node.fails = NoLeader()
        assert held(site)
        site.node.fails = None
        await until(lambda: not held(site))


async def test_a_release_that_is_cancelled_is_said_all_the_same(client: Client, site: Site) -> None:
    """It is on its way to a node that hangs, and its program waits no longer."""
    propose = site.node.propose

    async def hang(*_: Any) -> Any:
        releasing.cancel()
        await asyncio.sleep(30)

    lock = client.lock("a")
    await lock.acquire()
    site.node.propose = hang  # type: ignore[method-assign]
    releasing = asyncio.ensure_future(lock.release())
    with pytest.raises(asyncio.CancelledError):
        await releasing
    assert held(site)
    site.node.propose = propose  # type: ignore[method-assign]
    await until(lambda: not held(site))


async def test_a_release_that_is_repeated_is_no_loss(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await start_site(), await start_site("n2")
    propose = first.node.propose

    async def lost(*asked: Any) -> Any:
        await propose(*asked)
        raise OutcomeUnknown

    async with Client([first.url, second.url]) as client:
        async with client.lock("a") as lock:
            monkeypatch.setattr(first.node, "propose", lost)
        assert lock.lost == ""
    assert held(first) == []


async def test_what_is_not_the_sessions_fault_is_said(client: Client, site: Site) -> None:
    async with client.lock("a", owner="me"):
        with pytest.raises(Refused) as refused:
            await client.lock("a", owner="you", wait=0).acquire()
        assert refused.value.code == "locked"
        with pytest.raises(Refused, match="in use as a mutex"):
            await client.lock("a", permits=2).acquire()
    assert len(sessions(site)) == 1
