"""The search for an order that explains all answers (Wing and Gong, with Lowe's memory of what was tried)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
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

    def needs(self, operation: Operation, /) -> int | None:
        """The only `at` of a state in which the operation can do something; None: any may do."""
        ...

    def at(self, state: Any, /) -> tuple[float, float]:
        """The least and the greatest number that this state may stand at."""
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


#: What it leaves behind, whether it was answered, and its number among the answered or the lost ones.
Choice = tuple[Any, bool, int]


@dataclass(frozen=True, slots=True)
class Place:
    """How far an order has come."""

    state: Any
    #: The first answered operation that is not in it, and a bit for each from there on that is.
    first: int = 0
    done: int = 0
    #: A bit for each lost operation that is in it.
    used: int = 0
    #: Which of the ranks in their order is the lowest that is left.
    lowest: int = 0

    def moved(self, state: Any, answered: bool, i: int) -> Place:
        """One operation further; `lowest` stays."""
        if not answered:
            return Place(state, self.first, self.done, self.used | 1 << i, self.lowest)
        first, done = self.first, self.done | 1 << (i - self.first)
        while done & 1:
            first, done = first + 1, done >> 1
        return Place(state, first, done, self.used, self.lowest)


class Search:
    """One key's history, in order of calls."""

    def __init__(self, history: Sequence[Operation], model: Model, state: Any, steps_max: int) -> None:
        self._model, self._state, self._steps_max = model, state, steps_max
        self._answered = [o for o in history if o.ret is not None]
        self._lost = [o for o in history if o.ret is None]
        self._ends = [o.ret if o.ret is not None else inf for o in self._answered]
        self._ranks = [model.rank(o) for o in self._answered]
        self._left = Counter(rank for rank in self._ranks if rank is not None)
        self._order = sorted(self._left)
        self._sort_lost()
        self.steps = 0

    def _sort_lost(self) -> None:
        """Group the lost ones, so that of hundreds only those are tried that may do something.

        Equal ones make a group and are used in order of their calls: whichever is taken, the rest can do the same.
        """
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for i, o in enumerate(self._lost):
            groups[o.kind, o.argument, o.result].append(i)
        self._at_any_time: list[list[int]] = []
        self._at_rank: dict[float | None, list[list[int]]] = defaultdict(list)
        at_need: list[tuple[int, list[int]]] = []
        for group in groups.values():
            first = self._lost[group[0]]
            if (need := self._model.needs(first)) is not None:
                at_need.append((need, group))
            elif (rank := self._model.rank(first)) in self._left:
                self._at_rank[rank].append(group)
            else:
                self._at_any_time.append(group)
        at_need.sort()
        self._needs = [need for need, _ in at_need]
        self._at_need = [group for _, group in at_need]

    def succeeds(self) -> bool:
        """Whether some order explains all answers; lost operations may stay out of it."""
        place = Place(self._state)
        # Where the order stood before -> with which lost ones in use. To have used more for the same is no better.
        tried: dict[Hashable, list[int]] = {(place.state, place.first, place.done): [0]}
        # For each operation in the order so far: the place before it, what else there is to try there, its rank.
        stack: list[tuple[Place, Iterator[Choice], int | None]] = []
        choices = self._choices(place)
        while place.first < len(self._answered):
            for after, answered, i in choices:
                then = place.moved(after, answered, i)
                before = tried.setdefault((then.state, then.first, then.done), [])
                if any(mask & ~then.used == 0 for mask in before):
                    continue
                before.append(then.used)
                rank = self._ranks[i] if answered else None
                stack.append((place, choices, rank))
                place = then if rank is None else replace(then, lowest=self._taken(rank, place.lowest))
                choices = self._choices(place)
                break
            else:
                if not stack:
                    return False
                place, choices, rank = stack.pop()
                if rank is not None:
                    self._left[rank] += 1
        return True

    def _choices(self, place: Place) -> Iterator[Choice]:
        """What may come next and what it leaves behind."""
        found, end = self._next_answered(place)
        lowest_rank = self._order[place.lowest] if place.lowest < len(self._order) else inf
        changing = []
        for i in found:
            rank = self._ranks[i]
            if rank is None or rank <= lowest_rank:
                after = self._step(place.state, self._answered[i])
                if after == place.state:  # it can be here, and disturbs nobody: no other choice is better
                    yield after, True, i
                    return
                if after is not None:
                    changing.append((after, True, i))
        yield from changing
        low, high = self._model.at(place.state)
        needed = self._at_need[bisect_left(self._needs, low) : bisect_right(self._needs, high)]
        for group in chain(self._at_rank.get(lowest_rank, ()), needed, self._at_any_time):
            unused = next((i for i in group if not place.used >> i & 1), None)
            if unused is not None and self._lost[unused].call <= end:
                after = self._step(place.state, self._lost[unused])
                if after is not None:
                    yield after, False, unused

    def _next_answered(self, place: Place) -> tuple[list[int], float]:
        """Those left that were asked before the earliest end of what is left; and that end."""
        found, end = [], inf
        for i in range(place.first, len(self._answered)):
            if self._answered[i].call > end:
                break
            if not place.done >> (i - place.first) & 1:
                found.append(i)
                end = min(end, self._ends[i])
        return [i for i in found if self._answered[i].call <= end], end

    def _step(self, state: Any, operation: Operation) -> Any | None:
        self.steps += 1
        if self.steps > self._steps_max:
            raise Undecided(
                f"{operation.key}: {len(self._answered)} operations and {len(self._lost)} with lost answers are not"
                f" decided after {self._steps_max} steps"
            )
        return self._model.step(state, operation)

    def _taken(self, rank: int, lowest: int) -> int:
        """Count a rank as used; answers the place of the lowest one that is left."""
        self._left[rank] -= 1
        while lowest < len(self._order) and not self._left[self._order[lowest]]:
            lowest += 1
        return lowest
