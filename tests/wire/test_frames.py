"""Two ends of a connection with something in between that is not on their side."""

from __future__ import annotations

import struct
from itertools import pairwise

import msgpack
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from peercron.errors import PeerRejected
from peercron.wire import frames
from peercron.wire.frames import FRAME_BYTES_MAX, HELLO_BYTES_MAX, MAC_BYTES, NONCE_BYTES, Channel, Claim, secret_key

KEY = secret_key(b"open sesame")
ONE, TWO = bytes(NONCE_BYTES), b"\x01" * NONCE_BYTES
calm = settings(derandomize=True, deadline=None, max_examples=150)
payloads_of = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def ends(key: bytes = KEY, other: bytes = KEY, nonce: bytes = ONE) -> tuple[Channel, Channel]:
    dialer = Channel("b", "c", key, nonce, dialer=True, expect="a")
    return dialer, Channel("a", "c", other, TWO, dialer=False)


def met(nonce: bytes = ONE) -> tuple[Channel, Channel]:
    dialer, listener = ends(nonce=nonce)
    listener.receive(dialer.greeting())
    dialer.receive(listener.greeting() + listener.take())
    listener.receive(dialer.take())
    return dialer, listener


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)])]


@calm
@given(payloads_of, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_the_stream_gives_the_same_payloads(payloads: list[bytes], cuts: list[int]) -> None:
    dialer, listener = ends()
    dialer.receive(listener.greeting())
    stream = dialer.greeting() + dialer.take() + b"".join(dialer.seal(p) for p in payloads)
    received = [payload for piece in pieces(stream, cuts) for payload in listener.receive(piece)]
    assert received == payloads
    assert listener.peer == "b"


@calm
@given(payloads_of, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_never_becomes_a_payload(payloads: list[bytes], at: int, flip: int) -> None:
    dialer, listener = met()
    stream = bytearray(b"".join(dialer.seal(p) for p in payloads))
    stream[at % len(stream)] ^= flip
    received: list[bytes] = []
    try:
        received = listener.receive(bytes(stream))
    except PeerRejected:
        return
    # A length that grew: it waits for bytes that the digest will refuse.
    assert received == payloads[: len(received)]
    assert len(received) < len(payloads)
    with pytest.raises(PeerRejected):
        listener.receive(bytes(FRAME_BYTES_MAX + 65_536))


@calm
@given(payloads_of, st.data())
def test_frames_that_are_dropped_repeated_or_swapped_are_refused(payloads: list[bytes], data: st.DataObject) -> None:
    dialer, listener = met()
    frames = [dialer.seal(p) for p in payloads]
    order = data.draw(st.lists(st.sampled_from(range(len(frames))), min_size=1, max_size=8))
    assume(order != list(range(len(order))))
    with pytest.raises(PeerRejected):
        listener.receive(b"".join(frames[i] for i in order))


def test_a_frame_of_one_way_is_refused_in_the_other() -> None:
    dialer, listener = met()
    listener.seal(b"")
    with pytest.raises(PeerRejected):
        dialer.receive(dialer.seal(b"mine"))


def test_a_recorded_connection_cannot_be_played_again() -> None:
    dialer, listener = ends()
    dialer.receive(listener.greeting())
    recorded = dialer.greeting() + dialer.take() + dialer.seal(b"pay me")
    again = Channel("a", "c", KEY, b"\x02" * NONCE_BYTES, dialer=False)
    with pytest.raises(PeerRejected, match="secret"):
        again.receive(recorded)
    assert again.peer is None


def test_two_connections_with_the_same_nonce_of_one_side_have_other_keys() -> None:
    first, _ = met()
    second, _ = met(nonce=b"\x07" * NONCE_BYTES)
    assert first.seal(b"x") != second.seal(b"x")


@pytest.mark.parametrize("wrong", [b"", b"open sesam", b"open sesame\n"])
def test_a_wrong_secret_is_refused_on_both_sides(wrong: bytes) -> None:
    dialer, listener = ends(secret_key(wrong))
    listener.receive(dialer.greeting())
    with pytest.raises(PeerRejected, match="a does not share this node's secret"):
        dialer.receive(listener.greeting() + listener.take())
    with pytest.raises(PeerRejected, match="b does not share this node's secret"):
        listener.receive(dialer.take())
    assert dialer.peer is listener.peer is None


def test_no_payload_is_given_out_before_the_other_has_proven_itself() -> None:
    dialer, listener = ends()
    dialer.receive(listener.greeting())
    proof = dialer.take()
    assert listener.receive(dialer.greeting()) == []
    with pytest.raises(PeerRejected):
        listener.receive(dialer.seal(b"before the proof"))
    assert listener.peer is None
    assert proof


def test_another_cluster_is_refused() -> None:
    stranger = Channel("b", "other", KEY, ONE, dialer=True)
    _, listener = ends()
    with pytest.raises(PeerRejected, match="another cluster"):
        listener.receive(stranger.greeting())


def test_somebody_else_at_the_address_is_refused() -> None:
    dialer, _ = ends()
    other = Channel("z", "c", KEY, TWO, dialer=False)
    with pytest.raises(PeerRejected, match="a was expected at that address, z answered"):
        dialer.receive(other.greeting())


def speaking(monkeypatch: pytest.MonkeyPatch, one: tuple[int, int], other: tuple[int, int]) -> tuple[Channel, Channel]:
    """A dialer b and a listener a that speak these versions, oldest and newest."""
    both = []
    for dialer, (oldest, newest) in ((True, one), (False, other)):
        monkeypatch.setattr(frames, "OLDEST_VERSION", oldest)
        monkeypatch.setattr(frames, "VERSION", newest)
        name = "b" if dialer else "a"
        both.append(Channel(name, "c", KEY, ONE if dialer else TWO, dialer=dialer, expect="a" if dialer else None))
    return both[0], both[1]


@pytest.mark.parametrize(
    ("one", "other", "spoken"), [((1, 1), (1, 2), 1), ((1, 3), (2, 5), 3), ((2, 2), (1, 2), 2), ((1, 4), (1, 4), 4)]
)
def test_the_newest_version_that_both_speak_is_spoken(
    monkeypatch: pytest.MonkeyPatch, one: tuple[int, int], other: tuple[int, int], spoken: int
) -> None:
    dialer, listener = speaking(monkeypatch, one, other)
    listener.receive(dialer.greeting())
    dialer.receive(listener.greeting() + listener.take())
    assert listener.receive(dialer.take() + dialer.seal(b"hi")) == [b"hi"]
    assert (dialer.version, listener.version) == (spoken, spoken)


def test_who_shares_no_version_is_refused_on_both_ends_and_told_who_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    dialer, listener = speaking(monkeypatch, (1, 1), (2, 3))
    with pytest.raises(PeerRejected, match="b speaks protocol versions 1 to 1, this node 2 to 3: upgrade b"):
        listener.receive(dialer.greeting())
    with pytest.raises(PeerRejected, match="a speaks protocol versions 2 to 3, this node 1 to 1: upgrade this node"):
        dialer.receive(listener.greeting())


def test_a_version_that_was_changed_on_its_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody between two members can make them speak an older version than they would."""
    dialer, listener = speaking(monkeypatch, (1, 3), (1, 3))
    greeting = bytearray(dialer.greeting())
    assert greeting[10] == 3
    greeting[10] = 1
    listener.receive(bytes(greeting))
    dialer.receive(listener.greeting())
    with pytest.raises(PeerRejected, match="secret"):
        listener.receive(dialer.take())


def test_a_longer_greeting_of_a_newer_version_is_understood() -> None:
    greeting = msgpack.packb((1, 2, "c", "b", ONE, "cafe", "and more"))
    _, listener = ends()
    listener.receive(b"PCRN" + struct.pack(">I", len(greeting)) + greeting)
    assert listener.version == 1


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\x00", b"PCRM", b"PCRN\x00\x00\x00\x01\xc1"]
)
def test_what_is_no_greeting_is_refused(garbage: bytes) -> None:
    with pytest.raises(PeerRejected):
        ends()[1].receive(garbage)


@calm
@given(st.binary(max_size=200))
def test_any_greeting_is_refused_or_waited_for(body: bytes) -> None:
    _, listener = ends()
    try:
        assert listener.receive(b"PCRN" + struct.pack(">I", len(body)) + body) == []
    except PeerRejected:
        return
    raise AssertionError(f"{body!r} was taken for a greeting")


def test_a_long_greeting_is_refused_before_it_is_read() -> None:
    with pytest.raises(PeerRejected, match="greeting of 1025 bytes"):
        ends()[1].receive(b"PCRN" + struct.pack(">I", HELLO_BYTES_MAX + 1))


def test_a_large_frame_is_refused_before_it_is_read() -> None:
    _, listener = met()
    assert listener.receive(struct.pack(">I", FRAME_BYTES_MAX)) == []
    _, listener = met()
    with pytest.raises(PeerRejected, match=f"at most {FRAME_BYTES_MAX}"):
        listener.receive(struct.pack(">I", FRAME_BYTES_MAX + 1))


def test_a_large_frame_is_refused_from_strangers_too() -> None:
    dialer, listener = ends()
    listener.receive(dialer.greeting())
    with pytest.raises(PeerRejected, match="at most"):
        listener.receive(struct.pack(">I", 0xFFFFFFFF) + bytes(MAC_BYTES))


def test_a_payload_that_the_other_would_refuse_is_not_sent() -> None:
    dialer, _ = met()
    with pytest.raises(ValueError, match="at most"):
        dialer.seal(bytes(FRAME_BYTES_MAX + 1))


def test_each_end_learns_what_the_other_says_of_itself() -> None:
    dialer = Channel("b", "c", KEY, ONE, dialer=True, expect="a", incarnation="cafe")
    listener = Channel("a", "c", KEY, TWO, dialer=False)
    listener.receive(dialer.greeting())
    dialer.receive(listener.greeting())
    assert listener.claimed == Claim("b", "c", "cafe")
    assert dialer.claimed == Claim("a", "c", "")


def test_a_guest_belongs_to_no_cluster_yet_and_proves_the_secret_all_the_same() -> None:
    guest, host = Channel("new", "", KEY, ONE, dialer=True), Channel("a", "c", KEY, TWO, dialer=False)
    host.receive(guest.greeting())
    guest.receive(host.greeting() + host.take())
    assert host.receive(guest.take() + guest.seal(b"please")) == [b"please"]
    assert (host.peer, host.claimed.cluster) == ("new", "")
    assert (guest.peer, guest.claimed.cluster) == ("a", "c")
    forger, host = Channel("new", "", secret_key(b"guess"), ONE, dialer=True), Channel("a", "c", KEY, TWO, dialer=False)
    host.receive(forger.greeting())
    with pytest.raises(PeerRejected, match="new does not share this node's secret"):
        host.receive(forger.seal(b""))


def test_who_calls_is_answered_by_a_member_and_not_by_a_guest() -> None:
    member, guest = Channel("a", "c", KEY, ONE, dialer=True), Channel("new", "", KEY, TWO, dialer=False)
    with pytest.raises(PeerRejected, match="another cluster"):
        member.receive(guest.greeting())


def test_a_newer_version_may_say_more_of_itself() -> None:
    old, new = (msgpack.packb((1, 1, "c", "b", ONE, *more)) for more in ((), ("cafe", "more")))
    for hello, claim in ((old, Claim("b", "c", "")), (new, Claim("b", "c", "cafe"))):
        listener = Channel("a", "c", KEY, TWO, dialer=False)
        listener.receive(b"PCRN" + struct.pack(">I", len(hello)) + hello)
        assert listener.claimed == claim


@pytest.mark.parametrize(
    "hello",
    [
        (1, 1, "c", "b"),
        (1, 1, "c", 7, ONE),
        (1, 1, "c", "b", b"short"),
        (1, 1, "c", "b", ONE, 1),
        (2, 1, "c", "b", ONE),
    ],
)
def test_a_hello_is_checked(hello: tuple[object, ...]) -> None:
    packed = msgpack.packb(hello)
    with pytest.raises(PeerRejected, match="unreadable"):
        Channel("a", "c", KEY, TWO, dialer=False).receive(b"PCRN" + struct.pack(">I", len(packed)) + packed)
