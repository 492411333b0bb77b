"""Transport: one authenticated TCP connection to each peer, made again whenever it breaks.

Of two members the one with the larger id dials. An empty frame goes out each second, so that a peer that vanished
without a word is noticed although nothing else is said between followers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, Protocol

from peercron.errors import PeerRejected
from peercron.wire.frames import NONCE_BYTES, Channel
from peercron.wire.plain import pack, unpack

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 1.0
HANDSHAKE_TIMEOUT_S: Final = 2.0
BACKOFF_S: Final = (0.02, 0.5)
PING_S: Final = 1.0
SILENCE_S: Final = 5.0
#: Bytes waiting to be sent to one peer; a peer that is slower than that is cut off and catches up anew.
WRITE_BUFFER_BYTES_MAX: Final = 32 << 20
#: Connections that have not yet proven who they are.
STRANGERS_MAX: Final = 64
#: Distinct refusals remembered, so that each is logged once.
REFUSALS_REMEMBERED: Final = 256


class Listener(Protocol):
    """Who uses the transport."""

    def peer_connected(self, peer: str) -> None: ...
    def peer_disconnected(self, peer: str) -> None: ...
    def peer_message(self, peer: str, message: Any) -> None:
        """ProtocolError or PeerRejected: the connection is closed."""


class Transport:
    """The connections of one member.

    Args:
        me: our member id.
        peers: member id -> (host, port).
        cluster: the cluster's id.
        key: from `frames.secret_key`.
        listener: who is told.
        server_tls, client_tls: contexts for TLS between peers, or None.
    """

    def __init__(
        self,
        me: str,
        peers: Mapping[str, tuple[str, int]],
        cluster: str,
        key: bytes,
        listener: Listener,
        *,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.me, self.cluster, self.key = me, cluster, key
        self._peers, self._listener = dict(peers), listener
        self._server_tls, self._client_tls = server_tls, client_tls
        self._links: dict[str, _Link] = {}
        self._strangers: dict[_Link, None] = {}  # oldest first
        self._refusals: dict[str, None] = {}
        self._rng = random.Random()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self.closing = False

    async def start(self, host: str, port: int) -> None:
        """Listen and begin to dial. OSError: the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Link(self, expect=None),
            host,
            port,
            ssl=self._server_tls,
            # Until it is over, a stranger is counted by nobody.
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._server_tls else None,
            backlog=128,
        )
        for peer in self._peers:
            if self.me > peer:
                self._tasks.append(loop.create_task(self._dial_for_ever(peer)))
        self._tasks.append(loop.create_task(self._ping_for_ever()))

    async def close(self) -> None:
        self.closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for link in [*self._links.values(), *self._strangers]:
            link.close()

    def send(self, peer: str, message: Mapping[str, Any]) -> None:
        """Send, or drop when there is no connection."""
        link = self._links.get(peer)
        if link is not None:
            link.send(pack(message))

    async def _dial_for_ever(self, peer: str) -> None:
        host, port = self._peers[peer]
        delay_s = BACKOFF_S[0]
        while True:
            link = await self._dial(peer, host, port)
            if link is not None:
                proven = await link.closed
                if proven:
                    delay_s = BACKOFF_S[0]
            await asyncio.sleep(delay_s * self._rng.uniform(0.7, 1.3))
            delay_s = min(delay_s * 1.6, BACKOFF_S[1])

    async def _dial(self, peer: str, host: str, port: int) -> _Link | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                _, link = await loop.create_connection(
                    lambda: _Link(self, expect=peer), host, port, ssl=self._client_tls
                )
        except (OSError, TimeoutError, ssl.SSLError) as error:
            if isinstance(error, ssl.SSLError):
                self.refuse(f"{host}:{port}", f"TLS: {error.reason or error}")
            return None
        return link

    async def _ping_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            now = loop.time()
            for link in [*self._links.values(), *self._strangers]:
                link.check(now)

    # What a link tells.

    def meet(self, link: _Link) -> bool:
        """A connection was made; False: we are on our way out. The oldest stranger makes room for a new one, since a
        member proves itself at once, and nobody may keep it out by holding all the places.
        """
        if self.closing:
            return False
        while len(self._strangers) >= STRANGERS_MAX:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.close()
        self._strangers[link] = None
        return True

    def proven(self, link: _Link, peer: str) -> None:
        """A connection has shown whose it is. It takes the place of an older one, whose other end may be long dead."""
        if peer not in self._peers:
            raise PeerRejected(f"{peer} is not a member of this cluster")
        self._strangers.pop(link, None)
        older = self._links.pop(peer, None)
        if older is not None:
            older.close()
            self._listener.peer_disconnected(peer)
        self._links[peer] = link
        self._listener.peer_connected(peer)

    def message(self, peer: str, message: Any) -> None:
        self._listener.peer_message(peer, message)

    def lost(self, link: _Link, peer: str | None) -> None:
        self._strangers.pop(link, None)
        if peer is not None and self._links.get(peer) is link:
            del self._links[peer]
            self._listener.peer_disconnected(peer)

    def refuse(self, origin: str, why: str) -> None:
        """Log a refusal, each kind once."""
        key = f"{origin} {why}"
        if key not in self._refusals:
            if len(self._refusals) >= REFUSALS_REMEMBERED:
                del self._refusals[next(iter(self._refusals))]
            self._refusals[key] = None
            log.warning("peer_refused", extra={"origin": origin, "reason": why})


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: Transport, *, expect: str | None) -> None:
        self._owner, self._expect = owner, expect
        dialer = expect is not None
        nonce = os.urandom(NONCE_BYTES)
        self._channel = Channel(owner.me, owner.cluster, owner.key, nonce, dialer=dialer, expect=expect)
        self._loop = asyncio.get_running_loop()
        #: Ends with whether the peer ever proved itself.
        self.closed: asyncio.Future[bool] = self._loop.create_future()
        self._wire: asyncio.Transport | None = None
        self._heard_s = self._made_s = self._loop.time()
        self._peer: str | None = None

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
            if self._peer is None and self._channel.peer is not None:
                self._owner.proven(self, self._channel.peer)
                self._peer = self._channel.peer
            for payload in payloads:
                self._owner.message(self._channel.peer or "", unpack(payload))
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, the loop goes on
            self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self, self._peer)
        if not self.closed.done():
            self.closed.set_result(self._peer is not None)

    def send(self, payload: bytes) -> None:
        self._write(self._channel.seal(payload))

    def check(self, now_s: float) -> None:
        """Once a second: has the peer been silent for too long? If not, say that we are there."""
        if self._peer is None:
            if now_s - self._made_s > HANDSHAKE_TIMEOUT_S:
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
        origin = self._peer or (str(address[0]) if address else "?")
        self._owner.refuse(origin, str(error) or type(error).__name__)
        self.close()
