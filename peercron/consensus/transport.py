"""Transport: one authenticated TCP connection to each peer, made again whenever it breaks; the peers may change.

When two members have dialled each other, the connection of the one with the larger id stays. An empty frame goes out
each second, so that a peer that vanished without a word is noticed although nothing else is said between followers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from peercron.consensus import link as links
from peercron.consensus.dialler import Address, Dialler
from peercron.consensus.link import Link
from peercron.consensus.messages import ProtocolError
from peercron.errors import PeerRejected
from peercron.wire.frames import Claim
from peercron.wire.plain import pack

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 1.0
PING_S: Final = 1.0
#: Connections that have not yet proven who they are; those that have, and belong to no cluster yet.
STRANGERS_MAX: Final = 64
GUESTS_MAX: Final = 8
#: Distinct refusals remembered, so that each is logged once.
REFUSALS_REMEMBERED: Final = 256


class Listener(Protocol):
    """Who uses the connections."""

    def peer_connected(self, peer: str) -> None: ...
    def peer_disconnected(self, peer: str) -> None: ...
    def peer_message(self, peer: str, message: Any) -> None:
        """ProtocolError or PeerRejected: the connection is closed."""


class Gate(Protocol):
    """Who decides about who comes, and hears what others have decided about us."""

    def judge(self, claim: Claim) -> tuple[str, str] | None:
        """Why a member of our cluster is sent away for good, as (code, detail); None: it is not."""

    def refused(self, peer: str, code: str, detail: str) -> None:
        """A member has sent us away for good."""

    async def guest(self, request: Any) -> Mapping[str, Any]:
        """The answer to what somebody asks who has the secret and belongs to no cluster yet."""


class Transport:
    """The connections of one member.

    Args:
        me: our member id.
        peers: member id -> (host, port); may be changed by `set_peers`.
        cluster: the cluster's id.
        key: from `frames.secret_key`.
        listener: who is told.
        incarnation: of our data directory.
        gate: who decides whom we talk to; None: whoever has the secret, and no guests.
        rng: chance, for the pauses between two calls.
        server_tls, client_tls: contexts for TLS between peers, or None.
    """

    def __init__(
        self,
        me: str,
        peers: Mapping[str, Address],
        cluster: str,
        key: bytes,
        listener: Listener,
        *,
        incarnation: str = "",
        gate: Gate | None = None,
        rng: random.Random | None = None,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.me, self.cluster, self.key, self.incarnation = me, cluster, key, incarnation
        self._peers, self._listener, self._gate = dict(peers), listener, gate
        self._server_tls, self._client_tls = server_tls, client_tls
        self._hints: tuple[Address, ...] = ()
        self._links: dict[str, Link] = {}
        self._strangers: dict[Link, None] = {}  # oldest first; the dismissed too
        self._guests: dict[Link, asyncio.Task[None] | None] = {}  # oldest first, each with its question
        self._refusals: dict[str, None] = {}
        self._dialler = Dialler(self, rng or random.Random())
        self._ping: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self.closing = False

    async def start(self, host: str, port: int) -> None:
        """Listen and begin to dial. OSError: the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Link(self, dials=False),
            host,
            port,
            ssl=self._server_tls,
            # Until it is over, a stranger is counted by nobody.
            ssl_handshake_timeout=links.HANDSHAKE_TIMEOUT_S if self._server_tls else None,
            backlog=128,
        )
        self._ping = loop.create_task(self._ping_for_ever())
        self._dialler.aim(self._peers, self._hints)

    async def close(self) -> None:
        self.closing = True
        tasks = [task for task in (self._ping, *self._guests.values(), *self._dialler.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for link in [*self._links.values(), *self._strangers, *self._guests]:
            link.close()

    def set_peers(self, peers: Mapping[str, Address], hints: Iterable[Address] = ()) -> None:
        """These are the peers now. A connection that stands is kept: whether it may, `review` decides.

        Args:
            peers: member id -> where it is.
            hints: where somebody may be whose address is not known any more.
        """
        self._peers = {peer: address for peer, address in peers.items() if peer != self.me}
        self._hints = tuple(hint for hint in hints if hint not in peers.values())
        if self._server is not None and not self.closing:
            self._dialler.aim(self._peers, self._hints)

    def review(self) -> None:
        """What is known of the members has changed: send away for good whom that concerns."""
        for link in list(self._links.values()):
            self._judge(link)

    def send(self, peer: str, message: Mapping[str, Any]) -> None:
        """Send, or drop when there is no connection."""
        link = self._links.get(peer)
        if link is not None:
            link.send(pack(message))

    # What the dialler needs.

    def link_to(self, peer: str) -> Link | None:
        return self._links.get(peer)

    async def dial(self, address: Address, expect: str | None) -> Link | None:
        """A new connection, if there is an answer in time. `expect`: who must answer; None: anybody."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                _, link = await loop.create_connection(
                    lambda: Link(self, dials=True, expect=expect, hinted=expect is None),
                    *address,
                    ssl=self._client_tls,
                )
        except (OSError, TimeoutError, ssl.SSLError) as error:
            if isinstance(error, ssl.SSLError):
                self.refuse(f"{address[0]}:{address[1]}", f"TLS: {error.reason or error}")
            return None
        return link

    async def _ping_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            now = loop.time()
            for link in [*self._links.values(), *self._strangers, *self._guests]:
                link.check(now)

    # What a link tells.

    def meet(self, link: Link) -> bool:
        """One more; False: we are on our way out. The oldest stranger makes room, since a member proves itself at once,
        and nobody may keep it out by holding all the places.
        """
        if self.closing:
            return False
        while len(self._strangers) >= STRANGERS_MAX:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.close()
        self._strangers[link] = None
        return True

    def proven(self, link: Link, claim: Claim) -> None:
        """A connection has shown whose it is."""
        if link.is_guest:
            self._welcome(link)
        elif claim.member == self.me:
            if not link.hinted:
                raise PeerRejected(f"it calls itself {self.me}, as we do; was a data directory copied?")
            link.close()
        elif not self._judge(link):
            self._take(link, claim.member)

    def message(self, link: Link, message: Any) -> None:
        assert link.peer is not None
        if link in self._guests:
            self._ask(link, message)
        elif isinstance(message, dict) and message.get("type") == "refused":
            self._hear_refusal(link, message)
        elif self._links.get(link.peer) is link:
            self._listener.peer_message(link.peer, message)

    def lost(self, link: Link) -> None:
        self._strangers.pop(link, None)
        task = self._guests.pop(link, None)
        if task is not None:
            task.cancel()
        if link.peer is not None and self._links.get(link.peer) is link:
            self._drop(link.peer)

    def refuse(self, origin: str, why: str) -> None:
        """Log a refusal, each kind once."""
        key = f"{origin} {why}"
        if key not in self._refusals:
            if len(self._refusals) >= REFUSALS_REMEMBERED:
                del self._refusals[next(iter(self._refusals))]
            self._refusals[key] = None
            log.warning("peer_refused", extra={"origin": origin, "reason": why})

    # Members.

    def _take(self, link: Link, peer: str) -> None:
        """It takes the place of an older one, whose other end may be long dead; but of two that were dialled from both
        ends the larger's stays, on which both ends agree.
        """
        older = self._links.get(peer)
        if older is not None:
            if link.hinted or (older.dials != link.dials and older.dials == (self.me > peer)):
                link.close()
                return
            older.close()
            self._drop(peer)
        self._strangers.pop(link, None)
        self._links[peer] = link
        self._listener.peer_connected(peer)

    def _judge(self, link: Link) -> bool:
        """Is it sent away? It is told why, and may then hang up."""
        verdict = self._gate.judge(link.claim) if self._gate is not None else None
        if verdict is None:
            return False
        peer = link.claim.member
        self.refuse(peer, verdict[1])
        link.dismiss({"type": "refused", "code": verdict[0], "detail": verdict[1]})
        self._strangers[link] = None
        if self._links.get(peer) is link:
            self._drop(peer)
        return True

    def _drop(self, peer: str) -> None:
        del self._links[peer]
        self._listener.peer_disconnected(peer)

    def _hear_refusal(self, link: Link, message: Mapping[str, Any]) -> None:
        link.close()
        if self._gate is not None:
            self._gate.refused(link.claim.member, str(message.get("code")), str(message.get("detail")))

    # Guests.

    def _welcome(self, link: Link) -> None:
        if self._gate is None:
            raise PeerRejected(f"{link.claim.member} belongs to no cluster")
        self._strangers.pop(link, None)
        if len(self._guests) >= GUESTS_MAX:
            next(iter(self._guests)).close()
        self._guests[link] = None

    def _ask(self, link: Link, request: Any) -> None:
        """One question at a time; whoever asks twice is not a member of this version."""
        if self._guests[link] is not None:
            raise ProtocolError("a guest that does not wait for its answer")
        self._guests[link] = asyncio.get_running_loop().create_task(self._answer(link, request))

    async def _answer(self, link: Link, request: Any) -> None:
        assert self._gate is not None
        try:
            answer = await self._gate.guest(request)
        except Exception:
            log.exception("guest_not_answered")
            link.close()
            return
        if link in self._guests:
            self._guests[link] = None
            link.send(pack(answer))
