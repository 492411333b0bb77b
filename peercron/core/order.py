"""Order: which jobs come after which, and what a job has heard of those that it waits for.

A job with `after` has no slots of its own. With `all_succeeded` and `all_done` it waits until it has heard of each of
its upstream jobs; then all that it heard is used up, and it runs or is skipped, with the reason. What it hears of one
upstream again before that takes the place of what it heard before. With `any_succeeded` it runs after each success of
any of them, and failures pass by unheard.

What is heard of are ends of runs, and slots that were skipped because an upstream had failed, so that a whole chain is
told. A slot that never became a run for another reason (a pause, an overlap, a gap) is no end of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from peercron.core.pace import Require
from peercron.core.run import RunState

#: The upstreams of a job, by key; what has none has no order.
After = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Heard:
    """How an upstream job ended since the last time that all were heard of."""

    outcome: RunState
    run_id: str


def cycle(keys: Iterable[str], after: After) -> tuple[str, ...]:
    """Jobs that wait for each other, the first one again at the end; empty: those of `keys` wait in no circle.

    >>> cycle(["a"], {"a": ("b",), "b": ("a",)}.__getitem__)
    ('a', 'b', 'a')
    """
    done = set[str]()
    for first in keys:
        path: dict[str, list[str]] = {first: list(after(first))} if first not in done else {}
        while path:
            key, rest = next(reversed(path.items()))
            if not rest:
                done.add(key)
                del path[key]
                continue
            upstream = rest.pop()
            if upstream in path:
                names = list(path)
                return (*names[names.index(upstream) :], upstream)
            if upstream not in done:
                path[upstream] = list(after(upstream))
    return ()


def verdict_on(require: Require, heard: Mapping[str, Heard]) -> str:
    """Why a job that has heard of all its upstreams does not run; empty: it runs."""
    if require is not Require.ALL_SUCCEEDED:
        return ""
    bad = [f"{key} {said.outcome.value}" for key, said in heard.items() if said.outcome is not RunState.SUCCEEDED]
    return f"{', '.join(bad)} (require {require.value})" if bad else ""
