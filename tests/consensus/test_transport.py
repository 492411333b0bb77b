"""Real sockets on the loopback: members find each other, and nobody else gets a word in."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from peercron.consensus import dialler, link
from peercron.consensus import transport as transport_module
from peercron.consensus.messages import ProtocolError
from peercron.consensus.transport import GUESTS_MAX, STRANGERS_MAX, Gate, Transport
from peercron.wire.frames import FRAME_BYTES_MAX, NONCE_BYTES, Channel, Claim, secret_key
from peercron.wire.plain import pack, unpack

KEY = secret_key(b"open sesame")
HOST = "127.0.0.1"


class Ear:
    """What a transport tells, and a way to wait for it."""

    def __init__(self) -> None:
        self.peers: set[str] = set()
        self.log: list[tuple[str, Any]] = []
        self._heard = asyncio.Event()

    def peer_connected(self, peer: str) -> None:
        self.peers.add(peer)
        self._note("connected", peer)

    def peer_disconnected(self, peer: str) -> None:
        self.peers.discard(peer)
        self._note("disconnected", peer)

    def peer_message(self, peer: str, message: Any) -> None:
        if message == "nonsense":
            raise ProtocolError("nonsense")
        self._note(peer, message)

    def _note(self, *what: Any) -> None:
        self.log.append(what)
        self._heard.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._heard.clear()
                await self._heard.wait()


class Stand:
    """Some members on free ports."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.ears: dict[str, Ear] = {}
        self.transports: list[Transport] = []

    def make(
        self,
        me: str,
        *,
        key: bytes = KEY,
        cluster: str = "c",
        known: str = "abc",
        gate: Gate | None = None,
        born: str = "",
    ) -> Transport:
        for name in (*known, me):
            if name not in self.ports:
                with socket.socket() as free:
                    free.bind((HOST, 0))
                    self.ports[name] = free.getsockname()[1]
        peers = {name: (HOST, self.ports[name]) for name in known if name != me}
        self.ears[me] = Ear()
        self.transports.append(Transport(me, peers, cluster, key, self.ears[me], incarnation=born, gate=gate))
        return self.transports[-1]

    async def connected(self, *names: str) -> None:
        """Each of these has all the others, and nobody else."""
        for name in names:
            others = set(names) - {name}
            await self.ears[name].until(lambda name=name, others=others: self.ears[name].peers == others)  # type: ignore[misc]

    def where(self, *names: str) -> dict[str, tuple[str, int]]:
        return {name: (HOST, self.ports[name]) for name in names}

    async def start(self, *names: str, **options: Any) -> list[Transport]:
        started = [self.make(name, **options) for name in names]
        for transport in started:
            await transport.start(HOST, self.ports[transport.me])
        return started

    async def raw(self, me: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stranger's connection."""
        return await asyncio.open_connection(HOST, self.ports[me])


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    yield stand
    for transport in stand.transports:
        await transport.close()


async def gone(reader: asyncio.StreamReader) -> bool:
    """The other end closed the connection; what it said before is passed over."""
    async with asyncio.timeout(20):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
    return True


async def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.msg == "peer_refused"]


async def introduce(stand: Stand, me: str, name: str) -> tuple[Channel, asyncio.StreamReader, asyncio.StreamWriter]:
    """A member of that name, made by hand, that has proven itself."""
    reader, writer = await stand.raw(me)
    channel = Channel(name, "c", KEY, bytes(NONCE_BYTES), dialer=True, expect=me)
    writer.write(channel.greeting())
    while channel.peer is None:
        channel.receive(await reader.read(4_096))
        writer.write(channel.take())
    return channel, reader, writer


async def test_members_find_each_other_and_talk(stand: Stand) -> None:
    a, b, c = await stand.start("a", "b", "c")
    for name, others in (("a", "bc"), ("b", "ac"), ("c", "ab")):
        await stand.ears[name].until(lambda name=name, others=others: stand.ears[name].peers == set(others))  # type: ignore[misc]
    for number in range(50):
        a.send("b", {"n": number, "t": (1, b"x", None)})
    await stand.ears["b"].until(lambda: len(stand.ears["b"].log) >= 52)
    said = [what for who, what in stand.ears["b"].log if who == "a"]
    assert said == [{"n": n, "t": (1, b"x", None)} for n in range(50)]
    assert (b.me, c.me) == ("b", "c")


async def test_whoever_comes_back_is_connected_again(stand: Stand) -> None:
    await stand.start("a")
    (b,) = await stand.start("b")
    await stand.ears["a"].until(lambda: "b" in stand.ears["a"].peers)
    await b.close()
    await stand.ears["a"].until(lambda: not stand.ears["a"].peers)
    await stand.start("b")
    await stand.ears["a"].until(lambda: "b" in stand.ears["a"].peers)


async def test_what_is_said_to_nobody_is_dropped(stand: Stand) -> None:
    (a,) = await stand.start("a")
    a.send("b", {"n": 1})
    a.send("nobody", {"n": 1})


async def test_a_wrong_secret_is_refused_and_logged_once(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await stand.start("a")
        await stand.start("b", key=secret_key(b"guess"))
        for _ in range(3):
            reader, writer = await stand.raw("a")
            stranger = Channel("c", "c", secret_key(b"guess"), bytes(NONCE_BYTES), dialer=True)
            writer.write(stranger.greeting())
            # Our own end finds the other's proof wrong and would say no more; it is a's answer that counts here.
            hello = await reader.readexactly(4 + 4)
            hello += await reader.readexactly(struct.unpack(">I", hello[4:])[0])
            stranger.receive(hello)
            writer.write(stranger.take())
            assert await gone(reader)
            writer.close()
    assert stand.ears["a"].log == []
    assert (await refusals(caplog)).count("c does not share this node's secret (--secret-file)") == 1


@pytest.mark.parametrize(
    ("bytes_sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "the greeting is missing"),
        (b"PCRN" + struct.pack(">I", 1 << 31), "a greeting of"),
        (b"PCRN" + struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1", "the greeting is unreadable"),
        (Channel("b", "other", KEY, bytes(32), dialer=True).greeting(), "another cluster"),
    ],
)
async def test_strangers_are_refused(
    stand: Stand, caplog: pytest.LogCaptureFixture, bytes_sent: bytes, said: str
) -> None:
    with caplog.at_level(logging.WARNING):
        await stand.start("a")
        for _ in range(3):
            reader, writer = await stand.raw("a")
            writer.write(bytes_sent)
            assert await gone(reader)
            writer.close()
    assert stand.ears["a"].log == []
    (reason,) = await refusals(caplog)
    assert said in reason


async def test_an_oversized_frame_ends_the_connection(stand: Stand) -> None:
    await stand.start("a")
    _, reader, writer = await introduce(stand, "a", "b")
    await stand.ears["a"].until(lambda: stand.ears["a"].peers == {"b"})
    writer.write(struct.pack(">I", FRAME_BYTES_MAX + 1))
    assert await gone(reader)
    writer.close()
    await stand.ears["a"].until(lambda: not stand.ears["a"].peers)


async def test_a_forged_frame_ends_the_connection(stand: Stand) -> None:
    await stand.start("a")
    channel, reader, writer = await introduce(stand, "a", "b")
    forged = bytearray(channel.seal(b"\x01"))
    forged[6] ^= 1
    writer.write(bytes(forged))
    assert await gone(reader)
    writer.close()
    await stand.ears["a"].until(lambda: ("disconnected", "b") in stand.ears["a"].log)
    assert [what for who, what in stand.ears["a"].log if who == "b"] == []


@pytest.mark.parametrize("payload", [b"\xa8nonsense", b"\xc1", b"\x92\x01", b"\x01\x01"])
async def test_a_member_that_talks_nonsense_is_cut_off_and_the_loop_goes_on(stand: Stand, payload: bytes) -> None:
    await stand.start("a")
    channel, reader, writer = await introduce(stand, "a", "b")
    writer.write(channel.seal(payload))
    assert await gone(reader)
    writer.close()
    again, reader, writer = await introduce(stand, "a", "b")
    writer.write(again.seal(b"\x07"))
    await stand.ears["a"].until(lambda: ("b", 7) in stand.ears["a"].log)
    writer.close()


async def test_a_new_connection_takes_the_place_of_the_old_one(stand: Stand) -> None:
    (a,) = await stand.start("a")
    _, old, first = await introduce(stand, "a", "b")
    channel, reader, writer = await introduce(stand, "a", "b")
    assert await gone(old)
    await stand.ears["a"].until(lambda: len(stand.ears["a"].log) == 3)
    assert stand.ears["a"].log == [("connected", "b"), ("disconnected", "b"), ("connected", "b")]
    a.send("b", {"n": 1})
    received: list[bytes] = []
    while not received:
        received = channel.receive(await reader.read(4_096))
    assert received == [b"\x81\xa1n\x01"]
    for end in (first, writer):
        end.close()


async def test_half_open_strangers_are_bounded_and_keep_no_member_out(stand: Stand) -> None:
    (a,) = await stand.start("a")
    strangers = [await stand.raw("a") for _ in range(2 * STRANGERS_MAX)]
    assert await gone(strangers[0][0])
    assert len(a._strangers) <= STRANGERS_MAX
    await stand.start("b")
    await stand.ears["a"].until(lambda: "b" in stand.ears["a"].peers)
    for _, writer in strangers:
        writer.close()


async def test_who_does_not_introduce_itself_is_sent_away(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "PING_S", 0.01)
    monkeypatch.setattr(link, "HANDSHAKE_TIMEOUT_S", 0.02)
    await stand.start("a")
    reader, writer = await stand.raw("a")
    assert await gone(reader)
    writer.close()


async def test_who_falls_silent_is_given_up(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "PING_S", 0.01)
    monkeypatch.setattr(link, "SILENCE_S", 0.05)
    await stand.start("a")
    _, reader, writer = await introduce(stand, "a", "b")
    assert await gone(reader)
    writer.close()
    await stand.ears["a"].until(lambda: ("disconnected", "b") in stand.ears["a"].log)


async def test_who_reads_nothing_is_cut_off(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "WRITE_BUFFER_BYTES_MAX", 1 << 20)
    (a,) = await stand.start("a")
    _, _, writer = await introduce(stand, "a", "b")
    await stand.ears["a"].until(lambda: stand.ears["a"].peers == {"b"})
    for _ in range(200):
        a.send("b", {"data": bytes(1 << 17)})
    await stand.ears["a"].until(lambda: not stand.ears["a"].peers)
    writer.close()


class Porter:
    """A gate that sends away who stands in its list, and answers guests when told."""

    def __init__(self, **unwelcome: str) -> None:
        self.unwelcome = unwelcome
        self.claims: list[Claim] = []
        self.told: list[tuple[str, str, str]] = []
        self.asked: list[Any] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.heard = asyncio.Event()

    def judge(self, claim: Claim) -> tuple[str, str] | None:
        self.claims.append(claim)
        code = self.unwelcome.get(claim.member)
        return None if code is None else (code, f"{claim.member} is {code}")

    def refused(self, peer: str, code: str, detail: str) -> None:
        self.told.append((peer, code, detail))
        self.heard.set()

    async def guest(self, request: Any) -> Mapping[str, Any]:
        self.asked.append(request)
        await self.may_answer.wait()
        if request == "crash":
            raise RuntimeError
        return {"answer": request}


async def test_the_peers_can_change_while_it_runs(stand: Stand) -> None:
    a, b = await stand.start("a", "b", known="ab")
    await stand.connected("a", "b")
    (c,) = await stand.start("c", known="c")
    for transport in (a, b):
        transport.set_peers(stand.where("a", "b", "c"))
    c.set_peers(stand.where("a", "b", "c"))
    await stand.connected("a", "b", "c")
    for transport in (a, c):
        transport.set_peers(stand.where("a", "c"))
    b.set_peers({})
    await b.close()
    await stand.connected("a", "c")


async def test_only_peers_are_called(stand: Stand) -> None:
    (a,) = await stand.start("a", known="abc")
    aims = a._dialler._tasks
    kept = aims["c", (HOST, stand.ports["c"])]
    a.set_peers(stand.where("c", "a") | {"d": (HOST, 1)}, [(HOST, 1), (HOST, 2)])
    assert set(aims) == {("c", (HOST, stand.ports["c"])), ("d", (HOST, 1)), (None, (HOST, 2))}
    assert aims["c", (HOST, stand.ports["c"])] is kept
    a.set_peers({"c": (HOST, 3)})
    assert set(aims) == {("c", (HOST, 3))}


@pytest.mark.parametrize("mover", ["a", "b"])
async def test_who_has_moved_is_found_again_whoever_of_the_two_dials(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, mover: str
) -> None:
    monkeypatch.setattr(dialler, "SECOND_S", 0.05)
    transports = {t.me: t for t in await stand.start("a", "b", known="ab")}
    await stand.connected("a", "b")
    (other,) = {"a", "b"} - {mover}
    await transports[mover].close()
    del stand.ports[mover]
    await stand.start(mover, known="ab")
    await stand.connected("a", "b")
    transports[other].set_peers(stand.where("a", "b"))
    await stand.connected("a", "b")


async def test_all_may_dial_at_once(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler, "SECOND_S", 0.0)
    await stand.start(*"abc")
    await stand.connected(*"abc")


class Wire:
    """A link as the transport sees it."""

    def __init__(self, *, dials: bool, hinted: bool = False) -> None:
        self.dials, self.hinted, self.is_closed = dials, hinted, False

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(("me", "peer"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("first_dials", [True, False])
@pytest.mark.parametrize("second_dials", [True, False])
async def test_both_ends_agree_which_of_two_connections_stays(
    stand: Stand, me: str, peer: str, first_dials: bool, second_dials: bool
) -> None:
    transport = stand.make(me, known="ab")
    first, second = Wire(dials=first_dials), Wire(dials=second_dials)
    transport._take(first, peer)  # type: ignore[arg-type]
    transport._take(second, peer)  # type: ignore[arg-type]
    of_the_larger = me > peer
    stays = second if first_dials == second_dials or second_dials == of_the_larger else first
    assert transport.link_to(peer) is stays
    assert [first.is_closed, second.is_closed] == [stays is not first, stays is not second]
    transport._links.clear()


async def test_an_address_where_somebody_may_be_is_tried(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = asyncio.Semaphore(0)
    monkeypatch.setattr(dialler.Dialler, "_pause", lambda *_: asyncio.sleep(0, rounds.release()))
    (a,) = await stand.start("a", known="a")
    await stand.start("b", known="b")
    a.set_peers({}, [(HOST, stand.ports["b"]), (HOST, stand.ports["a"])])
    await stand.connected("a", "b")
    for _ in range(50):
        await rounds.acquire()
    before = len(stand.ears["a"].log)
    for _ in range(50):
        await rounds.acquire()
    assert len(stand.ears["a"].log) == before, "who is there already is not called again, nor are we ourselves"
    a.set_peers({})


async def test_who_is_no_peer_any_more_but_may_be_where_it_was_keeps_its_connection(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A founder that is removed: over this connection it is told so. A second one would end the first."""
    _, b = await stand.start("a", "b", known="ab")
    await stand.connected("a", "b")
    rounds = asyncio.Semaphore(0)
    monkeypatch.setattr(dialler.Dialler, "_pause", lambda *_: asyncio.sleep(0, rounds.release()))
    before = {name: list(stand.ears[name].log) for name in "ab"}
    b.set_peers({}, [(HOST, stand.ports["a"])])
    async with asyncio.timeout(20):
        for _ in range(50):
            await rounds.acquire()
    assert {name: stand.ears[name].log for name in "ab"} == before
    b.set_peers({})


async def test_who_is_not_to_come_back_is_told_so(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """From either end of the connection, whoever dials."""
    for me, other in (("a", "b"), ("b", "a")):
        stand.ports.clear()
        gate, sent_away = Porter(**{other: "wiped"}), Porter()
        (transport,) = await stand.start(me, known="ab", gate=gate)
        with caplog.at_level(logging.WARNING):
            (second,) = await stand.start(other, known="ab", gate=sent_away, born="cafe")
            async with asyncio.timeout(20):
                await sent_away.heard.wait()
        assert sent_away.told[0] == (me, "wiped", f"{other} is wiped")
        assert gate.claims[0] == Claim(other, "c", "cafe")
        assert not stand.ears[me].peers
        await transport.close()
        await second.close()
    assert "b is wiped" in await refusals(caplog)


async def test_what_becomes_known_later_is_told_later(stand: Stand) -> None:
    gate, sent_away = Porter(), Porter()
    (a,) = await stand.start("a", known="ab", gate=gate)
    await stand.start("b", known="ab", gate=sent_away)
    await stand.connected("a", "b")
    gate.unwelcome["b"] = "removed"
    a.review()
    assert not stand.ears["a"].peers
    async with asyncio.timeout(20):
        await sent_away.heard.wait()
    assert sent_away.told == [("a", "removed", "b is removed")]


async def test_who_is_sent_away_and_does_not_go_is_cut_off(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "PING_S", 0.01)
    monkeypatch.setattr(link, "HANDSHAKE_TIMEOUT_S", 0.05)
    await stand.start("a", gate=Porter(b="removed"))
    channel, reader, writer = await introduce(stand, "a", "b")
    for _ in range(3):
        writer.write(channel.seal(b"\x07"))
    assert await gone(reader)
    writer.close()
    assert stand.ears["a"].log == []


async def test_another_who_calls_itself_as_we_do_is_refused(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await stand.start("a")
        _, reader, writer = await introduce(stand, "a", "a")
        assert await gone(reader)
        writer.close()
    assert "was a data directory copied?" in (await refusals(caplog))[0]


async def guest_of(
    stand: Stand, me: str, name: str = "new", key: bytes = KEY
) -> tuple[Channel, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await stand.raw(me)
    channel = Channel(name, "", key, bytes(NONCE_BYTES), dialer=True)
    writer.write(channel.greeting())
    while channel.peer is None:
        channel.receive(await reader.read(4_096))
        writer.write(channel.take())
    return channel, reader, writer


async def answer(channel: Channel, reader: asyncio.StreamReader) -> Any:
    async with asyncio.timeout(20):
        while True:
            for payload in channel.receive(await reader.read(4_096)):
                return unpack(payload)


async def test_a_guest_is_answered_and_heard_by_nobody_else(stand: Stand) -> None:
    gate = Porter()
    await stand.start("a", gate=gate)
    channel, reader, writer = await guest_of(stand, "a")
    for question in ("one", "two"):
        writer.write(channel.seal(pack(question)))
        assert await answer(channel, reader) == {"answer": question}
    assert gate.asked == ["one", "two"]
    assert stand.ears["a"].log == []
    writer.close()


@pytest.mark.parametrize("questions", [("crash",), ("wait", "more")])
async def test_a_guest_that_cannot_be_answered_goes(stand: Stand, questions: tuple[str, ...]) -> None:
    gate = Porter()
    await stand.start("a", gate=gate)
    if len(questions) > 1:
        gate.may_answer.clear()
    channel, reader, writer = await guest_of(stand, "a")
    for question in questions:
        writer.write(channel.seal(pack(question)))
    assert await gone(reader)
    writer.close()


async def test_guests_are_bounded_and_do_not_stay(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = await stand.start("a", gate=Porter())
    ends = [await guest_of(stand, "a", f"g{n}") for n in range(GUESTS_MAX + 2)]
    assert await gone(ends[0][1])
    assert await gone(ends[1][1])
    assert len(a._guests) <= GUESTS_MAX
    monkeypatch.setattr(link, "GUEST_S", 0.0)
    for end in ends[2:]:
        assert await gone(end[1])
    for end in ends:
        end[2].close()


async def test_without_a_gate_there_are_no_guests(stand: Stand) -> None:
    await stand.start("a")
    _, reader, writer = await guest_of(stand, "a")
    assert await gone(reader)
    writer.close()
