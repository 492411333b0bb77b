"""Network: TCP between simulated processes: in order and reliable until it breaks.

A way from one host to another can be cut or late, each direction for itself. What was sent into a cut waits, and
arrives when the way is open again, unless somebody gave the connection up first. An end learns of the other's end by
a word, which travels like anything else; a machine without power says none, and when it is there again it resets what
it does not know.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.whole.loop import ProcessLoop, Time

#: What travels besides bytes.
END = None
Address = tuple[str, int]


class Wires:
    """All ways between hosts.

    Args:
        time: everybody's.
        rng: how long things take.
    """

    def __init__(self, time: Time, rng: random.Random) -> None:
        self.time, self.rng = time, rng
        self.latency_s = (0.000_2, 0.002)
        self.listening: dict[Address, tuple[ProcessLoop, Callable[[], asyncio.Protocol]]] = {}
        #: Ways that are cut, in the order in which they were.
        self.cut: dict[tuple[str, str], None] = {}
        #: Way -> (chance that a packet is late, by up to how many seconds).
        self.late: dict[tuple[str, str], tuple[float, float]] = {}
        #: Hosts that are switched off.
        self.dark: dict[str, None] = {}
        #: Ends that are open, in the order in which they were made.
        self.ends: dict[End, None] = {}

    # What befalls the ways.

    def block(self, a: str, b: str) -> None:
        """Nothing passes from a to b."""
        self.cut[a, b] = None

    def unblock(self, a: str, b: str) -> None:
        if (a, b) in self.cut:
            del self.cut[a, b]
            for end in list(self.ends):
                if end.host == a and end.other.host == b:
                    stalled, end.stalled = end.stalled, []
                    for packet in stalled:
                        self._travel(end, packet, self.time.now_s)

    def heal(self) -> None:
        for a, b in list(self.cut):
            self.unblock(a, b)
        self.late.clear()

    def ends_between(self, a: str, b: str) -> list[End]:
        """The ends at a of connections to b."""
        return [end for end in self.ends if end.host == a and end.other.host == b]

    def reset(self, a: str, b: str) -> None:
        """Something in between breaks what there is between them: both ends hear of it."""
        for end in (*self.ends_between(a, b), *self.ends_between(b, a)):
            end.break_after(self.rng.uniform(*self.latency_s))

    def forget(self, a: str, b: str) -> None:
        """a loses its connections to b without a word; b believes in them until it says something."""
        for end in self.ends_between(a, b):
            end.break_after(0.0)

    def died(self, loop: ProcessLoop, *, power: bool) -> None:
        """A process ended; its machine says so to the others, unless it lost its power."""
        for address, (owner, _) in list(self.listening.items()):
            if owner is loop:
                del self.listening[address]
        if power:
            self.dark[loop.host] = None
        for end in [end for end in self.ends if end.loop is loop]:
            if power:
                del self.ends[end]
            else:
                end.hang_up()

    # Connecting.

    def connect(self, loop: ProcessLoop, factory: Callable[[], asyncio.Protocol], address: Address) -> Any:
        """A future of (transport, protocol); it never ends where nothing answers."""
        future = loop.create_future()
        here, there = loop.host, address[0]

        def arrive() -> None:
            if (here, there) in self.cut or there in self.dark or not loop.alive:
                return
            found = self.listening.get(address)
            if found is None:
                self._answer(loop, there, lambda: _fail(future, ConnectionRefusedError(111, "Connection refused")))
                return
            mine, theirs = pair(self, loop, found[0])
            # The kernel accepts; the process comes to it when it runs.
            found[0].call_soon(theirs.begin, found[1])
            self._answer(loop, there, lambda: mine.connected(future, factory))

        self.time.at(loop.now_s + self.way_s(here, there), arrive)
        return future

    def _answer(self, loop: ProcessLoop, there: str, act: Callable[[], None]) -> None:
        def arrive() -> None:
            if (there, loop.host) not in self.cut:
                loop.call_soon(act)

        self.time.after(self.way_s(there, loop.host), arrive)

    def listen(self, loop: ProcessLoop, factory: Callable[[], asyncio.Protocol], address: Address) -> Server:
        if address in self.listening:
            raise OSError(98, "Address already in use")
        self.listening[address] = (loop, factory)
        return Server(self, address)

    # Travelling.

    def way_s(self, a: str, b: str) -> float:
        delay_s = self.rng.uniform(*self.latency_s)
        late = self.late.get((a, b)) if self.late else None
        if late is not None and self.rng.random() < late[0]:
            delay_s += self.rng.uniform(0.05, late[1])
        return delay_s

    def send(self, end: End, what: bytes | None) -> None:
        now_s = end.loop.now_s
        if end.packet is not None and end.packet_s == now_s:
            end.packet.append(what)  # what leaves at one instant travels in one packet
            return
        packet = [what]
        if (end.host, end.other.host) in self.cut:
            end.stalled.append(packet)
        else:
            end.packet, end.packet_s = packet, now_s
            self._travel(end, packet, now_s)

    def _travel(self, end: End, packet: list[bytes | None], from_s: float) -> None:
        other = end.other
        end.arrival_s = max(from_s + self.way_s(end.host, other.host), end.arrival_s + 1e-6)

        def arrive() -> None:
            if end.packet is packet:
                end.packet = None
            if end.loop.died_s < from_s:
                return  # it was never said: its sender had died by then
            if (end.host, other.host) in self.cut:
                end.stalled.append(packet)
            elif other in self.ends:
                other.loop.call_soon(other.receive, packet)
            elif other.host not in self.dark and (other.host, end.host) not in self.cut and packet != [END]:
                end.break_after(self.way_s(other.host, end.host))  # who is there knows nothing of it

        self.time.at(end.arrival_s, arrive)


class End(asyncio.Transport):
    """One end of a connection."""

    other: End

    def __init__(self, wires: Wires, loop: ProcessLoop) -> None:
        super().__init__()
        self._wires, self.loop, self.host = wires, loop, loop.host
        self._protocol: Any = None
        self._early: list[list[bytes | None]] = []
        self.arrival_s = 0.0
        self.packet: list[bytes | None] | None = None
        self.packet_s = -1.0
        self.stalled: list[list[bytes | None]] = []
        wires.ends[self] = None

    # asyncio.Transport

    def write(self, data: Any) -> None:
        if self in self._wires.ends:
            self._wires.send(self, bytes(data))

    def is_closing(self) -> bool:
        return self not in self._wires.ends

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self in self._wires.ends:
            self.hang_up()
            self.loop.call_soon(self._lost)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return sum(len(what or b"") for packet in self.stalled for what in packet)

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        """Nobody reads that slowly."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    # What its machine does.

    def begin(self, factory: Callable[[], asyncio.Protocol]) -> None:
        if self in self._wires.ends:
            self._protocol = factory()
            self._protocol.connection_made(self)
            early, self._early = self._early, []
            for packet in early:
                self.receive(packet)

    def connected(self, future: asyncio.Future[Any], factory: Callable[[], asyncio.Protocol]) -> None:
        if future.done():  # nobody waits for it any more
            if self in self._wires.ends:
                self.hang_up()
            return
        self.begin(factory)
        if not future.done():
            future.set_result((self, self._protocol))

    def receive(self, packet: list[bytes | None]) -> None:
        if self not in self._wires.ends:
            return
        if self._protocol is None:
            self._early.append(packet)
            return
        data = b"".join(what for what in packet if what is not END)
        if data:
            self._protocol.data_received(data)
        if END in packet:
            self._end()

    def hang_up(self) -> None:
        """Say the end, and know nothing more of it."""
        self._wires.send(self, END)
        del self._wires.ends[self]

    def break_after(self, delay_s: float) -> None:
        self._wires.time.after(delay_s, lambda: self.loop.call_soon(self._end))

    def _end(self) -> None:
        if self in self._wires.ends:
            del self._wires.ends[self]
            self._lost()

    def _lost(self) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(None)


def pair(wires: Wires, dialer: ProcessLoop, listener: ProcessLoop) -> tuple[End, End]:
    """Both ends of a new connection."""
    a, b = End(wires, dialer), End(wires, listener)
    a.other, b.other = b, a
    return a, b


class Server(asyncio.AbstractServer):
    """What listens at an address."""

    def __init__(self, wires: Wires, address: Address) -> None:
        self._wires, self._address = wires, address

    def close(self) -> None:
        self._wires.listening.pop(self._address, None)

    async def wait_closed(self) -> None:
        """It takes no time."""


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
