"""Network: connections between processes: in order and reliable until they break, as TCP's are.

A way from one host to another can be cut or slow, each direction for itself. What was sent into a cut waits, and arrives
when the way is open again, unless somebody gave the connection up first. Either end learns of an end by a word of the
other, which travels like anything else, or by long silence; so for a while each can believe something else.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peercron.consensus.messages import ProtocolError
from peercron.consensus.transport import BACKOFF_S, DIAL_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, PING_S, SILENCE_S, Listener
from peercron.errors import PeerRejected
from peercron.wire.plain import pack, unpack
from tests.sim.whole.loop import ProcessLoop, Time

#: What travels besides messages.
GREETING, PROOF, END = "greeting", "proof", "end"


@dataclass(slots=True)
class Way:
    """One direction of a connection."""

    arrival_s: float = 0.0
    #: What leaves at one instant travels in one packet.
    packet: list[Any] | None = None
    packet_s: float = -1.0
    stalled: list[list[Any]] = field(default_factory=list)


class Connection:
    """One connection; `dialer` and `listener` are the ends, by host."""

    __slots__ = ("dialer", "dialled_s", "listener", "ways")

    def __init__(self, dialer: Endpoint, listener: Endpoint, dialled_s: float) -> None:
        self.dialer, self.listener, self.dialled_s = dialer, listener, dialled_s
        self.ways = {(dialer.host, listener.host): Way(), (listener.host, dialer.host): Way()}

    def other(self, end: Endpoint) -> Endpoint:
        return self.listener if end is self.dialer else self.dialer


class Wires:
    """All ways between hosts.

    Args:
        time: everybody's.
        rng: how long things take.
        note: told of each message that leaves.
    """

    def __init__(self, time: Time, rng: random.Random, note: Callable[[str, str, bytes], None]) -> None:
        self.time, self.rng, self.note = time, rng, note
        self.latency_s = (0.000_2, 0.002)
        #: Where somebody listens: host -> its endpoint.
        self.listening: dict[str, Endpoint] = {}
        #: Way -> since when it is cut.
        self.cut: dict[tuple[str, str], float] = {}
        #: Way -> (chance that a packet is late, by up to how many seconds).
        self.lossy: dict[tuple[str, str], tuple[float, float]] = {}
        #: Host -> since when it says nothing: switched off or stopped.
        self.silent: dict[str, float] = {}
        #: Called after a packet of these types has left; may raise Crash.
        self.after_send: Callable[[str, str], None] | None = None

    # What befalls the ways.

    def block(self, a: str, b: str) -> None:
        """Nothing passes from a to b."""
        if (a, b) not in self.cut:
            self.cut[a, b] = self.time.now_s
            self._expect_silence(a, b)

    def unblock(self, a: str, b: str) -> None:
        if self.cut.pop((a, b), None) is None:
            return
        for connection in self._connections(a, b):
            stalled, connection.ways[a, b].stalled = connection.ways[a, b].stalled, []
            for packet in stalled:
                self._travel(connection, a, b, packet, self.time.now_s)

    def heal(self) -> None:
        for a, b in list(self.cut):
            self.unblock(a, b)
        self.lossy.clear()

    def fall_silent(self, host: str) -> None:
        """The host says nothing from now on, and nobody says so for it."""
        if host not in self.silent:
            self.silent[host] = self.time.now_s
            for other in list(self.listening):
                if other != host:
                    self._expect_silence(host, other)

    def speak_again(self, host: str) -> None:
        self.silent.pop(host, None)

    def reset(self, a: str, b: str) -> None:
        """The connection breaks, and both ends are told soon."""
        for end, peer in ((self.listening.get(a), b), (self.listening.get(b), a)):
            if end is not None and peer in end.links:
                end.lose(peer, end.links[peer], self.rng.uniform(*self.latency_s))

    def forget(self, a: str, b: str) -> None:
        """The end at a loses it without a word; b goes on believing in it until it is dialled anew, or finds out."""
        end = self.listening.get(a)
        if end is not None and b in end.links:
            connection = end.links[b]
            end.lose(b, connection, 0.0)
            connection.other(end).lose(a, connection, self.rng.uniform(0.05, SILENCE_S))

    # Travelling.

    def send(self, source: Endpoint, connection: Connection, what: Any) -> None:
        a, b = source.host, connection.other(source).host
        way, now_s = connection.ways[a, b], source.loop.now_s
        if way.packet is not None and way.packet_s == now_s:
            way.packet.append(what)
            return
        packet = [what]
        if (a, b) in self.cut:
            way.stalled.append(packet)
        else:
            way.packet, way.packet_s = packet, now_s
            self._travel(connection, a, b, packet, now_s)

    def _travel(self, connection: Connection, a: str, b: str, packet: list[Any], from_s: float) -> None:
        way = connection.ways[a, b]
        delay_s = self.rng.uniform(*self.latency_s)
        lossy = self.lossy.get((a, b))
        if lossy is not None and self.rng.random() < lossy[0]:
            delay_s += self.rng.uniform(0.05, lossy[1])
        way.arrival_s = max(from_s + delay_s, way.arrival_s + 1e-6)
        source = connection.dialer if connection.dialer.host == a else connection.listener

        def arrive() -> None:
            if way.packet is packet:
                way.packet = None
            if source.died_s < from_s:
                return  # it was never said: its sender had died by then
            if (a, b) in self.cut:
                way.stalled.append(packet)
                return
            target = connection.other(source)
            if target.died_s < float("inf"):
                self._refuse(target, source, connection)
            else:
                target.loop.call_soon(target.receive, connection, packet)

        self.time.at(way.arrival_s, arrive)

    def _refuse(self, target: Endpoint, source: Endpoint, connection: Connection) -> None:
        """Nobody is there: the kernel of that host says so, if it runs."""
        if target.host not in self.silent and (target.host, source.host) not in self.cut:
            source.lose(target.host, connection, self.rng.uniform(*self.latency_s))

    def listen(self, endpoint: Endpoint) -> None:
        """A process is there. Whoever still believes in a connection to an earlier one learns better at its next ping."""
        self.listening[endpoint.host] = endpoint
        for other in self.listening.values():
            connection = other.links.get(endpoint.host)
            if connection is not None and connection.other(other) is not endpoint:
                other.lose(endpoint.host, connection, self.rng.uniform(0, PING_S))

    def died(self, endpoint: Endpoint, *, power: bool) -> None:
        """A process ended; its host says so to the others, unless it has lost power."""
        if self.listening.get(endpoint.host) is endpoint:
            del self.listening[endpoint.host]
        links, endpoint.links = endpoint.links, {}
        if not power:
            for connection in links.values():
                self.send(endpoint, connection, END)
        endpoint.died_s = endpoint.loop.now_s

    def _connections(self, a: str, b: str) -> list[Connection]:
        """All that either end believes in."""
        found: dict[int, Connection] = {}
        for end, peer in ((self.listening.get(a), b), (self.listening.get(b), a)):
            if end is not None:
                for connection in (end.links.get(peer), end.pending.get(peer)):
                    if connection is not None:
                        found[id(connection)] = connection
        return list(found.values())

    def _expect_silence(self, a: str, b: str) -> None:
        """b hears nothing of a: after a while it will give the connection up."""
        end = self.listening.get(b)
        if end is not None:
            delay_s = SILENCE_S + self.rng.uniform(0, PING_S)
            end.loop.call_later(delay_s, end.mind_silence, a)

    def is_silent(self, a: str, b: str) -> bool:
        """Has b heard nothing of a for long?"""
        since_s = min(self.cut.get((a, b), float("inf")), self.silent.get(a, float("inf")))
        return self.time.now_s - since_s >= SILENCE_S * 0.98


class Endpoint:
    """The connections of one process; implements `peercron.node.assembly.Network`.

    Args:
        wires: all ways.
        host: where it is: its member id.
        peers: the other members' ids.
        loop: of its process.
        listener: who is told.
        broken: told when a peer said what no peer says.
    """

    def __init__(
        self,
        wires: Wires,
        host: str,
        peers: list[str],
        loop: ProcessLoop,
        listener: Listener,
        broken: Callable[[str], None],
    ) -> None:
        self.wires, self.host, self.loop, self._listener, self._broken = wires, host, loop, listener, broken
        self.peers = peers
        self.links: dict[str, Connection] = {}
        #: Connections that are being made.
        self.pending: dict[str, Connection] = {}
        self._backoff_s = dict.fromkeys(peers, BACKOFF_S[0])
        #: Peers that will be dialled.
        self._due: set[str] = set()
        self.died_s = float("inf")
        self.closing = False

    async def start(self, host: str, port: int) -> None:
        self.wires.listen(self)
        for peer in self.peers:
            if self.host > peer:
                self._dial(peer)

    async def close(self) -> None:
        self.closing = True
        if self.wires.listening.get(self.host) is self:
            del self.wires.listening[self.host]
        for peer, connection in list(self.links.items()):
            self.wires.send(self, connection, END)
            self._drop(peer, connection)

    def send(self, peer: str, message: Any) -> None:
        connection = self.links.get(peer)
        if connection is None:
            return
        raw = pack(message)
        self.wires.note(self.host, peer, raw)
        self.wires.send(self, connection, raw)
        if self.wires.after_send is not None:
            self.wires.after_send(self.host, message["type"])

    # Making connections.

    def _dial(self, peer: str) -> None:
        wires = self.wires
        self._due.discard(peer)
        if self.closing or peer in self.links or peer in self.pending:
            return
        there = wires.listening.get(peer)
        cut = (self.host, peer) in wires.cut or (peer, self.host) in wires.cut
        if cut or peer in wires.silent and there is None:
            self._dial_again(peer, DIAL_TIMEOUT_S)
        elif there is None:
            self._dial_again(peer, 0.001)
        else:
            connection = self.pending[peer] = Connection(self, there, self.loop.now_s)
            delay_s = wires.rng.uniform(*wires.latency_s)
            wires.time.at(self.loop.now_s + delay_s, lambda: there.loop.call_soon(there.meet, connection))
            self.loop.call_later(HANDSHAKE_TIMEOUT_S, self._give_up_dialling, peer, connection)

    def _dial_again(self, peer: str, after_s: float) -> None:
        if peer in self._due:
            return
        self._due.add(peer)
        delay_s = self._backoff_s[peer]
        self._backoff_s[peer] = min(delay_s * 1.6, BACKOFF_S[1])
        self.loop.call_later(after_s + delay_s * self.wires.rng.uniform(0.7, 1.3), self._dial, peer)

    def _give_up_dialling(self, peer: str, connection: Connection) -> None:
        if self.pending.get(peer) is connection:
            del self.pending[peer]
            self._dial_again(peer, 0.0)

    def meet(self, connection: Connection) -> None:
        """Somebody dialled us."""
        if not self.closing and connection.dialer.pending.get(self.host) is connection:
            self.pending[connection.dialer.host] = connection
            self.wires.send(self, connection, GREETING)

    def _proven(self, peer: str, connection: Connection) -> None:
        """It takes the place of an older one, whose other end may be long dead."""
        self.pending.pop(peer, None)
        older = self.links.pop(peer, None)
        if older is not None:
            self.wires.send(self, older, END)
            self._listener.peer_disconnected(peer)
        self.links[peer] = connection
        self._backoff_s[peer] = BACKOFF_S[0]
        self._listener.peer_connected(peer)

    # What comes in.

    def receive(self, connection: Connection, packet: list[Any]) -> None:
        peer = connection.other(self).host
        for what in packet:
            if what is GREETING:
                if self.pending.get(peer) is connection:
                    self.wires.send(self, connection, PROOF)
                    self._proven(peer, connection)
            elif what is PROOF:
                if self.pending.get(peer) is connection and not self.closing:
                    self._proven(peer, connection)
            elif self.links.get(peer) is not connection:
                return
            elif what is END:
                self._drop(peer, connection)
            else:
                try:
                    self._listener.peer_message(peer, unpack(what))
                except (ProtocolError, PeerRejected) as error:
                    self._broken(f"{self.host} of {peer}: {error}")

    def lose(self, peer: str, connection: Connection, delay_s: float) -> None:
        """It is broken; this end is told after a while."""
        self.wires.time.after(delay_s, lambda: self.loop.call_soon(self._drop, peer, connection))

    def mind_silence(self, peer: str) -> None:
        connection = self.links.get(peer)
        if connection is not None and self.wires.is_silent(peer, self.host):
            self.wires.send(self, connection, END)
            self._drop(peer, connection)

    def _drop(self, peer: str, connection: Connection) -> None:
        if self.pending.get(peer) is connection:
            del self.pending[peer]
        if self.links.get(peer) is connection:
            del self.links[peer]
            self._listener.peer_disconnected(peer)
        if self.host > peer and peer not in self.links and peer not in self.pending:
            self._dial_again(peer, 0.0)
