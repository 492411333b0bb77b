"""Agenda: what is due when; the earliest first, each key once."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush


class Agenda:
    """Keys with the instant at which each is due. Putting a key again moves it.

    A heap in which moved and dropped keys stay behind until they surface or are more than those that count.

    >>> agenda = Agenda([(30, "b"), (20, "a")])
    >>> agenda.put("b", 10)
    >>> agenda.pop(25), agenda.pop(25), agenda.pop(25)
    ('b', 'a', None)
    """

    __slots__ = ("_due_ms", "_heap")

    def __init__(self, entries: Iterable[tuple[int, str]] = ()) -> None:
        self._heap = list(entries)
        self._due_ms = {key: at_ms for at_ms, key in self._heap}
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._due_ms)

    def put(self, key: str, at_ms: int) -> None:
        if self._due_ms.get(key) == at_ms:
            return
        self._due_ms[key] = at_ms
        heappush(self._heap, (at_ms, key))
        if len(self._heap) > 2 * len(self._due_ms) + 64:
            self._heap = [(due_ms, key) for key, due_ms in self._due_ms.items()]
            heapify(self._heap)

    def __contains__(self, key: str) -> bool:
        return key in self._due_ms

    def delay(self, by_ms: int) -> None:
        """Everything is due so much later."""
        self._due_ms = {key: at_ms + by_ms for key, at_ms in self._due_ms.items()}
        self._heap = [(at_ms, key) for key, at_ms in self._due_ms.items()]
        heapify(self._heap)

    def drop(self, key: str) -> None:
        self._due_ms.pop(key, None)

    def pop(self, now_ms: int) -> str | None:
        """Take out the earliest key that is due; None: none is."""
        at_ms = self.next_ms()
        if at_ms is None or at_ms > now_ms:
            return None
        key = heappop(self._heap)[1]
        del self._due_ms[key]
        return key

    def next_ms(self) -> int | None:
        """When the earliest key is due; None: the agenda is empty."""
        heap, due_ms = self._heap, self._due_ms
        while heap and due_ms.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None
