"""What jobs of a seed of modes are like: a family of them for each way in which nodes share work."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from peercron.core.check import Check, CommandProbe
from peercron.core.job import (
    CommandTask,
    Definition,
    EveryTrigger,
    Failback,
    Guarantee,
    Losers,
    ManualTrigger,
    Misfire,
    MisfirePolicy,
    Mode,
    Overlap,
    Quorum,
)
from peercron.core.occasion import ConditionTrigger
from peercron.core.pace import Backoff, Concurrency, Require, Retry, RetryOn

NAMESPACE = "default"
POOL, POOL_SIZE = "pool", 2
LOCK = f"{NAMESPACE}/mutex"
CONDITION = 'state("stock") < 10'
STOCK = "stock"
FED_QUEUE = "fed"
#: Retries come no sooner than this after a failure.
RETRY_BASES_MS = (2_000, 4_000)
NEVER_OF_TERM = 1e9

Names = tuple[str, ...]


def chance(
    low_s: float, high_s: float, *, fails: float = 0.0, term_s: float = 0.1, refuses: float = 0.0
) -> CommandTask:
    """A command: what it takes, its chances to fail and not even to be started, and how long it lives after TERM."""
    return CommandTask(("chance", str(low_s), str(high_s), str(fails), str(term_s), str(refuses)))


def every(rng: random.Random, *seconds: int) -> EveryTrigger:
    return EveryTrigger(rng.choice(seconds) * 1_000, rng.choice((0, 1_234)))


def job(rng: random.Random, name: str, trigger: Any, task: CommandTask, **more: Any) -> Definition:
    usual: dict[str, Any] = {
        "overlap": rng.choice((Overlap.FORBID, Overlap.QUEUE_ONE)),
        "misfire": Misfire(rng.choice(list(MisfirePolicy))),
        "kill_grace_ms": rng.choice((500, 3_000)),
    }
    return Definition(name, trigger, task, **(usual | more))


def shuffled(rng: random.Random, names: Names) -> Names:
    return tuple(rng.sample(names, len(names)))


def turns(rng: random.Random, names: Names) -> list[Definition]:
    del names
    return [job(rng, "turns", every(rng, 2, 3, 5), chance(0.01, 0.8), mode=Mode.TURNS)]


def contend(rng: random.Random, names: Names) -> list[Definition]:
    more = {
        "mode": Mode.CONTEND,
        "losers": rng.choice(list(Losers)),
        "guarantee": rng.choice((Guarantee.AT_LEAST_ONCE, Guarantee.AT_LEAST_ONCE, Guarantee.AT_MOST_ONCE)),
    }
    long_s = rng.choice((1.0, 3.0, 6.0))
    task = chance(0.01, long_s, fails=rng.choice((0.0, 0.3)), term_s=rng.choice((0.1, 2.0, NEVER_OF_TERM)))
    return [job(rng, "contend", every(rng, 4, 8, 12), task, **more)]


def parallel(rng: random.Random, names: Names) -> list[Definition]:
    """One that starts together, one that does not, one after the order."""
    ways = (
        {"sync": True, "count": rng.choice((0, 0, 2))},
        {"count": rng.choice((0, 2))},
        {"order": shuffled(rng, names)},
    )
    jobs = []
    for name, way in zip(("together", "apart", "rolling"), ways, strict=True):
        task = chance(0.01, rng.choice((0.5, 4.0)), fails=rng.choice((0.0, 0.2)), refuses=rng.choice((0.0, 0.1)))
        more = {"mode": Mode.PARALLEL, "quorum": rng.choice(list(Quorum)), **way}
        jobs.append(job(rng, name, every(rng, 8, 12, 20), task, **more))
    return jobs


def slices(rng: random.Random, names: Names) -> list[Definition]:
    slice_s = rng.choice((6, 8, 10))
    long = rng.random() < 0.4
    task = chance(60, 60, term_s=rng.choice((0.1, NEVER_OF_TERM))) if long else chance(0.01, 0.5)
    trigger = EveryTrigger(slice_s * 1_000 if long else rng.choice((1_000, 2_000, 3_000)), rng.choice((0, 234)))
    more = {"mode": Mode.SLICE, "slice_ms": slice_s * 1_000, "nodes": shuffled(rng, names)}
    return [job(rng, "slices", trigger, task, **more, overlap=Overlap.FORBID)]


def standby(rng: random.Random, names: Names) -> list[Definition]:
    shared = {"mode": Mode.STANDBY, "nodes": shuffled(rng, names), "failback_after_ms": 1_000}
    plain = job(
        *(rng, "standby", every(rng, 2, 3), chance(0.01, 0.8)),
        **shared,
        failback=rng.choice((Failback.AUTO, Failback.AUTO, Failback.NEVER)),
    )
    check = Check("service", CommandProbe(("service", "web")), interval_ms=1_000, timeout_ms=1_000, rise=2, fall=2)
    checked = job(rng, "checked", every(rng, 2, 3), chance(0.01, 0.8), **shared, checks=(check,))
    return [plain, checked]


def retried(rng: random.Random, names: Names) -> list[Definition]:
    del names
    retry = Retry(
        max=rng.choice((1, 2, 4)),
        backoff=rng.choice(list(Backoff)),
        base_ms=rng.choice(RETRY_BASES_MS),
        cap_ms=8_000,
        jitter=rng.random() < 0.5,
        on=rng.choice(list(RetryOn)),
    )
    task = chance(0.01, 1.0, fails=rng.choice((0.4, 0.8)))
    return [job(rng, "retried", every(rng, 8, 12), task, retry=retry, overlap=Overlap.FORBID)]


def bounded(rng: random.Random, names: Names) -> list[Definition]:
    """More than the pool has places for; some may be alive many at a time."""
    del names
    task = chance(0.5, rng.choice((3.0, 8.0)), term_s=rng.choice((0.1, 2.0, NEVER_OF_TERM)))
    pooled = [job(rng, f"pooled{n}", every(rng, 3, 5, 8), task, pool=POOL) for n in range(3)]
    limit = Concurrency(per_node=rng.choice((0, 1)), per_job=rng.choice((1, 2)))
    crowd = job(rng, "crowd", every(rng, 3, 4), chance(0.5, 6.0), overlap=Overlap.ALLOW, concurrency=limit)
    return [*pooled, crowd]


def exclusive(rng: random.Random, names: Names) -> list[Definition]:
    del names
    task = chance(0.5, rng.choice((2.0, 6.0)), term_s=rng.choice((0.1, 2.0, NEVER_OF_TERM)))
    return [job(rng, f"locked{n}", every(rng, 3, 5, 8), task, lock=LOCK) for n in range(3)]


def chain(rng: random.Random, names: Names) -> list[Definition]:
    """Two that begin, one that comes after one of them, one that comes after both."""
    del names
    both = (f"{NAMESPACE}/begin0", f"{NAMESPACE}/begin1")
    starts = [job(rng, f"begin{n}", every(rng, 5, 8), chance(0.01, 2.0, fails=0.3)) for n in range(2)]
    follow = {"overlap": Overlap.ALLOW}
    trigger = ManualTrigger()
    one = job(
        *(rng, "after-one", trigger, chance(0.01, 1.0)),
        after=both[:1],
        require=rng.choice(list(Require)),
        **follow,
    )
    two = job(
        *(rng, "after-two", trigger, chance(0.01, 1.0)),
        after=both,
        require=rng.choice((Require.ALL_SUCCEEDED, Require.ALL_DONE)),
        **follow,
    )
    return [*starts, one, two]


def condition(rng: random.Random, names: Names) -> list[Definition]:
    del names
    overlap = rng.choice((Overlap.ALLOW, Overlap.ALLOW, Overlap.FORBID))
    return [job(rng, "low-stock", ConditionTrigger(CONDITION), chance(0.01, 2.0), overlap=overlap)]


def fed(rng: random.Random, names: Names) -> list[Definition]:
    """A job whose runs are the items of a queue."""
    del names
    task = chance(0.01, 1.5, fails=rng.choice((0.1, 0.3)))
    more = {"queue": f"{NAMESPACE}/{FED_QUEUE}", "concurrency": Concurrency(per_node=rng.choice((1, 2)))}
    return [job(rng, "fed", ManualTrigger(), task, **more)]


FAMILIES: dict[str, Callable[[random.Random, Names], list[Definition]]] = {
    "turns": turns,
    "contend": contend,
    "parallel": parallel,
    "slices": slices,
    "standby": standby,
    "retried": retried,
    "bounded": bounded,
    "exclusive": exclusive,
    "chain": chain,
    "condition": condition,
    "fed": fed,
}
