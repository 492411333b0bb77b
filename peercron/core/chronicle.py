"""Chronicle: what has happened in the cluster, as apply tells it: for people and watchers, never for control.

It is not replicated: each member keeps the last of what it applied. Since all apply the same, an event has the same
place and the same words everywhere, so that who reads can go on at another member.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from peercron.core.limits import EVENTS_KEPT

#: Kind of what something happened to -> what may.
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "job": ("created", "changed", "deleted", "paused", "resumed"),
    "run": (
        *("created", "assigned", "started", "retrying", "cancelling"),
        *("succeeded", "failed", "timed_out", "cancelled", "lost", "skipped", "missed"),
    ),
    "member": ("up", "down", "joined", "left", "invited", "drained", "undrained"),
    "health": ("good", "bad"),
    "lock": ("lost",),
    "queue": ("dead_letter",),
    "client": ("lost",),
    "event": ("emitted",),
    "pool": ("set", "deleted"),
    "calendar": ("set", "deleted"),
    "token": ("created", "revoked"),
    "cluster": ("paused", "resumed", "level_raised", "recovered", "restored"),
}
#: Events beyond EVENTS_KEPT that may be there before the oldest are forgotten, many at once.
SLACK: Final = 1_000

#: Index of a command, and which of its events.
Place = tuple[int, int]
#: Behind all events of a command.
LAST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `what` happened to the `kind` of that `name`."""

    index: int
    n: int
    at_ms: int
    kind: str
    what: str
    #: "namespace/name" of a job, a lock or a queue; what a member, a pool, a token or a client is called.
    name: str
    #: More about it, in words of its own.
    facts: tuple[tuple[str, str | int], ...] = ()

    @property
    def place(self) -> Place:
        return self.index, self.n


class Chronicle:
    """The last EVENTS_KEPT events, and a few more.

    Args:
        index: what was applied before is not known here.
    """

    def __init__(self, index: int) -> None:
        #: All events behind it are kept.
        self.floor: Place = (index, LAST)
        self._events: list[Event] = []

    def add(self, index: int, at_ms: int, kind: str, what: str, name: str, facts: dict[str, str | int]) -> None:
        """The newest. A command has one index, and may tell of many."""
        newest = self._events[-1] if self._events else None
        n = newest.n + 1 if newest is not None and newest.index == index else 1
        self._events.append(Event(index, n, at_ms, kind, what, name, tuple(facts.items())))
        if len(self._events) >= EVENTS_KEPT + SLACK:
            self.floor = self._events[SLACK - 1].place
            del self._events[:SLACK]

    def after(self, place: Place, most: int) -> list[Event] | None:
        """The next events behind this place, at most so many; None: not all of them are kept any more."""
        if place < self.floor:
            return None
        at = bisect_right(self._events, place, key=lambda event: event.place)
        return self._events[at : at + most]

    def last(self, most: int) -> list[Event]:
        """The newest events, at most so many, the oldest of them first."""
        return self._events[-most:] if most else []
