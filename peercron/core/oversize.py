"""Oversize: what is refused for its size alone, whatever the state is.

It is asked at the door, so that nothing huge travels through the log only to be refused by every member. `apply` asks
for itself, with rules that are finer, and has the last word. Not here: jobs, whose flaws the door asks for in full
(`apply.definition.flaw`), what comes from a path, which no server takes beyond some thousand characters, and what
members say of themselves and of their runs, which they cut.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final, NamedTuple

from peercron.core.commands import (
    AcquireLock,
    CallHook,
    Checkpoint,
    Command,
    CreateToken,
    EmitEvent,
    IncrKey,
    Invite,
    OpenClient,
    PutItem,
    PutKey,
    PutQueue,
    ReceiveItems,
    RunJob,
    SetCalendar,
    SetPool,
)
from peercron.core.limits import (
    ADDRESS_LENGTH_MAX,
    CALENDAR_RULE_LENGTH_MAX,
    CALENDAR_RULES_MAX,
    CHECKPOINT_BYTES_MAX,
    ITEM_BYTES_MAX,
    KEY_BYTES_MAX,
    NAME_LENGTH_MAX,
    OWNER_LENGTH_MAX,
    PARAMS_BYTES_MAX,
    VALUE_BYTES_MAX,
)
from peercron.core.token import DIGEST_BYTES


class Bound(NamedTuple):
    """At most so many of a unit: "bytes" (of texts: of their UTF-8) or "characters"; of a tuple, all its texts."""

    most: int
    unit: str = "characters"


class Oversize(NamedTuple):
    """What is too large: the code of the refusal, by what it is, and a sentence that begins with the field."""

    code: str
    detail: str


_NAME = Bound(NAME_LENGTH_MAX)
_KEY = Bound(KEY_BYTES_MAX, "bytes")
_PARAMS = {"params": Bound(PARAMS_BYTES_MAX, "bytes")}
_PLACE = {"namespace": _NAME, "name": _NAME}

#: Command -> field -> its bound.
BOUNDS: Final[dict[type, dict[str, Bound]]] = {
    PutKey: {"namespace": _NAME, "key": _KEY, "value": Bound(VALUE_BYTES_MAX, "bytes")},
    IncrKey: {"namespace": _NAME, "key": _KEY},
    PutQueue: {**_PLACE, "dead_letters": _NAME},
    PutItem: {**_PLACE, "payload": Bound(ITEM_BYTES_MAX, "bytes"), "key": _KEY, "group": _KEY},
    ReceiveItems: {**_PLACE, "owner": Bound(OWNER_LENGTH_MAX)},
    AcquireLock: {**_PLACE, "claim.owner": Bound(OWNER_LENGTH_MAX), "claim.request": _NAME},
    OpenClient: {"label": _NAME},
    Checkpoint: {"data": Bound(CHECKPOINT_BYTES_MAX, "bytes")},
    RunJob: _PARAMS,
    CallHook: _PARAMS,
    EmitEvent: {**_PLACE, **_PARAMS},
    SetCalendar: {"name": _NAME, "rules": Bound(CALENDAR_RULES_MAX * CALENDAR_RULE_LENGTH_MAX)},
    SetPool: {"name": _NAME},
    CreateToken: {"name": _NAME, "digest": Bound(DIGEST_BYTES, "bytes")},
    Invite: {"address": Bound(ADDRESS_LENGTH_MAX), "name": _NAME},
}


def oversize(command: Command) -> Oversize | None:
    """The first field that is too large for any state; None: there is none.

    >>> oversize(OpenClient("x" * 200, 30_000)).detail
    'label: 200 characters, at most 128 are taken'
    """
    for field, bound in BOUNDS.get(type(command), {}).items():
        value = attrgetter(field)(command)
        size = _size(value, bound.unit)
        if size > bound.most:
            detail = f"{field.rpartition('.')[2]}: {size} {bound.unit}, at most {bound.most} are taken"
            return Oversize("too_large" if isinstance(value, bytes) else "invalid", detail)
    return None


def _size(value: Any, unit: str) -> int:
    if isinstance(value, tuple):
        return sum(_size(each, unit) for each in value)
    if isinstance(value, str) and unit == "bytes":
        return len(value.encode("utf-8", "surrogatepass"))
    return len(value)
