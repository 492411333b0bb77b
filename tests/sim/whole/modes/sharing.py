"""Checks of how nodes share a job: turns, standby, contend, parallel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from peercron.core.job import Definition, Failback, Guarantee, Losers, Quorum
from tests.sim.whole.checker import Line
from tests.sim.whole.guardian import Held, Ran
from tests.sim.whole.host import EPOCH_MS
from tests.sim.whole.modes.weather import Calm, Weather
from tests.sim.whole.work import Life

Found = Iterator[tuple[str, str]]

#: A start may still be on its way, and an end be untold, for so long.
ON_ITS_WAY_S = 2.0
#: In a calm, those that start together do so within this.
TOGETHER_S = 1.0
#: The longest that an earlier node is made to wait after many falls, as a multiple of what the job asks.
FLAPS_AT_MOST = 32
#: A check that turned bad is known to all after this.
VERDICT_S = 12.0


def of_job(life: Life, ran: Iterable[Ran]) -> list[Ran]:
    return [one for one in ran if one.run_id.startswith(f"{life.uid}/")]


def of_runs(ran: Iterable[Ran]) -> dict[str, list[Ran]]:
    """Run id -> what ran of it, with its shards."""
    found: dict[str, list[Ran]] = defaultdict(list)
    for one in ran:
        found[one.run_id.partition("#")[0]].append(one)
    return found


def in_calm(ran: Iterable[Ran], calm: Calm) -> list[Ran]:
    """Those that started in it, by token."""
    inside = (one for one in ran if calm.has(one.start_s, one.start_s + ON_ITS_WAY_S))
    return sorted(inside, key=lambda one: one.token)


def at_s(line: Line) -> float:
    return (line.slot_ms - EPOCH_MS) / 1_000


# Turns.


def check_turns(life: Life, ran: Iterable[Ran], weather: Weather, hosts: Sequence[str]) -> Found:
    """While all are well, of as many starts as there are nodes each node has one."""
    mine = of_job(life, ran)
    for calm in weather.calms:
        inside = in_calm(mine, calm)
        for first in range(len(inside) - len(hosts) + 1):
            some = inside[first : first + len(hosts)]
            if len({one.host for one in some}) < len(hosts):
                yield "turns", f"{life.key}: {[(one.host, one.token) for one in some]}"
                break


# Standby.


def check_standby(life: Life, ran: Iterable[Ran], weather: Weather) -> Found:
    """While all are well the job stays where it is, or goes back to an earlier node, which it does in the end."""
    definition = life.definitions[0].what
    # What was lost before may be tried again elsewhere; that moves nothing.
    order, mine = definition.nodes, [one for one in of_job(life, ran) if one.n == 1]
    back_s = definition.failback_after_ms / 1_000 * FLAPS_AT_MOST + ON_ITS_WAY_S
    for calm in weather.calms:
        inside = in_calm(mine, calm)
        places = [order.index(one.host) for one in inside]
        for earlier, later in pairwise(places):
            if later > earlier or (later < earlier and definition.failback is Failback.NEVER):
                yield "standby", f"{life.key}: from {order[earlier]} to {order[later]} (of {order}) in {calm}"
        late = [place for one, place in zip(inside, places, strict=True) if one.start_s > calm.from_s + back_s]
        if definition.failback is Failback.AUTO and any(late):
            yield "no failback", f"{life.key}: {order[max(late)]} has it in {calm}, and {order[0]} is well"


def check_checked(
    life: Life, ran: Iterable[Ran], weather: Weather, outages: Iterable[tuple[str, float, float]]
) -> Found:
    """A node whose service is broken is given nothing, once that is known."""
    mine = of_job(life, ran)
    for host, from_s, to_s in outages:
        late = (one for one in mine if one.host == host and from_s + VERDICT_S < one.start_s < to_s)
        for one in late:
            if weather.calm_at(one.start_s - VERDICT_S, one.start_s) is not None:
                yield "unfit", f"{life.key}: {one}, and its service was broken since {from_s:.3f}s"


# Contend.


def check_contend(
    life: Life, lines: Iterable[Line], ran: Iterable[Ran], weather: Weather, hosts: Sequence[str]
) -> Found:
    """One at a time, under larger tokens; who loses waits, or does nothing."""
    definition, mine = life.definitions[0].what, of_job(life, ran)
    yield from one_at_a_time(life.key, mine)
    once = definition.guarantee is Guarantee.AT_MOST_ONCE
    runs = of_runs(mine)
    for line in lines:
        of_run = runs.get(line.run_id, [])
        yield from _outcome_of_contest(line, of_run)
        if once and max(Counter(one.run_id for one in of_run).values(), default=0) > 1:
            yield "at most once", f"{line.run_id} started {len(of_run)} times"
        if not of_run or not _whole_in_calm(line, of_run, weather):
            continue
        if definition.losers is Losers.SKIP and sum(one.succeeded for one in of_run) > 1:
            yield "losers", f"{line.run_id}: {of_run}"
        all_done = definition.losers is Losers.WAIT and line.outcome in ("succeeded", "failed")
        if all_done and sorted(one.host for one in of_run) != sorted(hosts):
            yield "losers", f"{line.run_id}: only {[one.host for one in of_run]} ran"


def _outcome_of_contest(line: Line, of_run: Sequence[Ran]) -> Found:
    if line.outcome == "succeeded" and not any(one.succeeded for one in of_run):
        yield "not succeeded", f"{line.run_id}: {of_run}"
    if line.outcome in ("skipped", "missed") and of_run:
        yield "ran", f"{line.run_id} is {line.outcome} ({line.reason}), but it ran"


def one_at_a_time(what: str, ran: Iterable[Ran]) -> Found:
    last: Ran | None = None
    for one in sorted(ran, key=lambda one: one.start_s):
        if last is not None and one.start_s < last.end_s:
            yield "two at once", f"{what}: {last} was alive when {one} started"
        if last is not None and one.token <= last.token:
            yield "token", f"{what}: {one} came after {last}"
        last = one if last is None or one.end_s >= last.end_s else last


def _whole_in_calm(line: Line, of_run: Sequence[Ran], weather: Weather) -> bool:
    """Whether all of the run was in one calm."""
    begun_s = min(at_s(line), *(one.start_s for one in of_run))
    return weather.calm_at(begun_s - 1.0, max(one.end_s for one in of_run) + ON_ITS_WAY_S) is not None


# Parallel.


def needed(quorum: Quorum, shards: int) -> int:
    return {Quorum.ALL: shards, Quorum.MAJORITY: shards // 2 + 1, Quorum.ANY: 1}[quorum]


def check_parallel(
    life: Life,
    lines: Iterable[Line],
    ran: Iterable[Ran],
    held: Iterable[Held],
    weather: Weather,
    hosts: Sequence[str],
) -> Found:
    """The outcome is as declared; a barrier keeps all or lets enough through; an order is kept."""
    definition, runs = life.definitions[0].what, of_runs(of_job(life, ran))
    prepared: dict[str, list[Held]] = defaultdict(list)
    for one in held:
        prepared[one.run_id.partition("#")[0]].append(one)
    for line in lines:
        of_run = runs.get(line.run_id, [])
        yield from _ran_well(line, of_run, definition, weather, hosts)
        if definition.sync:
            yield from _barrier(line.run_id, of_run, prepared[line.run_id], definition, weather)
        if definition.order:
            yield from _order(line.run_id, of_run, definition)


def _ran_well(
    line: Line, of_run: Sequence[Ran], definition: Definition, weather: Weather, hosts: Sequence[str]
) -> Found:
    if line.outcome in ("skipped", "missed", "succeeded") and not of_run:
        if line.outcome == "succeeded":
            yield "not succeeded", f"{line.run_id}: nothing of it ran"
        return
    if not of_run:
        return
    shards = of_run[0].shards
    if len({one.shard for one in of_run}) < len(of_run) or len({one.host for one in of_run}) < len(of_run):
        yield "shards", f"{line.run_id}: {of_run}"
    done = [one for one in of_run if one.succeeded]
    enough = needed(definition.quorum, shards)
    if line.outcome == "succeeded" and len(done) < enough:
        yield "quorum", f"{line.run_id} succeeded with {len(done)} of {shards} ({definition.quorum})"
    told = [one for one in done if weather.calm_at(one.start_s, one.end_s + ON_ITS_WAY_S) is not None]
    if line.outcome not in ("succeeded", "cancelled") and len(told) >= enough:
        yield "quorum", f"{line.run_id} is {line.outcome} with {len(told)} of {shards} ({definition.quorum})"
    wanted = definition.count or len(definition.order) or len(hosts)
    if shards != min(wanted, len(hosts)) and _whole_in_calm(line, of_run, weather):
        yield "shards", f"{line.run_id} has {shards}, while all were well"


def _barrier(
    run_id: str, of_run: Sequence[Ran], prepared: Sequence[Held], definition: Definition, weather: Weather
) -> Found:
    """Nobody starts before enough are prepared; then all start, and together."""
    for one in of_run:
        ready = {held.run_id for held in prepared if held.at_s <= one.start_s}
        if len(ready) < needed(definition.quorum, one.shards):
            yield "barrier", f"{one} started, and only {sorted(ready)} were prepared"
    starts = [one.start_s for one in of_run]
    if not starts or weather.calm_at(min(starts) - 1.0, max(starts) + ON_ITS_WAY_S) is None:
        return
    if max(starts) - min(starts) > TOGETHER_S:
        yield "barrier", f"{run_id}: its shards started {max(starts) - min(starts):.3f}s apart"
    if len(of_run) < needed(definition.quorum, of_run[0].shards):
        yield "barrier", f"{run_id}: {[one.host for one in of_run]} started, and no others"


def _order(run_id: str, of_run: Sequence[Ran], definition: Definition) -> Found:
    """One after another as the job's order has them; no further after one that did not succeed."""
    by_shard = sorted(of_run, key=lambda one: one.shard)
    places = [definition.order.index(one.host) for one in by_shard]
    if places != sorted(places):
        yield "order", f"{run_id}: {[one.host for one in by_shard]} against {definition.order}"
    for earlier, later in pairwise(by_shard):
        if later.start_s < earlier.end_s:
            yield "order", f"{run_id}: {later} started before the end of {earlier}"
    if definition.quorum is not Quorum.ANY:
        last = by_shard[-1].shard if by_shard else -1
        succeeded = {one.shard for one in by_shard if one.succeeded}
        missing = [shard for shard in range(last) if shard not in succeeded]
        if missing:
            yield "order", f"{run_id}: shard {last} ran, and {missing} did not succeed"


def runs_follow(life: Life, ran: Iterable[Ran]) -> Found:
    """Runs of shards do not overlap each other."""
    last_id, last_end_s = "", 0.0
    runs: Mapping[str, list[Ran]] = of_runs(of_job(life, ran))
    for run_id, of_run in sorted(runs.items(), key=lambda item: min(one.start_s for one in item[1])):
        if min(one.start_s for one in of_run) < last_end_s:
            yield "overlap", f"{life.key}: {last_id} was alive when {run_id} started"
        end_s = max(one.end_s for one in of_run)
        if end_s >= last_end_s:
            last_id, last_end_s = run_id, end_s
