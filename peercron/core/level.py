"""Level: which language the replicated data is written in.

The language is all that members must understand alike: commands, rows and their fields, choices, tables of the state,
and what `apply` makes of them, down to the words of a refusal, which is remembered. A build speaks every level up to
LEVEL. A cluster speaks the highest one that all its members speak (`ClusterState.level`), and never goes back.

To extend the language, a release raises LEVEL by one, names itself in RELEASES, and notes in `since.SINCE` what is new:

    a command, or a row where one of several may be     Touch: 2
    a field, at the end of its row and with a default   (Definition, "priority"): 2
    a choice                                            (Overlap, "newest"): 2
    a table of the state, or a number in it             (ClusterState, "locks"): 2

What is new and has its default is not written, so that members of the older release read what the newer one writes as
long as nobody may use it; a member says no more of itself than they understand (`spoken`), and so must whoever writes
a configuration. Where `apply` shall act otherwise than before, it asks for `state.level` and keeps the old way beside
the new. Types and order of fields never change, and no name is used twice; `tests/wire` holds them fast.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Final

from peercron.core.commands import Command
from peercron.core.member import MemberInfo
from peercron.core.since import SINCE
from peercron.core.state import ClusterState

#: What this build speaks.
LEVEL: Final = 2
#: The release in which each level began.
RELEASES: Final[dict[int, str]] = {1: "0.1.0", 2: "0.2.0"}
#: How to find the level of a value.
Ask = Callable[[Any], int]


def level_of(value: Any) -> int:
    """The level from which on members understand this command, row or choice."""
    kind: Any = type(value)
    ask = _ask(kind)
    return 1 if ask is None else ask(value)


def late_fields(row: type) -> tuple[Field[Any], ...]:
    """The fields of a row that came after level 1, which are its last ones."""
    return tuple(field for field in fields(row) if (row, field.name) in SINCE)


def spoken(info: MemberInfo, level: int) -> MemberInfo:
    """What a member says of itself, as far as members of this level understand it."""
    late = [field for field in late_fields(type(info)) if SINCE[type(info), field.name] > level]
    return replace(info, **{field.name: default_of(field) for field in late}) if late else info


def default_of(field: Field[Any]) -> Any:
    """What a field is when nothing is said of it."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def objection(state: ClusterState, command: Command) -> str:
    """Why a command cannot be used in this cluster yet; empty: it can."""
    needed = level_of(command)
    if needed <= state.level:
        return ""
    what = type(command).__name__
    return f"{what} needs all members to run peercron {RELEASES[needed]} or newer; {', '.join(behind(state, needed))}"


def behind(state: ClusterState, level: int) -> list[str]:
    """Who keeps the cluster below a level, and what each runs, for people."""
    told = []
    for member_id in state.seats or state.members:
        member, seat = state.members.get(member_id), state.seats.get(member_id)
        if member is None:
            told.append(f"{seat.name if seat else member_id} has not come yet")
        elif member.info.level < level:
            told.append(f"{member.info.name} runs {member.info.version}")
    return told


@cache
def _ask(annotation: Any) -> Ask | None:
    """How to find the level of a value of this type; None: it is 1 for all of them."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _ask_row(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        late = {choice: SINCE[annotation, choice.value] for choice in annotation if (annotation, choice.value) in SINCE}
        return (lambda choice: late.get(choice, 1)) if late else None
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    if typing.get_origin(annotation) is tuple and options[-1] is Ellipsis:
        item = _ask(options[0])
        return None if item is None else lambda items: max(map(item, items), default=1)
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        if len(options) > 1:
            return level_of if any(map(_ask, options)) else None
        one = _ask(options[0])
        return None if one is None else lambda value: 1 if value is None else one(value)
    return None


def _ask_row(row: type) -> Ask | None:
    own = SINCE.get(row, 1)
    hints = typing.get_type_hints(row)
    late = [(field.name, default_of(field), SINCE[row, field.name]) for field in late_fields(row)]
    inner = [(field.name, ask) for field in fields(row) if (ask := _ask(hints[field.name])) is not None]
    if own == 1 and not late and not inner:
        return None

    def ask_row(value: Any) -> int:
        used = [level for name, default, level in late if getattr(value, name) != default]
        return max([own, *used, *[ask(getattr(value, name)) for name, ask in inner]])

    return ask_row
