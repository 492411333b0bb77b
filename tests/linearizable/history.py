"""What clients asked for and were told, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

#: A violation shows the last so many of the operations that were never answered.
LOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client. `call` and `ret` are readings of one clock that all clients share.

    `ret` None: the outcome is not known; it may take effect at any time after its call, or never. What failed for
    certain does not belong into a history.
    """

    client: str
    key: Hashable
    call: float
    ret: float | None
    kind: str
    #: Both as the model of the key says; hashable.
    argument: Any = None
    result: Any = None

    def __str__(self) -> str:
        end = f"{self.ret:>10}" if self.ret is not None else "         ?"
        said = "unknown" if self.ret is None else repr(self.result)
        asked = f"{self.kind} {'' if self.argument is None else repr(self.argument)}"
        return f"{self.call:>10} .. {end}  {self.client:<12} {asked:<32} -> {said}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A history that no single copy explains.

    `window` is as short as it gets: without its last answer it can be explained, and so it can when it begins later.
    """

    key: Hashable
    window: tuple[Operation, ...]
    #: The window begins with the history: before it there was nothing.
    from_start: bool

    def __str__(self) -> str:
        before = "it was new before" if self.from_start else "it may have held anything before"
        answered = [o for o in self.window if o.ret is not None]
        lost = [o for o in self.window if o.ret is None]
        lines = [f"{self.key}: no order of these explains the answers; {before}", *map(str, answered)]
        if lost:
            lines += [f"nor do {len(lost)} without an answer help, such as", *map(str, lost[-LOST_SHOWN:])]
        return "\n".join(lines)


class Undecided(Exception):
    """The search came to its limit: neither a proof that the history is good nor one that it is bad."""


def ends(key: Hashable, holder: Hashable, moment: float, delay: float | None = None) -> list[Operation]:
    """The end by time of what a holder has: at any time from `moment` on, or never. With a delay (in the same unit) its
    place stays taken for so long after that.

    `moment` is what the holder was promised: counted from when it asked, since that is before it had it.
    """
    if delay is None:
        return [Operation("time", key, moment, None, "expire", holder)]
    lost = Operation("time", key, moment, None, "lose", holder)
    return [lost, replace(lost, call=moment + delay, kind="free")]


def by_key(history: Iterable[Operation]) -> dict[Hashable, list[Operation]]:
    """Each key's operations in order of their calls. Keys do not know each other: good alone is good together."""
    parts: dict[Hashable, list[Operation]] = defaultdict(list)
    for operation in history:
        assert operation.ret is None or operation.ret >= operation.call, f"answered before it was asked: {operation}"
        parts[operation.key].append(operation)
    return {key: sorted(part, key=lambda operation: operation.call) for key, part in parts.items()}


def until(history: Sequence[Operation], moment: float) -> list[Operation]:
    """The history as it was known at a moment: what had not been answered may have had any outcome."""
    seen = (operation for operation in history if operation.call <= moment)
    return [o if o.ret is None or o.ret <= moment else replace(o, ret=None, result=None) for o in seen]


def since(history: Sequence[Operation], moment: float) -> list[Operation]:
    """What was not over at a moment: what had been asked before it may have acted before it."""
    rest = (operation for operation in history if operation.ret is None or operation.ret >= moment)
    return [replace(o, ret=None) if o.call < moment else o for o in rest]
