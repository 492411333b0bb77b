"""Dialler: who is called, where and when, so that there is one connection to each peer.

Of two members the one with the larger id dials, and the other only after a second without a connection: it may be the
one that has moved, or the one that knows of a newer configuration.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from peercron.consensus.link import Link

Address = tuple[str, int]

BACKOFF_S: Final = (0.02, 0.5)
#: The smaller of two ids dials after so long without a connection, and nobody sooner whom it has sent away.
SECOND_S: Final = 1.0
#: Between two looks at an address where somebody is said to be.
HINT_S: Final = 3.0


class Exchange(Protocol):
    """Where connections are made and kept."""

    me: str

    def link_to(self, peer: str) -> Link | None: ...
    async def dial(self, address: Address, expect: str | None) -> Link | None: ...


class Dialler:
    """Keeps one task for each peer, and for each address at which somebody may be."""

    def __init__(self, exchange: Exchange, rng: random.Random) -> None:
        self._exchange, self._rng = exchange, rng
        #: (peer, or None for whoever is there; its address) -> the task.
        self._tasks: dict[tuple[str | None, Address], asyncio.Task[None]] = {}

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return self._tasks.values()

    def aim(self, peers: Mapping[str, Address], hints: Iterable[Address]) -> None:
        """Call these from now on, and nobody else."""
        # Who was to be found at an address is there still, for all we know, and is not called while it is connected: a
        # second connection would end the first, and with it what is being said over it.
        people = {address: peer for peer, address in self._tasks if peer is not None}
        wanted: list[tuple[str | None, Address]] = [*peers.items(), *((None, hint) for hint in hints)]
        for target in [target for target in self._tasks if target not in wanted]:
            self._tasks.pop(target).cancel()
        for target in wanted:
            if target not in self._tasks:
                peer, address = target
                work = self._look(address, people.get(address, "")) if peer is None else self._reach(peer, address)
                self._tasks[target] = asyncio.get_running_loop().create_task(work)

    async def _reach(self, peer: str, address: Address) -> None:
        first = self._exchange.me > peer
        least_s, most_s = BACKOFF_S if first else (SECOND_S, SECOND_S)
        delay_s = 0.0 if first else SECOND_S
        while True:
            await self._pause(delay_s)
            delay_s = min(max(delay_s * 1.6, least_s), most_s)
            link = self._exchange.link_to(peer) or await self._exchange.dial(address, peer)
            if link is not None and await _ended(link):
                delay_s = SECOND_S if link.dismissed else least_s

    async def _look(self, address: Address, found: str) -> None:
        while True:
            known = found and (found == self._exchange.me or self._exchange.link_to(found) is not None)
            link = None if known else await self._exchange.dial(address, None)
            if link is not None:
                await _ended(link)
                found = link.claim.member or found
            await self._pause(HINT_S)

    async def _pause(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s * self._rng.uniform(0.7, 1.3))


async def _ended(link: Link) -> bool:
    """Wait for its end: whether the peer had proven itself."""
    await asyncio.wait([link.closed])  # and not the future itself, which would end with us: others wait for it too
    return link.closed.result()
