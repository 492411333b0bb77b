"""Events: what happens is told as it happens, with the same ids at all nodes, and who is too far behind is told so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from peercron.core import chronicle as chronicles
from peercron.core.chronicle import Chronicle
from peercron.core.commands import SetPool
from peercron.http import streaming
from tests.core.builders import done
from tests.http.conftest import Answer, Site, StartSite
from tests.http.promises import hold_line


class Stream:
    """Server-sent events, one by one."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.id = ""

    async def next(self) -> Any:
        """The data of the next event; None: the stream has ended."""
        data = None
        async with asyncio.timeout(10):
            while line := (await self.answer.content.readline()).decode().rstrip("\n"):
                field, _, value = line.partition(": ")
                self.id = value if field == "id" else self.id
                data = json.loads(value) if field == "data" else data
        if data is not None:
            hold_line("EventSent", data)
        return data

    async def event(self) -> Any:
        """The next that is no word of how far it is."""
        while True:
            told = await self.next()
            if told is None or "index" not in told:
                return told


@asynccontextmanager
async def listening(site: Site, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with site.session.get(f"{site.url}/v1/events{query}", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield Stream(answer)


async def set_pools(site: Site, *sizes: int) -> None:
    for size in sizes:
        await site.ask("PUT", "/v1/pools/db", {"size": size})


def shown(answer: Answer) -> list[tuple[str, str]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [(row["kind"], row["what"]) for row in map(json.loads, lines) if "kind" in row]


async def test_what_happens_is_told_as_it_happens(site: Site) -> None:
    await set_pools(site, 1)
    async with listening(site) as stream:
        assert await stream.next() == {"index": site.node.state.index, "id": str(site.node.state.index)}
        await site.put_job()
        run = await site.run_job()
        await site.node.start_attempt(run["id"])
        await site.node.finish_attempt(run["id"])
        told = [await stream.event() for _ in range(5)]
    assert [(each["kind"], each["what"], each["name"]) for each in told] == [
        ("job", "created", "default/hello"),
        ("run", "created", "default/hello"),
        ("run", "assigned", "default/hello"),
        ("run", "started", "default/hello"),
        ("run", "succeeded", "default/hello"),
    ]
    assert {each.get("run", run["id"]) for each in told} == {run["id"]}
    assert (told[2]["node"], told[2]["at"], told[1]["by"]) == ("n1", "2027-01-15T08:00:00.000Z", "hand")


async def test_it_goes_on_at_another_node_behind_what_was_seen(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    await first.put_job()
    async with listening(first, f"?from={first.node.state.index}") as stream:
        run = await first.run_job()
        assert (await stream.event())["what"] == "created"
        seen = stream.id
    assert seen.endswith(".1"), "the first event of two that one command brought"
    async with listening(second, **{"Last-Event-ID": seen}) as stream:
        told = await stream.event()
        assert (told["what"], told["run"], told["id"]) == ("assigned", run["id"], seen.removesuffix("1") + "2")


async def test_what_there_is_can_be_asked_for_alone(site: Site) -> None:
    await set_pools(site, 1, 2, 3)
    await site.put_job()
    pools, job = [("pool", "set")] * 3, ("job", "created")
    everything = shown(await site.get("/v1/events?follow=0"))
    assert everything[:2] == [("member", "up"), ("cluster", "level_raised")]
    assert everything[2:] == [*pools, job]
    assert shown(await site.get("/v1/events?follow=0&last=2")) == [("pool", "set"), job]
    assert shown(await site.get("/v1/events?follow=0&last=0")) == []
    assert shown(await site.get("/v1/events?follow=0&last=2&kind=pool,member")) == pools[1:]
    assert shown(await site.get("/v1/events?follow=0&name=hello")) == [job]
    assert shown(await site.get("/v1/events?follow=0&last=99&name=db")) == pools


@pytest.mark.parametrize(
    ("query", "path"),
    [("kind=jobs", "query.kind"), ("from=x", "query.from"), ("follow=2", "query.follow"), ("last=-1", "query.last")],
)
async def test_what_is_wrong_is_told_with_its_field(site: Site, query: str, path: str) -> None:
    answer = await site.get(f"/v1/events?{query}")
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, path)


async def test_who_is_behind_what_is_kept_is_told_where_to_go_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicles, "EVENTS_KEPT", 2)
    monkeypatch.setattr(chronicles, "SLACK", 2)
    monkeypatch.setattr(streaming, "COALESCE_S", 0.0)
    seen = site.node.state.index
    async with listening(site) as stream:
        await stream.next()
        for size in range(9):  # more than are kept, while it does not look
            done(site.node.state, SetPool("db", size))
        await set_pools(site, 1)
        told = (await stream.next())["error"]
        assert (told["code"], told["index"]) == ("compacted", site.node.state.index)
        assert await stream.next() is None
    answer = await site.get(f"/v1/events?from={seen}")
    assert (answer.status, answer.json["code"], answer.json["index"]) == (410, "compacted", site.node.state.index)
    assert answer.json["detail"].startswith("events after that id are not all kept any more: go on with those after")


async def test_a_state_that_came_as_a_snapshot_has_no_past(site: Site) -> None:
    await set_pools(site, 1)
    site.node.state.chronicle = Chronicle(site.node.state.index)
    assert shown(await site.get("/v1/events?follow=0")) == []
    assert (await site.get("/v1/events?from=1")).status == 410
    await set_pools(site, 2)
    assert shown(await site.get("/v1/events?follow=0")) == [("pool", "set")]


async def test_a_quiet_stream_tells_who_leads_and_ends_where_nobody_does(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.01)
    async with listening(site) as stream:
        await stream.next()
        site.node.has_leader = False
        told = await stream.event()
        assert (told["error"]["code"], await stream.next()) == ("no_leader", None)
    async with listening(site, "?consistency=stale") as stream:
        await stream.next()
        site.node.has_leader = True
        told = await stream.event()
        assert (told["kind"], told["what"], told["name"], told["id"]) == ("leader", "changed", "n1", None)


async def test_who_asks_for_the_head_alone_is_not_kept(site: Site) -> None:
    for path in ("/v1/events", "/v1/state/default/?watch=1"):
        async with asyncio.timeout(10):
            assert (await site.ask("HEAD", path)).status == 200


async def test_a_reader_of_many_has_one_batch_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.http.events.BATCH_MAX", 3)
    for size in range(10):
        done(site.node.state, SetPool("db", size))
    told = await site.get("/v1/events?follow=0&kind=pool")
    assert len(shown(told)) == 10
