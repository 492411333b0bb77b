"""Frames: a byte stream between two members as authenticated payloads, sans-IO.

Both sides say hello (who they are, a fresh nonce), derive one key per direction from the cluster secret and both
hellos, and prove that they have it. From then on each frame carries a keyed BLAKE2b of its number and content, so
nothing can be forged, changed, repeated or left out unnoticed. Nothing is parsed before it is authenticated but the
hello, which is small and bounded. It does not hide anything; TLS does.

The hello names the oldest and the newest protocol version that its sender speaks; the newest that both speak is
spoken. Of the hello itself only more elements at its end may change: all versions must understand each other's.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

import msgpack

from peercron.errors import PeerRejected

#: The versions of the messages inside frames that this build speaks. Neighbouring releases share one.
OLDEST_VERSION: Final = 1
VERSION: Final = 1
HELLO_BYTES_MAX: Final = 1_024
#: Larger frames are refused before they are read.
FRAME_BYTES_MAX: Final = 4 << 20
MAC_BYTES: Final = 16
NONCE_BYTES: Final = 32
#: Whose of both is the wrong one nobody can tell.
OTHER_SECRET: Final = "does not share this node's secret (--secret-file)"
_MAGIC: Final = b"PCRN"
_LENGTH: Final = struct.Struct(">I")
_COUNTER: Final = struct.Struct(">Q")


def secret_key(secret: bytes) -> bytes:
    """The key that stands for the cluster secret; an empty secret has one too, which authenticates nobody."""
    return hashlib.blake2b(secret, person=b"peercron-secret", digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a hello says of its sender."""

    member: str
    cluster: str
    incarnation: str


class Channel:
    """One end of a connection: bytes in, payloads out, and back.

    Args:
        me: our member id.
        cluster: the cluster's id; members of others are refused. Empty: no cluster has taken us in yet.
        key: from `secret_key`.
        nonce: NONCE_BYTES of fresh randomness.
        dialer: we made the connection.
        expect: the member id that must answer; None: anyone with the secret.
        incarnation: of our data directory.

    Example:
        >>> a = Channel("a", "c", secret_key(b"s"), bytes(32), dialer=True, expect="b")
        >>> b = Channel("b", "c", secret_key(b"s"), bytes(32), dialer=False)
        >>> b.receive(a.greeting()), a.receive(b.greeting() + b.take())
        ([], [])
        >>> b.receive(a.take() + a.seal(b"hi"))
        [b'hi']
    """

    def __init__(
        self,
        me: str,
        cluster: str,
        key: bytes,
        nonce: bytes,
        *,
        dialer: bool,
        expect: str | None = None,
        incarnation: str = "",
    ) -> None:
        self._me, self._cluster, self._key, self._dialer, self._expect = me, cluster, key, dialer, expect
        self._oldest, self._newest = OLDEST_VERSION, VERSION
        self._hello: bytes = msgpack.packb((self._oldest, self._newest, cluster, me, nonce, incarnation))
        self._buffer = bytearray()
        self._outgoing = b""
        self._send_key = self._receive_key = b""
        self._sent = self._received = 0
        #: The other's member id, once it has proven that it has the secret.
        self.peer: str | None = None
        #: The protocol version that both ends speak, once they have met.
        self.version = 0
        #: What it says of itself; to be believed once it has proven that it has the secret. No cluster: it is a guest.
        self.claimed = Claim("", "", "")

    def greeting(self) -> bytes:
        """What to send first."""
        return _MAGIC + _LENGTH.pack(len(self._hello)) + self._hello

    def take(self) -> bytes:
        """Bytes that the handshake wants sent."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def seal(self, payload: bytes) -> bytes:
        """A payload as a frame. ValueError: the other end would refuse it, and the connection with it."""
        if len(payload) > FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {len(payload)} bytes; at most {FRAME_BYTES_MAX} are accepted")
        mac = self._mac(self._send_key, self._sent, payload)
        self._sent += 1
        return _LENGTH.pack(len(payload)) + mac + payload

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes in, give payloads out.

        Raises:
            PeerRejected: it is not a member of this cluster, or the stream was tampered with. Close the connection.
        """
        self._buffer += data
        payloads: list[bytes] = []
        if not self._receive_key and not self._read_hello():
            return payloads
        start = 0
        view = self._buffer
        while len(view) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(view, start)
            if length > FRAME_BYTES_MAX:
                raise PeerRejected(f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} are accepted")
            end = start + _LENGTH.size + MAC_BYTES + length
            if len(view) < end:
                break
            payload = bytes(view[start + _LENGTH.size + MAC_BYTES : end])
            self._open(bytes(view[start + _LENGTH.size : start + _LENGTH.size + MAC_BYTES]), payload, payloads)
            start = end
        del self._buffer[:start]
        return payloads

    def _read_hello(self) -> bool:
        buffer = self._buffer
        if not buffer.startswith(_MAGIC[: len(buffer)]):
            raise PeerRejected("not a peercron member: the greeting is missing")
        head = len(_MAGIC) + _LENGTH.size
        if len(buffer) < head:
            return False
        (length,) = _LENGTH.unpack_from(buffer, len(_MAGIC))
        if length > HELLO_BYTES_MAX:
            raise PeerRejected(f"a greeting of {length} bytes; at most {HELLO_BYTES_MAX} are accepted")
        if len(buffer) < head + length:
            return False
        theirs = bytes(buffer[head : head + length])
        del buffer[: head + length]
        self._meet(theirs)
        return True

    def _meet(self, theirs: bytes) -> None:
        oldest, newest, claim = _read_hello(theirs)
        self.version = min(newest, self._newest)
        if self.version < max(oldest, self._oldest):
            theirs_ours = f"{oldest} to {newest}, this node {self._oldest} to {self._newest}"
            behind = "this node" if self._newest < oldest else claim.member
            raise PeerRejected(f"{claim.member} speaks protocol versions {theirs_ours}: upgrade {behind}")
        # Only who is called can tell a guest what it needs to know; and a guest has yet to learn whom it called.
        stranger = not self._cluster if self._dialer else not claim.cluster
        if claim.cluster != self._cluster and not stranger:
            raise PeerRejected(
                f"{claim.member} belongs to another cluster, {claim.cluster}, and this node to {self._cluster}: "
                "they began with other --peers, or one of them was recovered since"
            )
        if self._expect is not None and claim.member != self._expect:
            raise PeerRejected(f"{self._expect} was expected at that address, {claim.member} answered")
        dialed, dialing = (theirs, self._hello) if self._dialer else (self._hello, theirs)
        transcript = _LENGTH.pack(len(dialing)) + dialing + dialed
        keys = [hashlib.blake2b(transcript + way, key=self._key, digest_size=32).digest() for way in (b">", b"<")]
        self._send_key, self._receive_key = keys if self._dialer else reversed(keys)
        self.claimed = claim
        self._outgoing += self.seal(b"")  # the proof: a frame that only a holder of the secret can make

    def _open(self, mac: bytes, payload: bytes, payloads: list[bytes]) -> None:
        if not hmac.compare_digest(mac, self._mac(self._receive_key, self._received, payload)):
            if self.peer is None:
                raise PeerRejected(f"{self.claimed.member} {OTHER_SECRET}")
            raise PeerRejected(f"a frame of {self.peer} was changed on its way")
        self._received += 1
        if self.peer is None:
            self.peer = self.claimed.member
        elif payload:
            payloads.append(payload)

    @staticmethod
    def _mac(key: bytes, number: int, payload: bytes) -> bytes:
        digest = hashlib.blake2b(_COUNTER.pack(number), key=key, digest_size=MAC_BYTES)
        digest.update(payload)
        return digest.digest()


def _read_hello(data: bytes) -> tuple[int, int, Claim]:
    """(oldest version, newest version, what it says of its sender); what a newer version says beyond is not for us.

    Raises:
        PeerRejected: it is no hello.
    """
    try:
        oldest, newest, cluster, member, nonce, *more = msgpack.unpackb(data, use_list=False)
        incarnation = more[0] if more else ""
        numbers = isinstance(oldest, int) and isinstance(newest, int) and oldest <= newest
        texts = all(isinstance(text, str) for text in (cluster, member, incarnation))
        sound = numbers and texts and isinstance(nonce, bytes) and len(nonce) == NONCE_BYTES
    except (ValueError, TypeError, msgpack.UnpackException):
        sound = False
    if not sound:
        raise PeerRejected("not a peercron member: the greeting is unreadable")
    return oldest, newest, Claim(member, cluster, incarnation)
