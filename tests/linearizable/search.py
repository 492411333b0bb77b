"""The search for an order that explains all answers (Wing and Gong, with Lowe's memory of what was tried)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import inf
from typing import Any, Protocol

from tests.linearizable.history import Operation, Undecided, Violation, by_key, since, until

#: Calls of a model's step for one key; a good history needs a few for each operation.
STEPS_MAX = 3_000_000


class Model(Protocol):
    """What one key does. States are hashable; a step that cannot be answers None."""

    @property
    def start(self) -> Any: ...

    @property
    def anything(self) -> Any:
        """A state that stands for all states."""
        ...

    def step(self, state: Any, operation: Operation, /) -> Any | None:
        """What the operation leaves behind, if it can have had its result here. A lost answer can be any."""
        ...

    def rank(self, operation: Operation, /) -> int | None:
        """A number that `step` never lets go down from one operation to a later one; None: it has none."""
        ...

    def sharpen(self, history: Sequence[Operation], /) -> list[Operation]:
        """The same history, saying more of lost answers, without those that can change nothing."""
        ...


def check(history: Iterable[Operation], model: Model, *, steps_max: int = STEPS_MAX) -> Violation | None:
    """None: every key's history is linearizable. Raises Undecided when the search for one takes too long."""
    for key, part in by_key(history).items():
        sharp = model.sharpen(part)
        if not Search(sharp, model, model.start, steps_max).succeeds():
            return violation(key, part, sharp, model, steps_max)
    return None


def violation(
    key: Hashable, part: Sequence[Operation], sharp: Sequence[Operation], model: Model, steps_max: int
) -> Violation:
    """The shortest stretch that cannot be explained. Both its ends are found by halving: what is longer stays bad."""

    def bad(stretch: Sequence[Operation], state: Any) -> bool:
        return not Search(stretch, model, state, steps_max).succeeds()

    ends = sorted({o.ret for o in sharp if o.ret is not None})
    last = first_true(range(len(ends)), lambda i: bad(until(sharp, ends[i]), model.start))
    stretch = until(sharp, ends[last])
    calls = sorted({o.call for o in stretch})
    # The last call that it can begin with and still is bad, counted back from zero; 1: none, it takes the start too.
    latest = first_true(range(1 - len(calls), 2), lambda i: i > 0 or bad(since(stretch, calls[-i]), model.anything))
    if latest <= 0:
        stretch = since(stretch, calls[-latest])
    shown = {(o.client, o.kind, o.call) for o in stretch}
    return Violation(key, tuple(o for o in part if (o.client, o.kind, o.call) in shown), from_start=latest > 0)


def first_true(numbers: range, condition: Callable[[int], bool]) -> int:
    """The first number for which a condition holds that holds for all that follow, the last one among them."""
    return numbers[bisect_left(numbers, True, key=condition)]


class Search:
    """One key's history, in order of calls."""

    def __init__(self, history: Sequence[Operation], model: Model, state: Any, steps_max: int) -> None:
        self._model, self._state, self._steps_max = model, state, steps_max
        self._answered = [o for o in history if o.ret is not None]
        self._lost = [o for o in history if o.ret is None]
        self._ends = [o.ret if o.ret is not None else inf for o in self._answered]
        self._ranks = [[model.rank(o) for o in part] for part in (self._answered, self._lost)]
        self._left = Counter(rank for rank in self._ranks[0] if rank is not None)
        self._order = sorted(self._left)
        #: Lost ones that are equal are tried in order of their calls: whichever is taken, the rest can do the same.
        self._equal_before = [
            next((j for j in range(i - 1, -1, -1) if same(o, self._lost[j])), None) for i, o in enumerate(self._lost)
        ]
        self.steps = 0

    def succeeds(self) -> bool:
        """Whether some order explains all answers; lost operations may stay out of it."""
        state, first, done, used, lowest = self._state, 0, 0, 0, 0
        tried: set[Hashable] = set()
        # One frame for each operation in the order so far: what to go back to, and what else there is to try there.
        stack: list[tuple[Any, ...]] = []
        choices = self._choices(first, done, used, lowest)
        while first < len(self._answered):
            for answered, i in choices:
                after = self._step(state, (self._answered if answered else self._lost)[i])
                if after is None:
                    continue
                now = self._moved(first, done, used, answered, i)
                if (*now, after) in tried:
                    continue
                tried.add((*now, after))
                stack.append((state, first, done, used, lowest, choices, i if answered else None))
                state, (first, done, used) = after, now
                lowest = self._take(i, lowest) if answered else lowest
                choices = self._choices(first, done, used, lowest)
                break
            else:
                if not stack:
                    return False
                state, first, done, used, lowest, choices, given_back = stack.pop()
                if given_back is not None and (rank := self._ranks[0][given_back]) is not None:
                    self._left[rank] += 1
        return True

    def _choices(self, first: int, done: int, used: int, lowest: int) -> Iterator[tuple[bool, int]]:
        """What may come next: whatever was asked before the earliest end of what is left; lost ones last."""
        found, end = [], inf
        for i in range(first, len(self._answered)):
            if self._answered[i].call > end:
                break
            if not done >> (i - first) & 1:
                found.append(i)
                end = min(end, self._ends[i])
        rank_max = self._order[lowest] if lowest < len(self._order) else inf
        yield from ((True, i) for i in found if self._answered[i].call <= end and fits(self._ranks[0][i], rank_max))
        for i, operation in enumerate(self._lost):
            if operation.call > end:
                return
            twin = self._equal_before[i]
            if not used >> i & 1 and (twin is None or used >> twin & 1) and fits(self._ranks[1][i], rank_max):
                yield False, i

    def _step(self, state: Any, operation: Operation) -> Any | None:
        self.steps += 1
        if self.steps > self._steps_max:
            raise Undecided(
                f"{operation.key}: {len(self._answered)} operations and {len(self._lost)} with lost answers are not"
                f" decided after {self._steps_max} steps"
            )
        return self._model.step(state, operation)

    def _moved(self, first: int, done: int, used: int, answered: bool, i: int) -> tuple[int, int, int]:
        """Where the order stands with one more: the first that is left, a bit for each done one from there on, and a
        bit for each lost one in use."""
        if not answered:
            return first, done, used | 1 << i
        done |= 1 << (i - first)
        while done & 1:
            first, done = first + 1, done >> 1
        return first, done, used

    def _take(self, i: int, lowest: int) -> int:
        """Count a rank as used; answers the place of the lowest one that is left."""
        if (rank := self._ranks[0][i]) is not None:
            self._left[rank] -= 1
        while lowest < len(self._order) and not self._left[self._order[lowest]]:
            lowest += 1
        return lowest


def fits(rank: int | None, rank_max: float) -> bool:
    return rank is None or rank <= rank_max


def same(one: Operation, other: Operation) -> bool:
    """Whether two lost operations differ by nothing but who asked and when."""
    return (one.kind, one.argument, one.result) == (other.kind, other.argument, other.result)
