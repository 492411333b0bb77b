"""Nodes with one rule of sharing broken on purpose: what the checks of modes must notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from peercron.core import dispatcher, line, placement, retry, shards, slices
from peercron.core.apply import condition, delivery, grant, key, order, standing
from peercron.core.apply.delivery import settle_item
from peercron.core.capacity import job_full, pool_full
from peercron.core.exclusion import lock_taken
from peercron.core.job import Definition, Mode
from peercron.core.limits import SLICE_ENTRIES_PER_RECORD_MAX
from peercron.core.lock import has_room
from peercron.core.placement import Choice, eligibility, standby
from peercron.core.queue import Item, Line
from peercron.core.run import AttemptState, Run
from peercron.core.shards import Orders
from peercron.core.state import ClusterState
from peercron.node import leases
from peercron.node.slice_journal import SliceJournal
from peercron.node.slice_telling import SliceTelling
from peercron.node.slices import Slices
from tests.sim.whole.cluster import Plan
from tests.sim.whole.mutants import Broken, instead
from tests.sim.whole.run import plan_of


@dataclass(frozen=True)
class Mutant:
    """Noticed by a finding of one of these kinds in a seed of these families; most need no faults for that.

    `seed`: the first at which it is known to be noticed.
    """

    broken: Broken
    families: tuple[str, ...]
    kinds: tuple[str, ...]
    faults: str = ""
    seed: int = 0
    seconds: float = 40.0

    def plan(self, seed: int) -> Plan:
        return replace(plan_of(seed, self.faults, self.seconds, members=3, work="modes"), families=self.families)


def hurdles_without(hurdle: Callable[..., Any]) -> Callable[[], AbstractContextManager[object]]:
    return instead(grant, "HURDLES", tuple(each for each in grant.HURDLES if each is not hurdle))


def all_at_once(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """Whoever contends has it."""
    if any(shard.state.value == "queued" for shard in live):
        return Orders(go=shards._queued(live))
    return contended(state, run, definition, live)


contended = shards._contended


def opens_for_the_first(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """The barrier opens as soon as somebody stands at it."""
    if any(shard.live_attempt and shard.live_attempt.state is AttemptState.READY for shard in live):
        return Orders(opens=True)
    return before_barrier(state, run, definition, live)


before_barrier = shards._before_barrier


def goes_on_in_order(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """One after another, however the one before ended."""
    return Orders() if len(shards._queued(live)) < len(live) else Orders(go=(live[0],))


def asks_for_a_quorum(self: Slices, now_ms: int) -> None:
    if self._telling._can_tell():
        fire(self, now_ms)


fire = Slices._fire


async def forgets_unheard(self: SliceTelling) -> None:
    """What nobody hears is not told later."""
    for uid in self._journal.jobs() if not self._can_tell() else ():
        for entry in self._journal.to_tell(uid, SLICE_ENTRIES_PER_RECORD_MAX):
            self._journal.told(uid, entry.slot_ms)
    await tell_all(self)


tell_all = SliceTelling._tell_all


def writes_nothing(self: SliceJournal) -> None:
    """What was begun is known to this boot alone."""
    self._pending, self._outgrown = [], False


def fires_while_it_holds(state: ClusterState, namespace: str, key: str, before: dict[str, bool]) -> None:
    cross(state, namespace, key, dict.fromkeys(before, False))


cross = condition.cross


def forgets_groups(self: Line, item: Item) -> bool:
    """Whoever is in a group is handed out like anybody else."""
    stand_in_group(self, item)
    self.behind = 0
    return True


stand_in_group = Line._stand_in_group


def one_more(lock: Any, grants: Any, now_ms: int, *, shared: bool) -> bool:
    return has_room(replace(lock, permits=lock.permits + 1), grants, now_ms, shared=shared)


def ends_early(now_s: float, ttl_ms: int) -> int:
    return int(now_s * 1_000 + ttl_ms * 0.5)


def by_the_last(state: ClusterState, job: Any, run: Run, candidates: Any) -> Any:
    """The last in order that is there."""
    return Choice(standby.in_order(state, job.definition, candidates)[-1], "the last")


def settles_all(state: ClusterState, token: int, reason: str, *, done: bool) -> None:
    del done
    settle_item(state, token, reason, done=True)


MUTANTS: dict[str, Mutant] = {
    # turns are fair
    "the head stays at the head": Mutant(
        instead(standing, "moved_back", lambda line, member_id: line), ("turns",), ("turns",)
    ),
    # who contends runs alone
    "contenders run together": Mutant(instead(shards, "_contended", all_at_once), ("contend",), ("two at once",)),
    # a barrier opens for all that are needed
    "nobody waits at the barrier": Mutant(
        instead(dispatcher, "at_barrier", lambda state, run: False), ("parallel",), ("barrier",)
    ),
    "the barrier opens for the first": Mutant(
        instead(shards, "_before_barrier", opens_for_the_first), ("parallel",), ("barrier",), seed=1
    ),
    "one success is enough": Mutant(instead(shards, "needed", lambda quorum, of: 1), ("parallel",), ("quorum",)),
    "an order goes on after a failure": Mutant(
        instead(shards, "_in_order", goes_on_in_order), ("parallel",), ("order",), seconds=120.0
    ),
    # slices need nobody, and are each once
    "slices ask for a quorum": Mutant(
        instead(Slices, "_fire", asks_for_a_quorum), ("slices",), ("slice missing",), "pq", seconds=80.0
    ),
    "slices have no guard": Mutant(instead(slices, "SLICE_GUARD_MS", 0), ("slices",), ("slices overlap",), seed=1),
    "slices are begun in memory": Mutant(
        instead(SliceJournal, "flush", writes_nothing), ("slices",), ("ran", "slice twice"), "kh", seconds=60.0
    ),
    "slices are told once": Mutant(
        instead(SliceTelling, "_tell_all", forgets_unheard), ("slices",), ("slice lost",), "pq", seconds=60.0
    ),
    # an edge fires once
    "a condition fires while it holds": Mutant(
        instead(key, "cross", fires_while_it_holds), ("condition",), ("condition",)
    ),
    # who comes after others waits for their end, and for how it was
    "failures count as success": Mutant(
        instead(order, "verdict_on", lambda require, heard: ""), ("chain",), ("after",)
    ),
    # limits hold
    "pools have no end": Mutant(hurdles_without(pool_full), ("bounded",), ("pool",)),
    "jobs have no limit": Mutant(hurdles_without(job_full), ("bounded",), ("per job",)),
    "locks keep nobody out": Mutant(hurdles_without(lock_taken), ("exclusive",), ("two at once",)),
    "one more than may": Mutant(instead(line, "has_room", one_more), ("places",), ("lock",)),
    "leases end early": Mutant(instead(leases, "_end_ms", ends_early), ("places",), ("lock lost early", "lock")),
    # retries wait
    "retries at once": Mutant(instead(retry, "pause_after_failure_ms", lambda run: 0), ("retried",), ("backoff",)),
    "one failure is enough": Mutant(instead(retry, "may_retry", lambda run: False), ("retried",), ("given up",)),
    # an item is done when its run has succeeded, and groups are strict
    "items are done whatever came of them": Mutant(
        instead(delivery, "settle_item", settles_all), ("fed",), ("items",), seconds=80.0
    ),
    "groups are forgotten": Mutant(
        instead(Line, "_stand_in_group", forgets_groups), ("mail",), ("group order", "delivery")
    ),
    # standby stays where it is, and not with who is not well
    "standby has no memory": Mutant(
        lambda: patch.dict(placement.MODES, {Mode.STANDBY: by_the_last}), ("standby",), ("standby", "no failback")
    ),
    "gives work to who is not well": Mutant(
        instead(eligibility, "unfit", lambda *_: ""), ("standby",), ("unfit",), seed=1, seconds=90.0
    ),
}
