"""Feed: the kept changes of the shared state as lines of JSON, each encoded once for all who watch."""

from __future__ import annotations

import base64
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from peercron.core.apply.change import LEVEL
from peercron.core.change import Change
from peercron.core.level import RELEASES
from peercron.core.state import ClusterState
from peercron.errors import Compacted, Refused

#: Lines of one batch, and what it takes: more is left for the next, so that one watcher that is far behind neither
#: keeps the loop nor fills the memory.
BATCH_LINES_MAX = 1_000
BATCH_BYTES_MAX = 1024 * 1024
#: Places of forgotten lines at the head of a list before it is made shorter.
_SLACK = 1_024


class Line:
    """One change as it is told; its bytes are made when they are first asked for, and shared from then on."""

    __slots__ = ("_json", "change")

    def __init__(self, change: Change) -> None:
        self.change = change
        self._json = b""

    @property
    def json(self) -> bytes:
        if not self._json:
            self._json = msgspec.json.encode(change_view(self.change))
        return self._json

    @property
    def raw(self) -> msgspec.Raw:
        """To stand within other JSON."""
        return msgspec.Raw(self.json)


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked for, in order. Nothing is missing between the index that was asked from and `index`."""

    lines: list[Line]
    index: int


@dataclass(slots=True)
class _Stream:
    """The lines of one namespace, those before `head` forgotten."""

    revisions: list[int] = field(default_factory=list)
    lines: list[Line | None] = field(default_factory=list)
    head: int = 0

    def add(self, change: Change) -> None:
        self.revisions.append(change.revision)
        self.lines.append(Line(change))

    def drop(self) -> None:
        self.lines[self.head] = None
        self.head += 1
        if self.head >= _SLACK and self.head * 2 >= len(self.lines):
            del self.lines[: self.head], self.revisions[: self.head]
            self.head = 0


class Feed:
    """Follows `state.changes`; what is gone from there is gone from here."""

    def __init__(self) -> None:
        self._state: ClusterState | None = None
        #: Namespace -> its lines.
        self._streams: dict[str, _Stream] = {}
        #: Number -> namespace of the changes that were taken in: from `_first` up to `_next`.
        self._taken: dict[int, str] = {}
        self._first = self._next = 0

    def after(self, state: ClusterState, namespace: str, prefix: str, index: int) -> Batch:
        """The changes after `index` of the namespace's keys that begin so.

        Raises:
            Compacted: not all of them are kept any more.
            Refused: nothing is kept while a member runs an older version (unsupported).
        """
        if state.level < LEVEL:
            detail = f"watching needs all members to run peercron {RELEASES[LEVEL]} or newer"
            raise Refused("unsupported", detail)
        if index < state.changes_floor:
            raise Compacted(state.index)
        self._catch_up(state)
        stream = self._streams.get(namespace)
        found, whole = _cut(stream, prefix, index) if stream is not None else ([], True)
        return Batch(found, max(index, state.index) if whole else found[-1].change.revision)

    def _catch_up(self, state: ClusterState) -> None:
        if state is not self._state:
            self._state = state
            self._streams, self._taken = {}, {}
            self._first = self._next = 0
        first = state.change_count - len(state.changes)
        for number in range(self._first, min(first, self._next)):
            self._drop(number)
        self._first, self._next = max(first, self._first), max(first, self._next)
        for number in range(self._next, state.change_count):
            change = state.changes[number]
            self._taken[number] = change.namespace
            self._streams.setdefault(change.namespace, _Stream()).add(change)
        self._next = state.change_count

    def _drop(self, number: int) -> None:
        namespace = self._taken.pop(number)
        stream = self._streams[namespace]
        stream.drop()
        if stream.head == len(stream.lines):
            del self._streams[namespace]


def _cut(stream: _Stream, prefix: str, index: int) -> tuple[list[Line], bool]:
    """As many of what comes after the index as make a batch, and whether that is all."""
    found: list[Line] = []
    size = 0
    for place in range(bisect_right(stream.revisions, index, stream.head), len(stream.lines)):
        line = stream.lines[place]
        assert line is not None, "a place behind the head has its line"
        if line.change.key.startswith(prefix):
            found.append(line)
            size += len(line.change.value or b"")
            if len(found) == BATCH_LINES_MAX or size >= BATCH_BYTES_MAX:
                return found, False
    return found, True


FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)


def change_view(change: Change) -> dict[str, Any]:
    """A change as JSON: with its `value`, with `base64` where that is no JSON, or `deleted`."""
    told: dict[str, Any] = {"key": change.key, "revision": change.revision}
    return told | ({"deleted": True} if change.value is None else value_view(change.value))


def value_view(value: bytes) -> dict[str, Any]:
    """A value within JSON, on one line."""
    if not is_json(value):
        return {"base64": base64.b64encode(value).decode()}
    return {"value": msgspec.Raw(msgspec.json.format(value, indent=-1) if b"\n" in value or b"\r" in value else value)}


def is_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
