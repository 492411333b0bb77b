"""Locks for programs: held within a block, renewed behind it, and given up in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from peercron.client import Client, Lock
from peercron.client.tenure import Tenure
from peercron.clock import SystemClock
from peercron.core.commands import ExpireLease
from peercron.errors import LeaseLost, NoLeader, Refused, Unreachable
from tests.http.conftest import Site, StartSite


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.url, label="batch/1") as client:
        yield client


def owners(site: Site, key: str = "reports/db") -> list[str]:
    return [grant.claim.owner for grant in site.node.state.lock_grants.get(key, {}).values() if not grant.free_ms]


async def test_it_is_held_within_the_block(client: Client, site: Site) -> None:
    async with client.lock("reports/db") as lock:
        task = asyncio.current_task()
        assert task is not None
        assert owners(site) == [f"batch/1/{task.get_name()}"]
        assert lock.held
        lock.check()
        first = lock.token
    assert owners(site) == []
    assert not lock.held
    async with client.lock("reports/db", owner="me") as lock:
        assert owners(site) == ["me"]
        assert lock.token > first


async def test_who_waits_gets_it_next(client: Client, site: Site) -> None:
    order: list[int] = []

    async def work(n: int) -> None:
        async with client.lock("reports/db", wait="20s"):
            order.append(n)

    async with client.lock("reports/db"):
        waiting = []
        for n in range(3):
            site.node.waiting.clear()
            waiting.append(asyncio.ensure_future(work(n)))
            await site.node.waiting.wait()
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]


async def test_who_does_not_want_to_wait_is_told_who_has_it(client: Client) -> None:
    async with client.lock("db", owner="me"):
        with pytest.raises(Refused, match="me") as refused:
            await client.lock("db", owner="you", wait=0).acquire()
        assert refused.value.code == "locked"


async def test_semaphores_and_readers(client: Client, site: Site) -> None:
    async with client.lock("s", permits=2, owner="a"), client.lock("s", permits=2, owner="b"):
        assert len(owners(site, "default/s")) == 2
    async with client.lock("r", kind="rw", shared=True, owner="a"), client.lock("r", shared=True, owner="b"):
        assert len(owners(site, "default/r")) == 2


async def lose(site: Site, lock: Lock) -> None:
    await site.node.do(ExpireLease(lock.token))


async def test_what_runs_under_a_lock_that_was_lost_is_cancelled(client: Client, site: Site) -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        async with client.lock("reports/db", ttl="300ms") as lock:
            await lose(site, lock)
            try:
                await asyncio.sleep(30)
            finally:
                ended = True

    with pytest.raises(LeaseLost, match="lock reports/db was lost"):
        await work()
    assert ended
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_never_paused_is_told_at_its_end(client: Client, site: Site) -> None:
    async def work() -> None:
        async with client.lock("reports/db") as lock:
            await lose(site, lock)

    with pytest.raises(LeaseLost, match="before it was given back"):
        await work()


async def test_an_error_of_the_block_stays_what_it_is(client: Client, site: Site) -> None:
    async def work() -> None:
        async with client.lock("reports/db") as lock:
            await lose(site, lock)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await work()


async def test_a_cancel_by_others_stays_theirs(client: Client, site: Site) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with client.lock("reports/db"):
            entered.set()
            await asyncio.sleep(30)

    task = asyncio.ensure_future(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert owners(site) == []


async def test_waiting_goes_on_at_another_node(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    first.node.fails = NoLeader()
    async with Client([first.url, second.url], timeout="1s") as client, client.lock("db", wait="5s") as lock:
        assert lock.token


async def test_who_cannot_ask_does_not_have_it() -> None:
    async with Client("http://127.0.0.1:1", timeout="100ms") as client:
        with pytest.raises(Unreachable):
            await client.lock("db", wait="300ms").acquire()


async def test_a_lock_is_checked_before_and_after(client: Client) -> None:
    lock = client.lock("db")
    with pytest.raises(LeaseLost):
        lock.check()
    await lock.acquire()
    await lock.release()
    await lock.release()
    assert (lock.held, lock.lost) == (False, "")


# The tenure itself: who cannot renew it loses it by its own clock.


async def test_what_cannot_be_renewed_is_lost_in_time() -> None:
    tries = 0

    async def renew() -> float:
        nonlocal tries
        tries += 1
        raise Unreachable

    clock = SystemClock()
    began_s = clock.monotonic()
    tenure = Tenure("lock x", 0.3, began_s, renew)
    await asyncio.gather(tenure._renewal)
    assert clock.monotonic() - began_s >= 0.3
    assert tries >= 2
    await tenure.stop()
    assert "in time" in tenure.lost


async def test_a_renewal_that_hangs_does_not_keep_it() -> None:
    tenure = Tenure("lock x", 0.2, SystemClock().monotonic(), lambda: asyncio.sleep(60, 1.0))

    async def work() -> None:
        tenure.guard()
        await asyncio.sleep(30)

    task = asyncio.ensure_future(work())
    with pytest.raises(asyncio.CancelledError, match="in time"):
        await task


async def test_time_runs_from_when_it_was_asked_for() -> None:
    tenure = Tenure("lock x", 10.0, SystemClock().monotonic() - 10.0, lambda: asyncio.sleep(0, 10.0))
    assert not tenure.held
    with pytest.raises(LeaseLost):
        tenure.check()
    await tenure.stop()
