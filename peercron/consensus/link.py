"""Link: one connection to a peer, from the greeting to the end: who is there, what it says, and how it is sent away."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any, Final, Protocol

from peercron.errors import PeerRejected
from peercron.wire.frames import NONCE_BYTES, Channel, Claim
from peercron.wire.plain import pack, unpack

HANDSHAKE_TIMEOUT_S: Final = 2.0
SILENCE_S: Final = 5.0
#: A guest has one question; nothing takes longer to answer.
GUEST_S: Final = 30.0
#: Bytes waiting to be sent to one peer; a peer that is slower than that is cut off and catches up anew.
WRITE_BUFFER_BYTES_MAX: Final = 32 << 20


class Owner(Protocol):
    """Who holds the links; see `Transport`."""

    me: str
    cluster: str
    key: bytes
    incarnation: str

    def meet(self, link: Link) -> bool: ...
    def proven(self, link: Link, claim: Claim) -> None: ...
    def message(self, link: Link, message: Any) -> None: ...
    def lost(self, link: Link) -> None: ...
    def refuse(self, origin: str, why: str) -> None: ...


class Link(asyncio.Protocol):
    """One connection.

    Args:
        dials: we made it.
        expect: the member id that must answer; None: any.
        hinted: somebody is said to be there, and it is only wanted if we have no link to whoever it is.
    """

    def __init__(self, owner: Owner, *, dials: bool, expect: str | None = None, hinted: bool = False) -> None:
        self._owner, self.dials, self.hinted = owner, dials, hinted
        self._channel = Channel(
            owner.me,
            owner.cluster,
            owner.key,
            os.urandom(NONCE_BYTES),
            dialer=dials,
            expect=expect,
            incarnation=owner.incarnation,
        )
        self._loop = asyncio.get_running_loop()
        #: Ends with whether the peer ever proved itself.
        self.closed: asyncio.Future[bool] = self._loop.create_future()
        self._wire: asyncio.Transport | None = None
        self._heard_s = self._made_s = self._loop.time()
        #: Who is at the other end, once that is proven.
        self.peer: str | None = None
        #: It was told to go; what it still says is not heard, and soon it is cut off.
        self.dismissed = False

    @property
    def claim(self) -> Claim:
        return self._channel.claimed

    @property
    def is_guest(self) -> bool:
        """It has the secret, and belongs to no cluster yet."""
        return self.peer is not None and not self.claim.cluster

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._owner.meet(self):
            transport.abort()
            return
        transport.write(self._channel.greeting())

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        try:
            payloads = self._channel.receive(data)
            self._write(self._channel.take())
            if self.peer is None and self._channel.peer is not None:
                self.peer = self._channel.peer
                self._owner.proven(self, self.claim)
            for payload in payloads:
                if not self.dismissed:
                    self._owner.message(self, unpack(payload))
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, the loop goes on
            self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)
        if not self.closed.done():
            self.closed.set_result(self.peer is not None)

    def send(self, payload: bytes) -> None:
        self._write(self._channel.seal(payload))

    def dismiss(self, word: Mapping[str, Any]) -> None:
        """A last word, and nothing more is heard. The other end hangs up: if we did, the word might never arrive, since
        a connection that is closed over bytes that nobody read is reset.
        """
        if not self.dismissed:
            self.dismissed = True
            self._made_s = self._loop.time()
            self.send(pack(word))

    def check(self, now_s: float) -> None:
        """Once a second: has the peer been silent for too long? If not, say that we are there."""
        limit_s = GUEST_S if self.is_guest and not self.dismissed else HANDSHAKE_TIMEOUT_S
        if self.peer is None or self.dismissed or self.is_guest:
            if now_s - self._made_s > limit_s:
                self.close()
        elif now_s - self._heard_s > SILENCE_S:
            self.close()
        else:
            self.send(b"")

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def _write(self, data: bytes) -> None:
        if not data or self._wire is None or self._wire.is_closing():
            return
        self._wire.write(data)
        if self._wire.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX:
            self._refuse(PeerRejected("it takes in less than we have to say; it will catch up on a new connection"))

    def _refuse(self, error: Exception) -> None:
        address = self._wire.get_extra_info("peername") if self._wire else None
        origin = self.peer or (str(address[0]) if address else "?")
        self._owner.refuse(origin, str(error) or type(error).__name__)
        self.close()
