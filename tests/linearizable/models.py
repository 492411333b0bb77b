"""What a register answers, as a function of what it holds.

Revisions are numbers that grow, chosen by the server: they are learned from answers. A write whose answer
was lost leaves a revision that is not known yet, larger than all before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from enum import Enum
from math import inf
from typing import NamedTuple

from tests.linearizable.history import Operation


class Content(Enum):
    """What a cell holds instead of a value."""

    ABSENT = "nothing"
    ANYTHING = "a value or nothing"
    UNSEEN = "a value that nobody ever saw"


class Cell(NamedTuple):
    """A place for one value. `revision` 0: there is none; None: not known, but larger than `floor`, not `excluded`."""

    content: Hashable = Content.ABSENT
    revision: int | None = 0
    floor: int = 0
    excluded: frozenset[int] = frozenset()


NEW = Cell()
ANY = Cell(Content.ANYTHING, None)


def may_be_at(cell: Cell, revision: int) -> bool:
    """Whether the cell's revision is, or may turn out to be, this one."""
    if cell.revision is not None:
        return cell.revision == revision
    if revision == 0:
        return cell.content is Content.ANYTHING and 0 not in cell.excluded
    return revision > cell.floor and revision not in cell.excluded


def read(cell: Cell, content: Hashable, revision: int) -> Cell | None:
    """The cell after it was seen to hold this."""
    if content != cell.content and cell.content is not Content.ANYTHING:
        return None
    return Cell(content, revision, max(cell.floor, revision)) if may_be_at(cell, revision) else None


def write(cell: Cell, expected: int | None, content: Hashable, revision: int | None) -> Cell | None:
    """The cell after a write over the expected revision (None: over any), which got a revision (None: not known)."""
    if expected is not None and not may_be_at(cell, expected):
        return None
    floor = max(cell.floor, expected or 0)
    if revision is None:
        return Cell(content, None, floor)
    return Cell(content, revision, revision) if revision > floor else None


def count(cell: Cell, amount: int, result: tuple[int, int] | None) -> Cell | None:
    """The cell after so much was added to its number, 0 where there is none; the answer may be lost."""
    total, revision = result if result is not None else (None, None)
    if cell.content is not Content.ANYTHING:
        before = 0 if cell.content is Content.ABSENT else cell.content
        assert isinstance(before, int), f"{before!r} is no number"
        if total is not None and total != before + amount:
            return None
        total = before + amount
    return write(cell, None, Content.ANYTHING if total is None else total, revision)


def remove(cell: Cell, expected: int | None) -> Cell | None:
    """The cell after its value was deleted at the expected revision (None: at any)."""
    if expected == 0 or not (may_be_at(cell, expected) if expected is not None else present(cell)):
        return None
    return Cell(floor=max(cell.floor, expected or 0))


def present(cell: Cell) -> bool:
    """Whether there is, or may be, a value."""
    return cell.content is not Content.ABSENT


def refuse(cell: Cell, expected: int) -> Cell | None:
    """The cell after a condition on its revision did not hold."""
    if cell.revision is not None:
        return cell if cell.revision != expected else None
    return cell._replace(excluded=cell.excluded | {expected}) if may_be_at(cell, expected) else cell


def range_of(cell: Cell) -> tuple[float, float]:
    """The least and the greatest revision that the cell may be at."""
    if cell.revision is not None:
        return cell.revision, cell.revision
    return (0 if cell.content is Content.ANYTHING else cell.floor + 1), inf


class Register:
    """Operations on one key, with argument -> result:

    get None -> (value, revision), or None where there is no value
    put value -> revision
    cas (expected revision, value) -> revision, or False; revision 0 means that there must be no value
    delete None or expected revision -> True or False
    incr amount -> (sum, revision); the content, if any, is a number
    """

    start = NEW
    anything = ANY

    def step(self, cell: Cell, operation: Operation) -> Cell | None:
        argument, result = operation.argument, operation.result
        match operation.kind:
            case "get":
                return read(cell, *result) if result is not None else read(cell, Content.ABSENT, 0)
            case "put":
                return write(cell, None, argument, result)
            case "cas":
                expected, value = argument
                return refuse(cell, expected) if result is False else write(cell, expected, value, result)
            case "incr":
                return count(cell, argument, result)
            case "delete" if result is not False:
                return remove(cell, argument)
            case "delete":
                return refuse(cell, argument) if argument is not None else read(cell, Content.ABSENT, 0)
            case other:
                raise ValueError(f"a register knows no {other}")

    def rank(self, operation: Operation) -> int | None:
        """The revision that the operation saw or made: what has a smaller one came before."""
        result = operation.result
        if operation.kind in ("get", "incr"):
            return result[1] if result is not None else None
        return result if operation.kind in ("put", "cas") and result is not False else None

    def needs(self, operation: Operation) -> int | None:
        """The revision that it is meant for."""
        expected: int | None = None
        if operation.kind == "cas":
            expected, _ = operation.argument
        elif operation.kind == "delete":
            expected = operation.argument
        return expected

    def at(self, cell: Cell) -> tuple[float, float]:
        return range_of(cell)

    def sharpen(self, history: Sequence[Operation]) -> list[Operation]:
        """Say of lost answers what other answers tell about them. Reads without an answer go."""
        if any(operation.kind == "incr" for operation in history):
            # A value that nobody saw is in the sums that came after it.
            return [operation for operation in history if operation.ret is not None or operation.kind != "get"]
        revisions: dict[Hashable, set[int]] = defaultdict(set)
        writers: dict[Hashable, int] = defaultdict(int)
        for operation in history:
            if operation.kind == "get" and isinstance(operation.result, tuple):
                revisions[operation.result[0]].add(operation.result[1])
            elif operation.kind in ("put", "cas"):
                writers[written(operation)] += 1

        def sharp(operation: Operation) -> Operation:
            if operation.ret is not None or operation.kind not in ("put", "cas"):
                return operation
            seen = revisions.get(written(operation), set())
            if not seen:
                return unseen(operation)
            return replace(operation, result=min(seen)) if len(seen) == writers[written(operation)] == 1 else operation

        return [sharp(operation) for operation in history if operation.ret is not None or operation.kind != "get"]


def written(operation: Operation) -> Hashable:
    value: Hashable = operation.argument[1] if operation.kind == "cas" else operation.argument
    return value


def unseen(operation: Operation) -> Operation:
    """Values that nobody ever saw are as good as equal, which spares the search all but one of them."""
    argument = operation.argument
    value = (argument[0], Content.UNSEEN) if operation.kind == "cas" else Content.UNSEEN
    return replace(operation, argument=value)


REGISTER = Register()
