"""Queues for programs: an item is acked where its block ends well, given back where it fails, and lost in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from peercron.client import Client
from peercron.core.commands import ExpireLease
from peercron.errors import LeaseLost, Refused
from tests.http.conftest import Site


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.url, label="batch/1") as client:
        yield client


async def test_put_receive_ack(client: Client) -> None:
    mail = client.queue("ops/mail")
    first = await mail.put({"to": "a"}, key="x", group="g", priority=3, delay="0s")
    assert await mail.put({"to": "b"}, key="x") == first
    second = await mail.put(b"\x00", priority=-1)
    delivery = await mail.receive(5, visibility="30s")
    assert [(item.id, item.payload, item.attempts) for item in delivery] == [
        (first, {"to": "a"}, 1),
        (second, b"\x00", 1),
    ]
    assert {item.token for item in delivery} == {delivery.token}
    assert await delivery.extend() == 30.0
    await delivery.items[0].ack()
    await delivery.items[1].nack(reason="later")
    assert (await mail.status())["items"] == 1
    await (await mail.receive()).nack(delay="1h")
    assert len(await mail.receive()) == 0
    with pytest.raises(Refused):
        await delivery.ack()


async def test_who_takes_an_item_is_named(client: Client, site: Site) -> None:
    await client.queue("mail").put(1)
    task = asyncio.current_task()
    assert task is not None
    await client.queue("mail").receive()
    assert [each.owner for each in site.node.state.deliveries.values()] == [f"batch/1/{task.get_name()}"]


async def test_items_come_as_they_are_put_and_are_acked_by_their_block(client: Client, site: Site) -> None:
    mail, items = client.queue("mail"), client.queue("mail").items()
    waiting = asyncio.ensure_future(anext(items))
    await site.node.waiting.wait()
    await mail.put("one")
    async with await waiting as item:
        assert item.payload == "one"
        item.check()
    assert (await mail.status())["items"] == 0
    await mail.put("two")
    with pytest.raises(KeyError):
        async with await anext(items):
            raise KeyError("oops")
    async with await anext(items) as item:
        assert (item.payload, item.attempts) == ("two", 2)
    await items.aclose()


async def test_a_block_whose_item_was_lost_is_cancelled(client: Client, site: Site) -> None:
    mail = client.queue("mail")
    await mail.put(1)
    (item,) = await mail.receive(visibility="300ms")

    async def work() -> None:
        async with item:
            await site.node.do(ExpireLease(item.token))
            await asyncio.sleep(30)

    with pytest.raises(LeaseLost, match=f"item {item.id} was lost"):
        await work()


async def test_a_block_that_never_paused_is_told_at_its_end(client: Client, site: Site) -> None:
    mail = client.queue("mail")
    await mail.put(1)
    (item,) = await mail.receive()
    with pytest.raises(LeaseLost):
        async with item:
            await site.node.do(ExpireLease(item.token))


async def test_a_delivery_that_was_long_in_coming_has_its_time_anew(client: Client, site: Site) -> None:
    await client.queue("mail").put(1)
    delivery = await client.queue("mail").receive()
    delivery.sent_s -= 20.0
    assert await delivery.freshen()
    assert site.node.renewed == [delivery.token]
    await site.node.do(ExpireLease(delivery.token or 0))
    delivery.sent_s -= 20.0
    assert not await delivery.freshen()
