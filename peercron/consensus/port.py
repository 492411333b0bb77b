"""Port: who stands above the consensus, and who carries its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from peercron.consensus.outbox import Output  # which stands on the kernel, which needs this


class Above(Protocol):
    """Who stands above the consensus: the node."""

    def turning(self) -> None:
        """A turn begins: the last moment to propose something in it."""

    def turned(self, out: Output) -> None:
        """A turn is over and durable."""

    def mail(self, peer: str, kind: str, body: Any) -> None: ...
    def halted(self, reason: str) -> None:
        """The consensus has stopped for good; nothing more will be acknowledged."""

    def connections_changed(self) -> None: ...
    def frozen(self) -> Iterator[bytes]:
        """The state as it is now, as blocks of a snapshot."""


class Carrier(Protocol):
    """Who carries messages to the peers, in order, as long as a connection holds."""

    def send(self, peer: str, message: Mapping[str, Any]) -> None:
        """Send, or drop when there is no connection."""

    async def close(self) -> None: ...


class Timing(Protocol):
    """The kernel's times, in milliseconds."""

    @property
    def heartbeat_ms(self) -> int: ...
    @property
    def election_min_ms(self) -> int: ...
    @property
    def election_max_ms(self) -> int: ...


class Outlet(Protocol):
    """What the kernel needs of its surroundings."""

    def send(self, peer: str, message: dict[str, Any]) -> None: ...
    def may_campaign(self) -> bool:
        """Asked when the election time-out has passed."""

    def apply(self, index: int, term: int, command: bytes) -> int:
        """Apply an entry; what it was beyond its length, as bytes of what is applied in one step."""

    def apply_configuration(self, index: int, command: bytes) -> None: ...
    def answers_wanted(self) -> bool:
        """Does something wait for the followers' answer to the next heartbeat?"""

    def offer_snapshot(self, peer: str) -> None:
        """The peer needs entries that only a snapshot still holds; called at each heartbeat."""
