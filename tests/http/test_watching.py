"""Watching the shared state: every change once and in order, at whatever node, or a word that some are gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from peercron.core.apply import change as changes
from peercron.core.commands import DeleteKey, PutKey
from peercron.core.state import ClusterState
from peercron.errors import Compacted, Refused
from peercron.http import feed, streaming
from peercron.http.feed import Feed, change_view
from tests.core.builders import cluster, done
from tests.http.conftest import Site, StartSite
from tests.http.promises import hold_line

STATE = "/v1/state/default/"


class Stream:
    """A watch that is read line by line."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def line(self) -> bytes:
        async with asyncio.timeout(10):
            return bytes(await self.answer.content.readline())

    async def next(self) -> Any:
        told = json.loads(await self.line())
        hold_line("ChangeSent", told)
        return told


@asynccontextmanager
async def watching_at(site: Site, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with site.session.get(f"{site.url}{STATE}?watch=1{query}", headers=headers) as answer:
        assert answer.status == 200
        yield Stream(answer)


async def put(site: Site, key: str = "k", value: bytes = b"1") -> int:
    return int((await site.ask("PUT", STATE + key, value)).json["revision"])


async def test_what_comes_is_told_as_it_comes(site: Site) -> None:
    before = await put(site)
    async with watching_at(site) as stream:
        assert await stream.next() == {"index": before}
        revision = await put(site, "a/b", b'{"n":\n 1}')
        assert await stream.next() == {"key": "a/b", "revision": revision, "value": {"n": 1}}
        revision = await put(site, value=b"\xff")
        assert await stream.next() == {"key": "k", "revision": revision, "base64": "/w=="}
        await site.ask("DELETE", STATE + "k")
        assert await stream.next() == {"key": "k", "revision": revision + 1, "deleted": True}


async def test_a_watcher_goes_on_at_another_node(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    async with watching_at(first) as stream:
        await stream.next()
        seen = [await put(first), await put(second)]
        assert [(await stream.next())["revision"] for _ in seen] == seen
    missed = [await put(first), await put(second, "other")]
    async with watching_at(second, f"&from={seen[-1]}") as stream:
        await stream.next()
        assert [(await stream.next())["revision"] for _ in missed] == missed


async def test_a_prefix_and_a_namespace_choose(site: Site) -> None:
    async with watching_at(site, "&prefix=a/") as stream:
        await stream.next()
        await put(site, "b")
        await site.ask("PUT", "/v1/state/other/a/x", b"1")
        revision = await put(site, "a/x")
        assert (await stream.next())["revision"] == revision


async def test_as_events_for_a_browser_which_comes_back_by_itself(site: Site) -> None:
    first, second = await put(site), await put(site, value=b"2")
    async with watching_at(site, Accept="text/event-stream", **{"Last-Event-ID": str(first)}) as stream:
        assert stream.answer.content_type == "text/event-stream"
        assert [await stream.line() for _ in range(4)][:2] == [b"event: index\n", b"id: %d\n" % first]
        told = [await stream.line() for _ in range(2)]
        assert told[0] == b"id: %d\n" % second
        assert json.loads(told[1].removeprefix(b"data: "))["value"] == 2


async def test_a_quiet_stream_says_that_it_lives_and_how_far_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.01)
    async with watching_at(site) as stream:
        start = (await stream.next())["index"]
        await site.ask("PUT", "/v1/state/other/k", b"1")
        while (told := await stream.next())["index"] == start:
            pass
        assert told == {"index": start + 1}
        site.node.has_leader = False
        while "error" not in (told := await stream.next()):
            pass
        assert told["error"]["code"] == "no_leader"
        assert await stream.line() == b""


async def test_who_is_behind_what_is_kept_is_told_to_begin_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_KEPT", 2)
    first = await put(site)
    async with watching_at(site) as stream:
        await stream.next()
        monkeypatch.setattr(streaming, "COALESCE_S", 0.0)
        for _ in range(4):
            done(site.node.state, PutKey("default", "k", b"2"))
        await put(site)
        told = (await stream.next())["error"]
        assert (told["code"], told["index"]) == ("compacted", site.node.state.index)
    for query in (f"?watch=1&from={first}", f"?index={first}"):
        answer = await site.get(STATE + query)
        assert (answer.status, answer.json["code"]) == (410, "compacted")
        assert answer.json["index"] == site.node.state.index


async def test_an_answer_that_waits(site: Site) -> None:
    index = await put(site)
    site.node.waiting.clear()
    reading = asyncio.create_task(site.get(f"{STATE}?index={index}&wait=60s&values=1"))
    await site.node.waiting.wait()
    revision = await put(site, value=b"2")
    told = (await reading).json
    assert told["changes"] == [{"key": "k", "revision": revision, "value": 2}]
    assert (told["index"], told["keys"][0]["value"]) == (revision, 2)
    again = await site.get(f"{STATE}?index={index}&limit=0")
    assert (again.json["changes"], again.json["keys"]) == (told["changes"], [])


async def test_an_answer_that_waited_in_vain(site: Site) -> None:
    index = await put(site)
    answer = await site.get(f"{STATE}?index={index}&wait=10ms")
    assert (answer.json["changes"], answer.json["index"]) == ([], index)


async def test_a_list_goes_on_after_a_name(site: Site) -> None:
    for name in "cab":
        await put(site, name)
    listed = (await site.get(f"{STATE}?after=a&limit=1&values=1")).json["keys"]
    assert [(entry["key"], entry["value"]) for entry in listed] == [("b", 1)]


@pytest.mark.parametrize(
    ("query", "path"),
    [("watch=2", "query.watch"), ("watch=1&index=3", "query.watch"), ("watch=1&from=x", "query.from")],
)
async def test_a_watch_that_makes_no_sense_is_refused(site: Site, query: str, path: str) -> None:
    answer = await site.get(f"{STATE}?{query}")
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, path)


async def test_an_older_cluster_waits_for_the_list_and_has_no_stream(site: Site) -> None:
    index = await put(site)
    site.node.state.level = 1
    reading = asyncio.create_task(site.get(f"{STATE}?index={index}&wait=60s"))
    await site.node.waiting.wait()
    await put(site, "l")
    assert [entry["key"] for entry in (await reading).json["keys"]] == ["k", "l"]
    answer = await site.get(f"{STATE}?watch=1")
    assert (answer.status, answer.json["code"]) == (409, "unsupported")


# The feed itself.


def write(state: ClusterState, count: int, namespace: str = "default", size: int = 1) -> list[int]:
    return [done(state, PutKey(namespace, f"k{n}", bytes(size))).index for n in range(count)]


def told(told_by: Feed, state: ClusterState, namespace: str, index: int = 0) -> list[int]:
    return [line.change.revision for line in told_by.after(state, namespace, "", index).lines]


def test_lines_are_made_once() -> None:
    state, told_by = cluster("a"), Feed()
    write(state, 2)
    first, again = (told_by.after(state, "default", "", 1).lines for _ in range(2))
    assert all(a.json is b.json for a, b in zip(first, again, strict=True))


def test_what_is_forgotten_there_is_forgotten_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_KEPT", 10)
    monkeypatch.setattr(feed, "_SLACK", 4)
    state, told_by = cluster("a"), Feed()
    for step in range(40):
        write(state, 1, "quiet") if step == 3 else write(state, step % 3, f"n{step % 2}")
        kept = state.changes.values()
        for namespace in ("quiet", "n0", "n1"):
            expected = [change.revision for change in kept if change.namespace == namespace]
            assert told(told_by, state, namespace, state.changes_floor) == expected
    assert len(told_by._taken) == 10
    assert sum(len(stream.lines) for stream in told_by._streams.values()) < 40
    with pytest.raises(Compacted):
        told_by.after(state, "n0", "", state.changes_floor - 1)


def test_another_state_in_its_place_is_followed() -> None:
    state, told_by = cluster("a"), Feed()
    write(state, 3)
    told(told_by, state, "default", 1)
    other = cluster("a", "b")
    written = write(other, 5)
    assert told(told_by, other, "default", 2) == written


@pytest.mark.parametrize(("name", "size"), [("BATCH_LINES_MAX", 1), ("BATCH_BYTES_MAX", 10)])
def test_a_batch_has_bounds(monkeypatch: pytest.MonkeyPatch, name: str, size: int) -> None:
    monkeypatch.setattr(feed, name, 30 if size > 1 else 3)
    state, told_by = cluster("a"), Feed()
    written, index, seen = write(state, 10, size=size), 1, []
    while batch := told_by.after(state, "default", "", index).lines:
        assert len(batch) <= 3
        seen += [line.change.revision for line in batch]
        index = told_by.after(state, "default", "", index).index
    assert seen == written
    assert index == state.index


def test_a_cluster_of_the_first_level_keeps_nothing() -> None:
    with pytest.raises(Refused, match=r"0\.2\.0"):
        Feed().after(ClusterState(), "default", "", 0)


def test_an_end_is_told() -> None:
    state = cluster("a")
    write(state, 1)
    done(state, DeleteKey("default", "k0"))
    assert [change_view(change).get("deleted") for change in state.changes.values()] == [None, True]


async def test_a_watcher_that_goes_away_is_nobody_s_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streaming, "COALESCE_S", 0.0)
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.001)
    ended = asyncio.Event()
    go_on = streaming._go_on

    async def observed(*asked: Any, **how: Any) -> None:
        try:
            await go_on(*asked, **how)
        finally:
            ended.set()

    monkeypatch.setattr(streaming, "_go_on", observed)
    async with watching_at(site) as stream:
        await stream.next()
        stream.answer.close()
        async with asyncio.timeout(10):
            await ended.wait()
    await put(site)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
