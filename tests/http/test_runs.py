"""Routes of runs, and their output from wherever it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from peercron.core.limits import CHECKPOINT_BYTES_MAX
from peercron.runpass import run_pass
from tests.core.builders import run_row
from tests.http.conftest import Answer, Site, StartSite


def output(site: Site, token: int, text: bytes) -> Path:
    path = site.node.folder / f"{token}.log"
    path.write_bytes(text)
    return path


def url_of(run_id: str, rest: str = "") -> str:
    return f"/v1/runs/{run_id.replace('/', '%2F')}{rest}"


async def test_a_run_is_found_with_its_slash_written_either_way(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    assert (await site.get(f"/v1/runs/{run['id']}")).json["id"] == run["id"]
    read = (await site.get(url_of(run["id"]))).json
    wanted = {"id", "job", "slot", "scheduled_for", "state", "attempts", "output_tail"}
    assert wanted <= read.keys()
    wanted = {"n", "node", "token", "state", "started_at", "finished_at", "exit_code"}
    assert wanted <= read["attempts"][0].keys()
    assert read["attempts"][0]["node"] == "n1"


async def test_a_run_that_is_not_there(site: Site) -> None:
    for path in ("/v1/runs/x%2Fm1", "/v1/runs/x", "/v1/runs/x%2Fm1/log"):
        answer = await site.get(path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await site.ask("POST", "/v1/runs/x%2Fm1:cancel")).status == 404


async def test_list_with_filters(site: Site) -> None:
    for name in ("a", "b"):
        await site.put_job(name, overlap="allow")
    ids = [(await site.run_job(name))["id"] for name in ("a", "b", "b")]
    await site.node.finish_attempt(ids[1])
    listed = (await site.get("/v1/runs")).json["runs"]
    assert {run["id"] for run in listed} == set(ids)
    assert [run["id"] for run in (await site.get("/v1/runs?state=succeeded")).json["runs"]] == [ids[1]]
    assert [run["id"] for run in (await site.get("/v1/runs?job=b&limit=1")).json["runs"]] == [ids[2]]
    wrong = await site.get("/v1/runs?state=runing")
    assert (wrong.status, wrong.json["errors"][0]["path"]) == (400, "query.state")
    assert "did you mean running?" in wrong.json["detail"]


async def test_cancel(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    answer = await site.ask("POST", url_of(run["id"], ":cancel"))
    assert (answer.status, answer.json["cancel_requested"]) == (202, True)
    await site.node.finish_attempt(run["id"])
    again = await site.ask("POST", f"/v1/runs/{run['id']}:cancel")
    assert (again.status, again.json["code"]) == (409, "conflict")


async def test_retry_is_a_run_of_its_own_for_the_same_slot(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    early = await site.ask("POST", url_of(run["id"], ":retry"))
    assert (early.status, early.json["code"]) == (409, "conflict")
    await site.node.finish_attempt(run["id"])
    answer = await site.ask("POST", url_of(run["id"], ":retry"))
    assert (answer.status, answer.json["slot"], answer.json["manual"]) == (202, run["slot"], True)
    assert answer.json["id"] != run["id"]
    assert answer.json["cause"] == f"run {run['id']} is done again"
    assert (await site.ask("POST", "/v1/runs/x%2Fm1:retry")).status == 404


async def test_the_output_of_a_run_here(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    output(site, run["attempts"][0]["token"], b"one\ntwo\n\xff")
    answer = await site.get(url_of(run["id"], "/log"))
    assert (answer.status, answer.body, answer.headers["Peercron-Log"]) == (200, b"one\ntwo\n\xff", "file")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await site.get(url_of(run["id"], "/log?offset=4"))).body == b"two\n\xff"
    assert (await site.get(url_of(run["id"], "/log?attempt=2"))).status == 404


async def test_the_tail_when_the_file_is_gone(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    await site.node.finish_attempt(run["id"], "the end")
    answer = await site.get(url_of(run["id"], "/log"))
    assert (answer.text, answer.headers["Peercron-Log"]) == ("the end", "tail")


async def test_output_is_followed_to_the_end_of_the_attempt(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    token = await site.node.start_attempt(run["id"])
    path = output(site, token, b"one\n")
    async with site.session.get(f"{site.url}{url_of(run['id'], '/log')}?follow=1") as answer:
        assert await answer.content.readline() == b"one\n"
        with path.open("ab") as file:
            file.write(b"two\n")
        assert await answer.content.readline() == b"two\n"
        with path.open("ab") as file:
            file.write(b"last\n")
        await site.node.finish_attempt(run["id"])
        assert await answer.content.read() == b"last\n"


async def test_a_run_that_has_not_begun_is_waited_for(site: Site) -> None:
    await site.put_job(overlap="queue_all")
    first, second = await site.run_job(), await site.run_job()
    assert (second["state"], second["attempts"]) == ("queued", [])
    assert (await site.get(url_of(second["id"], "/log"))).body == b""
    reading = asyncio.create_task(site.get(url_of(second["id"], "/log?follow=1")))
    await site.node.finish_attempt(first["id"])
    output(site, run_row(site.node.state, second["id"]).attempts[0].token, b"hi\n")
    await site.node.finish_attempt(second["id"])
    assert (await reading).body in (b"hi\n", b"")


async def test_output_comes_from_the_member_that_has_it(start_site: StartSite) -> None:
    one, two = await start_site("n1"), await start_site("n2")
    await one.put_job(nodes=["n2"])
    run = await one.run_job()
    assert run["attempts"][0]["node"] == "n2"
    path = output(two, run["attempts"][0]["token"], b"from two\n")
    answer = await one.get(url_of(run["id"], "/log"))
    assert (answer.text, answer.headers["Peercron-Log"]) == ("from two\n", "file")
    async with one.session.get(f"{one.url}{url_of(run['id'], '/log')}?follow=1") as following:
        assert await following.content.readline() == b"from two\n"
        path.write_bytes(b"from two\nmore\n")
        assert await following.content.readline() == b"more\n"
        await one.node.finish_attempt(run["id"])
        assert await following.content.read() == b""


async def test_one_hop_and_no_more(start_site: StartSite) -> None:
    one, _ = await start_site("n1"), await start_site("n2")
    await one.put_job(nodes=["n2"])
    run = await one.run_job()
    answer = await one.get(url_of(run["id"], "/log"), headers={"Peercron-Forwarded": "n3"})
    assert (answer.status, answer.headers["Peercron-Log"]) == (200, "tail")


async def test_a_member_that_cannot_be_asked_leaves_the_tail(start_site: StartSite) -> None:
    one, two = await start_site("n1"), await start_site("n2")
    await one.put_job(nodes=["n2"])
    run = await one.run_job()
    await one.node.finish_attempt(run["id"], "tail of it")
    member = one.node.state.members["id-n2"]
    # Its server is where nobody listens now.
    object.__setattr__(member.info, "http", "127.0.0.1:9")
    assert two.node.settings.name == "n2"
    assert (await one.get(url_of(run["id"], "/log"))).text == "tail of it"


async def test_output_that_breaks_off_on_the_way_is_not_passed_on_as_whole(start_site: StartSite) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    one, _ = await start_site("n1"), await start_site("n2")
    async with await asyncio.start_server(die, "127.0.0.1", 0) as dying:
        address = "127.0.0.1:{1}".format(*dying.sockets[0].getsockname())
        object.__setattr__(one.node.state.members["id-n2"].info, "http", address)
        await one.put_job(nodes=["n2"])
        run = await one.run_job()
        with pytest.raises(aiohttp.ClientPayloadError):
            await one.get(url_of(run["id"], "/log"))
    assert (await one.get("/livez")).status == 200


@pytest.mark.parametrize("query", ["attempt=x", "follow=maybe", "offset=-1", "fllow=1"])
async def test_bad_parameters_are_named(site: Site, query: str) -> None:
    await site.put_job()
    run = await site.run_job()
    answer = await site.get(url_of(run["id"], f"/log?{query}"))
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, f"query.{query.split('=')[0]}")


async def checkpoint(site: Site, run_id: str, token: int, data: object, secret: str | None = None) -> Answer:
    own = run_pass(site.node.pass_key, site.node.settings.cluster, run_id, token)
    secret = own if secret is None else secret
    headers = {"Authorization": f"Bearer {secret}"}
    return await site.ask("POST", url_of(run_id, ":checkpoint"), json={"token": token, "data": data}, headers=headers)


async def test_a_run_says_how_far_it_is(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    token = run["attempts"][0]["token"]
    assert (await checkpoint(site, run["id"], token, {"done": 3})).status == 200
    assert site.node.state.runs[run["id"]].checkpoint == b'{"done":3}'
    assert (await site.get(url_of(run["id"]))).json["checkpoint_bytes"] == 10


async def test_a_checkpoint_that_is_too_large_never_enters_the_log(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    index = site.node.state.index
    answer = await checkpoint(site, run["id"], run["attempts"][0]["token"], "x" * CHECKPOINT_BYTES_MAX)
    assert (answer.status, answer.json["code"], site.node.state.index) == (413, "too_large", index)


async def test_a_process_speaks_for_its_own_attempt_only(site: Site) -> None:
    await site.put_job(overlap="allow")
    mine, other = await site.run_job(), await site.run_job()
    token = mine["attempts"][0]["token"]
    own = run_pass(site.node.pass_key, site.node.settings.cluster, mine["id"], token)
    for run_id, said in ((other["id"], token), (mine["id"], token + 1), (other["id"], other["attempts"][0]["token"])):
        answer = await checkpoint(site, run_id, said, 1, own)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert (await site.ask("POST", url_of(mine["id"], ":checkpoint"), json={"token": token, "data": 1})).status == 401


async def test_an_attempt_that_has_ended_cannot_say_anything(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    await site.node.finish_attempt(run["id"])
    answer = await checkpoint(site, run["id"], run["attempts"][0]["token"], 1)
    assert (answer.status, answer.json["code"]) == (409, "stale_token")


async def test_a_checkpoint_without_its_fields_is_refused(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    for body in ({"token": 1}, {"data": 1}, {"token": "1", "data": 1}, {"token": True, "data": 1}):
        assert (await site.ask("POST", url_of(run["id"], ":checkpoint"), json=body)).status == 422
