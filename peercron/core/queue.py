"""Queue: items that wait for somebody to work on them, and the line in which they stand.

The rows are replicated. The `Line` of a queue is not: it is what the rows say, kept in an order that makes the next
item cost little, and it can be thrown away and built anew on any member at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, nsmallest
from itertools import islice

from peercron.core.limits import OLDEST_SEARCHED_MAX


@dataclass(frozen=True, slots=True)
class Queue:
    """A named line of items; made by its first item, or by who wants other settings than the usual ones."""

    namespace: str
    name: str
    #: How long a receiver has for what it took, if it does not say; then the items are there for others again.
    visibility_ms: int
    #: How often an item is handed out before it becomes a dead letter; 0: for ever.
    max_attempts: int
    #: Where dead letters go, in the same namespace; empty: the queue's own name + DEAD.
    dead_letters: str
    #: state.index of the last change of these settings; an HTTP ETag.
    revision: int

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def dead_letter_name(self) -> str:
        return self.dead_letters or self.name + DEAD


#: What a queue's own dead letters are named by.
DEAD = ".dead"


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work. Its id never changes; its `place` is a new one when it comes into another queue."""

    id: int
    #: Items of equal priority go in this order; it grows with every arrival in any queue.
    place: int
    payload: bytes
    #: The payload is bytes; otherwise it is the text of a JSON value.
    binary: bool
    key: str
    priority: int
    group: str
    put_ms: int
    #: Not handed out before this instant.
    not_before_ms: int
    #: How often it was handed out.
    attempts: int = 0
    #: The delivery that holds it; 0: it waits.
    token: int = 0
    #: Of a dead letter: key of the queue that it died in.
    origin: str = ""
    #: Why it was given back the last time, for people.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Items in one receiver's hands. Its id, its token, is the index of the receive.

    It ends with the lease of the same id, or, if it was handed out to a job, with the run that works on it.
    """

    queue: str
    items: tuple[int, ...]
    #: What the receiver calls itself, for people.
    owner: str
    received_ms: int


class Line:
    """The items of one queue by when they can be handed out. Each of them is in one of four places:

    ready      a heap: higher priority first, then by place
    delayed    a heap: by the instant at which it becomes ready
    in flight  some delivery holds it
    behind     it is not the first of its group

    Of a group only the first can be anywhere but behind, so that its order is strict. All depends on the rows and on
    time alone: a line that was built just now hands out the same items as one that has grown with them.

    Args:
        items: the rows, by id, in order of their places; the very table of the state.
        now_ms: the state's time.
    """

    __slots__ = ("_delayed", "_groups", "_ready", "behind", "in_flight", "items", "keys")

    def __init__(self, items: dict[int, Item], now_ms: int) -> None:
        self.items = items
        #: Unique key -> id of the item that has it.
        self.keys = {item.key: item.id for item in items.values() if item.key}
        self._ready: list[tuple[int, int, int]] = []
        self._delayed: list[tuple[int, int]] = []
        #: Group -> ids of its items, the first first.
        self._groups: dict[str, deque[int]] = {}
        self.in_flight = self.behind = 0
        for item in items.values():
            if item.token:
                self.in_flight += 1
            if self._stand_in_group(item) and not item.token:
                if item.not_before_ms > now_ms:
                    self._delayed.append((item.not_before_ms, item.id))
                else:
                    self._ready.append(_rank(item))
        heapify(self._ready)
        heapify(self._delayed)

    @property
    def ready(self) -> int:
        """How many could be handed out, as of the last `release`."""
        return len(self._ready)

    @property
    def delayed(self) -> int:
        return len(self._delayed)

    @property
    def next_ms(self) -> int | None:
        """When the next delayed item becomes ready; None: none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def release(self, now_ms: int) -> None:
        """What was delayed until now is ready."""
        while self._delayed and self._delayed[0][0] <= now_ms:
            heappush(self._ready, _rank(self.items[heappop(self._delayed)[1]]))

    def first(self, most: int) -> list[Item]:
        """The ready ones that come first."""
        return [self.items[rank[2]] for rank in nsmallest(most, self._ready)]

    @property
    def next(self) -> Item | None:
        """The one that is handed out next; None: none is ready."""
        return self.items[self._ready[0][2]] if self._ready else None

    def take(self) -> None:
        """The next one is in flight, which its row has to say."""
        heappop(self._ready)
        self.in_flight += 1

    def add(self, item: Item, now_ms: int) -> None:
        """It has come, and its row is there."""
        if item.key:
            self.keys[item.key] = item.id
        if self._stand_in_group(item):
            self._wait(item, now_ms)

    def give_back(self, item: Item, now_ms: int) -> None:
        """It was in flight, and its row says that it waits again: it does so at its place."""
        self.in_flight -= 1
        self._wait(item, now_ms)

    def remove(self, item: Item, now_ms: int) -> None:
        """It was in flight, and its row is gone: the next of its group may go."""
        self.in_flight -= 1
        if item.key:
            self.keys.pop(item.key, None)
        if item.group:
            group = self._groups[item.group]
            first = group.popleft()
            assert first == item.id, "only the first of a group is ever handed out"
            if group:
                self.behind -= 1
                self._wait(self.items[group[0]], now_ms)
            else:
                del self._groups[item.group]

    def _stand_in_group(self, item: Item) -> bool:
        """Whether it is the first of its group, or of none."""
        if not item.group:
            return True
        group = self._groups.setdefault(item.group, deque())
        group.append(item.id)
        if len(group) == 1:
            return True
        self.behind += 1
        return False

    def _wait(self, item: Item, now_ms: int) -> None:
        if item.not_before_ms > now_ms:
            heappush(self._delayed, (item.not_before_ms, item.id))
        else:
            heappush(self._ready, _rank(item))


def _rank(item: Item) -> tuple[int, int, int]:
    return -item.priority, item.place, item.id


def oldest_ms(items: Iterable[Item], now_ms: int) -> int | None:
    """Since when the first of the items, which come in order of their places, has been there, or has not been delayed
    any more; None: none is there, or all of those that are looked at are delayed.
    """
    for item in islice(items, OLDEST_SEARCHED_MAX):
        since_ms = max(item.put_ms, item.not_before_ms)
        if since_ms <= now_ms:
            return since_ms
    return None
