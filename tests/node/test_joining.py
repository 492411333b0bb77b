"""A newcomer asks a real transport to be taken in, and remembers what it was told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from peercron.consensus.transport import Transport
from peercron.errors import ConfigError, DataDirError, PeerRejected, Refused
from peercron.identity import DataDir
from peercron.node import joining
from peercron.node.joining import join
from peercron.settings import Settings, load
from peercron.wire.frames import Claim, secret_key

SECRET = "a-secret-of-good-length"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Member:
    """Somebody who answers newcomers, each with the next of its answers, and then with the last again."""

    def __init__(self, *answers: Mapping[str, Any], cluster: str = "peercron-cafe") -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.transport = Transport("m", {}, cluster, secret_key(SECRET.encode()), self, gate=self)

    async def start(self) -> None:
        host, port = self.address.split(":")
        await self.transport.start(host, int(port))

    def judge(self, claim: Claim) -> None: ...
    def refused(self, peer: str, code: str, detail: str) -> None: ...
    def peer_connected(self, peer: str) -> None: ...
    def peer_disconnected(self, peer: str) -> None: ...
    def peer_message(self, peer: str, message: Any) -> None: ...

    async def guest(self, request: Any) -> Mapping[str, Any]:
        self.asked.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


YES = {
    "type": "admitted", "name": "four", "members": ["10.0.0.1:7400"], "cluster": "peercron-cafe",
    "founders": ("a:1", "b:1"),
}  # fmt: skip
LATER = {"type": "later", "detail": "nobody leads", "members": []}


class Hall:
    """Members, and a newcomer's data directory."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = DataDir(folder)
        self.members: list[Member] = []
        self.own = f"127.0.0.1:{free_port()}"

    async def member(self, *answers: Mapping[str, Any], **more: str) -> Member:
        self.members.append(Member(*answers, **more))
        await self.members[-1].start()
        return self.members[-1]

    async def join(self, *addresses: str, secret: str = SECRET, **flags: str) -> Settings:
        settings = load({"join": ",".join(addresses), "self": self.own} | flags, {"PEERCRON_SECRET": secret})
        ids = iter(("cafe", "babe"))
        async with asyncio.timeout(20):
            return await join(settings, self.data_dir, ids.__next__, None)


@pytest.fixture
async def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hall]:
    monkeypatch.setattr(joining, "PAUSE_S", (0.0, 0.01))
    hall = Hall(tmp_path)
    yield hall
    for member in hall.members:
        await member.transport.close()
    hall.data_dir.close()


async def test_a_newcomer_is_taken_in_and_remembers_it(hall: Hall) -> None:
    member = await hall.member(YES)
    settings = await hall.join(member.address, name="four", role="witness")
    assert settings.join == (member.address, "10.0.0.1:7400")
    assert member.asked == [{"type": "admit", "id": "cafe", "name": "four", "address": hall.own, "role": "witness"}]
    identity = hall.data_dir.read()
    assert identity is not None
    assert (identity.member, identity.incarnation, identity.cluster) == ("cafe", "cafe", "peercron-cafe")
    assert (identity.founders, identity.address, identity.session) == (("a:1", "b:1"), hall.own, 0)
    assert (await hall.join("127.0.0.1:1")).join == ("127.0.0.1:1",)
    assert len(member.asked) == 1, "who was taken in asks nobody"


async def test_it_asks_until_somebody_leads_and_elsewhere_too(hall: Hall) -> None:
    second = await hall.member(YES)
    first = await hall.member(LATER, LATER | {"members": [second.address]}, LATER)
    await hall.join("127.0.0.1:1", first.address)
    assert len(first.asked) == 3
    assert {request["id"] for request in (*first.asked, *second.asked)} == {"cafe"}


async def test_what_was_not_said_is_not_asked_for(hall: Hall) -> None:
    member = await hall.member(YES)
    await hall.join(member.address)
    assert (member.asked[0]["name"], member.asked[0]["role"]) == ("", "")


async def test_the_newcomer_is_called_what_the_cluster_calls_it(hall: Hall) -> None:
    member = await hall.member(YES)
    settings = await hall.join(member.address)
    assert (settings.name, settings.name_given) == ("four", False)


async def test_a_no_is_final(hall: Hall) -> None:
    member = await hall.member({"type": "refused", "code": "conflict", "detail": "the name is taken"})
    with pytest.raises(Refused, match="does not take this node: the name is taken"):
        await hall.join(member.address)
    identity = hall.data_dir.read()
    assert identity is not None
    assert (identity.member, identity.cluster) == ("cafe", "")
    member.answers = [YES]
    await hall.join(member.address)
    assert {request["id"] for request in member.asked} == {"cafe"}, "it asks under the same id, however often"


async def test_a_wrong_secret_is_final_where_nobody_else_can_be_asked(hall: Hall) -> None:
    member = await hall.member(YES)
    with pytest.raises(PeerRejected, match=r": m does not share this node's secret \(--secret-file\)$"):
        await hall.join(member.address, secret="another-secret-of-length")
    assert member.asked == []


async def test_who_is_called_by_its_address_is_named_once(hall: Hall) -> None:
    member = await hall.member(YES)
    member.transport.me = member.address
    with pytest.raises(PeerRejected, match=f"^{member.address} does not share"):
        await hall.join(member.address, secret="another-secret-of-length")


async def test_what_is_no_member_is_named(hall: Hall) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(PeerRejected, match=f"{address}: not a peercron member"):
        await hall.join(address)
    member = await hall.member(YES)
    await hall.join(address, member.address)
    server.close()


async def test_a_cluster_of_another_name_is_another(hall: Hall) -> None:
    member = await hall.member(YES)
    with pytest.raises(DataDirError, match="the cluster there is peercron, and --cluster says other"):
        await hall.join(member.address, cluster="other")


async def test_who_cannot_listen_does_not_ask(hall: Hall) -> None:
    member = await hall.member(YES)
    hall.own = member.address
    with pytest.raises(ConfigError, match="cannot listen"):
        await hall.join(member.address)
    assert member.asked == []


async def test_nobody_joins_itself(hall: Hall) -> None:
    with pytest.raises(ConfigError, match="is this node itself; name a member"):
        await hall.join(hall.own)
