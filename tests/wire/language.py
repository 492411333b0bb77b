"""The language of the replicated data as text, a line for each word of it, to be held against what was released.

`python -m tests.wire.language > tests/wire/golden/language.txt` writes it anew. Lines may only ever be added, each with
the level that it came with: a row gets a field at its end, a choice another value, a union another row, the state
another table (see `peercron.core.level`). A line that changes or goes is a language that running clusters do not speak.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from peercron.core.commands import Proposal
from peercron.core.member import Configuration
from peercron.core.run import LedgerEntry, Run
from peercron.core.since import SINCE
from peercron.core.state import ClusterState
from peercron.wire.codec import NAMES

#: Ledger entries and ended runs stand in the state as bytes, in the words of their rows (see `peercron.core.history`).
ROOTS = (Proposal, Configuration, ClusterState, LedgerEntry, Run)


def language() -> list[str]:
    """The words, in an order that does not depend on where in the code they stand."""
    kinds: dict[type, None] = {}
    for root in ROOTS:
        _collect(root, kinds)
    return [line for kind in sorted(kinds, key=lambda kind: kind.__name__) for line in _lines(kind)]


def _collect(annotation: Any, kinds: dict[type, None]) -> None:
    for argument in typing.get_args(annotation):
        _collect(argument, kinds)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        kinds[annotation] = None
    elif is_dataclass(annotation) and isinstance(annotation, type) and annotation not in kinds:
        kinds[annotation] = None
        hints = typing.get_type_hints(annotation)
        for field in _replicated(annotation):
            _collect(hints[field.name], kinds)


def _replicated(row: type) -> list[Field[Any]]:
    return [field for field in fields(row) if not field.metadata.get("transient")]


def _lines(kind: type) -> Iterator[str]:
    if issubclass(kind, StrEnum):
        yield from (f"{kind.__name__} = {choice.value}{_since(kind, choice.value)}" for choice in kind)
        return
    yield f"{kind.__name__}{' ' + repr(NAMES[kind]) if kind in NAMES else ''}{_since(kind)}"
    hints = typing.get_type_hints(kind)
    for place, field in enumerate(_replicated(kind)):
        word = f"{kind.__name__}[{place}] {field.name}: "
        yield word + _type(hints[field.name]) + _default(field) + _since(kind, field.name)
        yield from (f"{word}or {row.__name__}{_since(row)}" for row in _late_rows(hints[field.name]))


def _late_rows(annotation: Any) -> list[type]:
    """The rows of a union that came after level 1: each gets a line of its own."""
    arguments = typing.get_args(annotation)
    late = [row for argument in arguments for row in _late_rows(argument)]
    return late + [option for option in arguments if option in SINCE]


def _type(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    rows = [option for option in arguments if is_dataclass(option) and option not in SINCE]
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        others = [_type(option) for option in arguments if not is_dataclass(option)]
        return " | ".join(["one of " + ", ".join(row.__name__ for row in rows)] * bool(rows) + others)
    if arguments:
        inner = ", ".join("..." if argument is Ellipsis else _type(argument) for argument in arguments)
        return f"{typing.get_origin(annotation).__name__}[{inner}]"
    return "None" if annotation is type(None) else str(annotation.__name__)


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return f" = {field.default!r}"
    return " = nothing" if field.default_factory is not MISSING else ""


def _since(kind: type, part: str | None = None) -> str:
    level = SINCE.get(kind if part is None else (kind, part), 1)
    return f"  (level {level})" if level > 1 else ""


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in language()))
