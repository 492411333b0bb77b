"""Client: the whole face of a cluster for programs, at real routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peercron import errors
from peercron.access import digest_of, fresh_token
from peercron.client import Change, Client, Entry
from peercron.core.apply import change as changes
from peercron.core.apply import once
from peercron.core.chronicle import Chronicle
from peercron.core.commands import CreateToken, PutKey
from peercron.core.token import Scope
from peercron.errors import Compacted, ConfigError, NoLeader, OutcomeUnknown, Refused
from tests.core.builders import done
from tests.http.conftest import Site, StartSite

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client([NOBODY, site.url], label="batch/1") as client:
        yield client


async def test_values_are_json_or_bytes(client: Client) -> None:
    for value in ({"n": [1, None]}, "text", 7, b"\xff\x00"):
        revision = await client.state.put("a/b c", value)
        assert await client.state.get("a/b c") == value
        assert await client.state.entry("a/b c") == Entry("a/b c", value, revision)
    assert await client.state.get("absent", default=3) == 3


@pytest.mark.parametrize("value", [float("nan"), {"n": [float("inf")]}])
async def test_numbers_that_json_does_not_know_are_refused(client: Client, site: Site, value: object) -> None:
    for put in (client.state.put("k", value), client.queue("mail").put(value)):
        with pytest.raises(ConfigError, match=r"(value|payload)(\.n\[0\])?: (nan|inf) is no number of JSON"):
            await put
    assert not site.node.state.keys
    with pytest.raises(ConfigError, match="inf is no time that ends"):
        await client.state.put("k", 1, ttl=float("inf"))


async def test_no_name_is_empty(client: Client) -> None:
    for asking in (
        client.state.get(""),
        client.state.put("", 1),
        client.state.delete("ops:"),
        client.queue("").put(1),
        client.queue("/mail").status(),
        client.lock("").acquire(),
        client.jobs.get(""),
        client.jobs.run("ops/"),
        client.jobs.find_run(""),
    ):
        with pytest.raises(ConfigError, match="empty"):
            await asking
    with pytest.raises(ConfigError, match=r"'a/b/c' is not NAME, .* or NAMESPACE/NAME, with one slash"):
        await client.lock("a/b/c").acquire()


async def test_names_have_namespaces(client: Client, site: Site) -> None:
    await client.state.put("ops:a:b", 1)
    assert list(site.node.state.keys["ops"]) == ["a:b"]
    assert [entry.key for entry in await client.state.list(namespace="ops")] == ["a:b"]


async def test_compare_and_set(client: Client) -> None:
    revision = await client.state.cas("k", 1, 0)
    with pytest.raises(Refused, match="revision") as refused:
        await client.state.cas("k", 2, 0)
    assert refused.value.code == "conflict"
    await client.state.cas("k", 2, revision)


async def test_counts_and_times(client: Client, site: Site) -> None:
    assert [await client.state.incr("n", by) for by in (1, 41)] == [1, 42]
    await client.state.put("k", 1, ttl=1.5)
    assert [lease.ttl_ms for lease in site.node.state.leases.values()] == [1_500]
    assert [await client.state.delete("k") for _ in range(2)] == [True, False]


async def test_a_list_of_many_pages(client: Client, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.client.state.PAGE", 2)
    for n in range(5):
        await client.state.put(f"p/{n}", n)
    await client.state.put("q", 9)
    listing = await client.state.list("p/")
    assert [(entry.key, entry.value) for entry in listing] == [(f"p/{n}", n) for n in range(5)]
    assert (len(listing), listing.index) == (5, site.node.state.index)


async def test_a_watch_tells_what_comes_after_a_list(client: Client) -> None:
    await client.state.put("k", 1)
    listing = await client.state.list()
    second = await client.state.put("k", 2)
    await client.state.delete("k")
    watched = client.state.watch(after=listing.index)
    told = [await anext(watched) for _ in range(2)]
    assert told == [Change("k", second, 2), Change("k", second + 1, None, deleted=True)]
    await watched.aclose()


async def test_a_watch_goes_on_at_another_node(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.http.streaming.HEARTBEAT_S", 0.01)
    first, second = await start_site(), await start_site("n2")
    async with Client([first.url, second.url]) as client:
        watched = client.state.watch(after=first.node.state.index)
        reading = asyncio.ensure_future(anext(watched))
        await first.node.waiting.wait()
        assert (await client.state.put("k", 1), (await reading).value) == ((await client.state.entry("k")).revision, 1)
        first.node.has_leader = False  # it is cut off, and says so
        reading = asyncio.ensure_future(anext(watched))
        await second.node.waiting.wait()
        await second.ask("PUT", "/v1/state/default/k", b"2")
        assert (await reading).value == 2
        await watched.aclose()


async def test_a_watch_that_is_too_far_behind(client: Client, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_KEPT", 1)
    first = await client.state.put("k", 1)
    for _ in range(3):
        done(site.node.state, PutKey("default", "k", b"2"))
    with pytest.raises(Compacted) as behind:
        await anext(client.state.watch(after=first))
    assert behind.value.index == site.node.state.index


async def test_events_go_on_at_another_node(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.http.streaming.HEARTBEAT_S", 0.01)
    first, second = await start_site(), await start_site("n2")
    async with Client([first.url, second.url]) as client:
        told = client.events(after=str(first.node.state.index), kinds=["pool"], name="db")
        await first.ask("PUT", "/v1/pools/other", {"size": 1})
        await first.ask("PUT", "/v1/pools/db", {"size": 1})
        assert (await anext(told))["size"] == 1
        first.node.has_leader = False  # it is cut off, and says so
        reading = asyncio.ensure_future(anext(told))
        await second.node.waiting.wait()
        await second.ask("PUT", "/v1/pools/db", {"size": 2})
        assert (await reading)["size"] == 2
        await told.aclose()
        first.node.state.chronicle = Chronicle(first.node.state.index)
        with pytest.raises(Compacted):
            await anext(client.events(after="1"))


async def test_jobs(client: Client, site: Site) -> None:
    job = await client.jobs.put("hello", every="1h", shell="true")
    assert [each["name"] for each in await client.jobs.list()] == ["hello"]
    assert (await client.jobs.get("hello"))["revision"] == job["revision"]
    assert (await client.jobs.pause("hello"))["paused"] is True
    assert (await client.jobs.resume("hello"))["paused"] is False
    run = await client.jobs.run("hello")
    waiting = asyncio.ensure_future(client.jobs.wait(run["id"], "1m"))
    await site.node.start_attempt(run["id"])
    await site.node.finish_attempt(run["id"])
    assert (await waiting)["state"] == "succeeded"
    assert (await client.jobs.find_run(run["id"]))["state"] == "succeeded"
    assert [each["id"] for each in await client.jobs.runs("hello")] == [run["id"]]
    assert (await client.jobs.run("hello", {"day": "1"}, wait="10ms"))["finished_at"] is None
    assert [await client.jobs.delete("hello") for _ in range(2)] == [True, False]
    with pytest.raises(Refused, match="no job"):
        await client.jobs.get("hello")


async def test_a_wrong_definition_names_its_problems(client: Client) -> None:
    with pytest.raises(ConfigError) as wrong:
        await client.jobs.put("hello", {"every": "1h", "shell": "true", "overlap": "never"})
    assert [problem.path for problem in wrong.value.problems] == ["overlap"]


async def test_a_write_that_was_not_answered_is_asked_for_again_and_done_once(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await start_site(), await start_site("n2")
    propose = first.node.propose

    async def lost(*asked: object) -> object:
        await propose(*asked)  # type: ignore[arg-type]
        raise OutcomeUnknown

    async with Client([first.url, second.url]) as client:
        await client.status()
        monkeypatch.setattr(first.node, "propose", lost)
        assert await client.state.incr("n") == 1
        assert await client.state.get("n") == 1


async def test_a_retry_that_comes_too_late_to_be_known_is_unknown(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More was answered meanwhile than is kept: it is not done a second time, and nobody says that it was done."""
    monkeypatch.setattr(once, "ANSWERS_KEPT", 2)
    first, second = await start_site(), await start_site("n2")
    propose = first.node.propose

    async def lost(*asked: object) -> object:
        await propose(*asked)  # type: ignore[arg-type]
        for n in range(3):
            await second.ask("PUT", "/v1/state/default/k", b"1", headers={"Idempotency-Key": f"other-{n}"})
        raise OutcomeUnknown

    async with Client([first.url, second.url], timeout="500ms") as client:
        await client.status()
        monkeypatch.setattr(first.node, "propose", lost)
        with pytest.raises(OutcomeUnknown):
            await client.state.incr("n")
        assert await client.state.get("n") == 1


async def test_the_very_first_write_is_known_again_where_much_was_answered_before(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "ANSWERS_KEPT", 2)
    first, second = await start_site(), await start_site("n2")
    for n in range(4):
        await second.ask("PUT", "/v1/state/default/k", b"1", headers={"Idempotency-Key": f"other-{n}"})
    first.node.fails = OutcomeUnknown()
    async with Client([first.url, second.url]) as client:
        assert await client.state.incr("n") == 1
        assert await client.state.get("n") == 1


async def test_the_very_first_write_is_asked_for_again_too(start_site: StartSite) -> None:
    """The node went away with it, and no other has said yet what the cluster understands: one is asked."""
    site = await start_site()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with Client([url, site.url]) as client:
            assert await client.state.incr("n") == 1
        site.node.state.level = 1
        async with Client([url, site.url]) as client:
            assert await client.state.put("k", 1), "it goes to who has just answered"
    assert list(site.node.state.keys["default"]) == ["n", "k"]


async def test_an_older_cluster_is_not_asked_twice(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    first.node.state.level = 1
    first.node.fails = OutcomeUnknown()
    async with Client([first.url, second.url]) as client:
        with pytest.raises(OutcomeUnknown):
            await client.state.put("k", 1)
    assert second.node.state.keys == {}


async def test_who_has_no_leader_is_passed_over_and_in_the_end_told(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    first.node.fails = NoLeader()
    async with Client([first.url, second.url], timeout=0.5) as client:
        assert await client.state.put("k", 1)
        second.node.fails = NoLeader()
        with pytest.raises(NoLeader):
            await client.state.put("k", 2)


@pytest.mark.parametrize("write", [True, False])
async def test_one_without_a_leader_among_the_dead_has_the_time_to_say_so(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, write: bool
) -> None:
    """In its last try it had no time to answer: a read told of a dead one, and a write that it may have been done."""

    async def nobody_leads(*_: object, **__: object) -> None:
        await asyncio.sleep(0.3)
        raise NoLeader("why")

    monkeypatch.setattr(site.node, "propose", nobody_leads)
    monkeypatch.setattr(site.node, "read_barrier", nobody_leads)
    async with Client([NOBODY, site.url, "http://127.0.0.1:2"], timeout="3s") as client:
        with pytest.raises(NoLeader, match="why"):
            await (client.state.put("k", 1) if write else client.state.get("k"))


@pytest.mark.parametrize("addresses", [[], "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(addresses: object) -> None:
    with pytest.raises(ConfigError, match="http://host:8400"):
        Client(addresses)  # type: ignore[arg-type]


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERCRON_URL", "http://own:1")
    assert Client()._link.addresses == ("http://own:1",)
    monkeypatch.setenv("PEERCRON_ADDR", "a:1,http://b:2")
    assert Client()._link.addresses == ("http://a:1", "http://b:2")


def test_errors_are_those_of_the_package() -> None:
    assert issubclass(errors.Compacted, errors.PeercronError)


async def test_an_access_token_is_given_or_found_in_the_environment(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, path = fresh_token(), tmp_path / "token"
    await site.node.do(CreateToken("ops", digest_of(token), (Scope.ADMIN,)))
    path.write_text(f"{token}\n")
    monkeypatch.setenv("PEERCRON_TOKEN_FILE", str(path))
    monkeypatch.delenv("PEERCRON_TOKEN", raising=False)
    for given in (token, None):
        async with Client(site.url, token=given) as client:
            await client.state.put("k", 1)
    async with Client(site.url, token="") as client:
        with pytest.raises(Refused, match="wants an access token") as refused:
            await client.state.put("k", 1)
    assert refused.value.code == "unauthenticated"
    path.unlink()
    with pytest.raises(ConfigError, match="PEERCRON_TOKEN_FILE: cannot read"):
        Client(site.url)
    monkeypatch.setenv("PEERCRON_TOKEN", token)
    async with Client(site.url) as client:
        assert await client.state.get("k") == 1
