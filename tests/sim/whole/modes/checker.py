"""Checker of modes: each kind of job by its own rules, and the rules that all have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from peercron.core.job import EveryTrigger, Mode, Overlap
from tests.sim.whole.checker import (
    Ledgers,
    Line,
    check_attempts,
    check_keys,
    check_manual,
    check_outcomes,
    check_serial,
    check_slots,
    check_tokens,
)
from tests.sim.whole.guardian import Held, Ran
from tests.sim.whole.modes import goods, holding, jobs, sharing, slices
from tests.sim.whole.modes.sharing import at_s
from tests.sim.whole.modes.weather import Weather
from tests.sim.whole.modes.work import ModesWork
from tests.sim.whole.work import Life

Found = Iterator[tuple[str, str]]
#: Values at which the condition of `jobs` holds.
HOLDS = range(10)
SHARED = frozenset({Mode.PARALLEL, Mode.CONTEND})
#: Modes that are told otherwise what must not be at once.
OTHERWISE = frozenset({Mode.SLICE, Mode.CONTEND})


def judge(work: ModesWork, ledgers: Ledgers, ran: Sequence[Ran], end_s: float, read_s: float) -> Found:
    """See `checker.judge`."""
    work.weather.close(read_s)
    yield from check_keys(work.history)
    yield from _check_common(work, ledgers, ran)
    for life in work.lives:
        lines = ledgers.get(life.uid, ())
        definition = life.definitions[0].what
        if isinstance(definition.trigger, EveryTrigger) and definition.mode is not Mode.SLICE:
            yield from check_slots(life, lines, end_s, read_s)
            yield from _check_no_misses(life, lines, work.weather)
        yield from check_manual(life, lines)
        yield from _check_runs(life, lines, ran)
        yield from _check_mode(work, life, lines, ran, work.cluster.held, end_s)
    yield from _check_together(work, ledgers, ran)
    _count(work, ran)


def _count(work: ModesWork, ran: Sequence[Ran]) -> None:
    """What there was to look at; where nothing was, nothing is shown."""
    tally, weather, hosts = work.tally, work.weather, tuple(work.cluster.hosts)
    for life in work.lives:
        definition, mine = life.definitions[0].what, sharing.of_job(life, ran)
        tally[f"starts of {definition.mode}"] += len(mine)
        if definition.mode is Mode.TURNS:
            tally["turns in calms"] += sum(len(sharing.in_calm(mine, calm)) for calm in weather.calms)
        if definition.mode is Mode.CONTEND:
            tally["holders killed"] += sum(one.struck for one in mine)
        if definition.mode is Mode.SLICE:
            tally["slices owed"] += len(list(slices.owed(life, weather, work.until_s)))
    tally["barriers"] += len({held.run_id.partition("#")[0] for held in work.cluster.held})
    tally["crossings"] += holding.crossings(work.stock, HOLDS)
    tally["items acknowledged"] += sum(bool(delivery.acked) for delivery in work.mail.deliveries)
    tally["holds of locks"] += len(work.places.holds)
    tally["calms"] += len(weather.calms)
    tally["hosts"] += len(hosts)


def _check_common(work: ModesWork, ledgers: Ledgers, ran: Sequence[Ran]) -> Found:
    alone = {life.uid for life in work.lives if life.definitions[0].what.mode is Mode.SLICE}
    contended = {life.uid for life in work.lives if life.definitions[0].what.mode is Mode.CONTEND}
    known = {line.run_id for lines in ledgers.values() for line in lines}
    by_run: dict[str, list[Ran]] = defaultdict(list)
    for one in ran:
        by_run[one.run_id].append(one)
    for run_id, attempts in by_run.items():
        if run_id.partition("#")[0] not in known:
            yield "ran unknown", f"{run_id} ran, and no ledger knows it"
        if run_id.partition("/")[0] not in contended:
            yield from check_attempts(run_id, attempts)
    # In slices nobody grants anything, so there are no tokens.
    yield from check_tokens([one for one in ran if one.run_id.partition("/")[0] not in alone])


def _check_no_misses(life: Life, lines: Iterable[Line], weather: Weather) -> Found:
    """While all are well, no slot goes by unseen."""
    for line in lines:
        if line.outcome == "missed" and weather.calm_at(at_s(line) - 1.0, at_s(line) + 5.0) is not None:
            yield "missed", f"{line.run_id} of {life.key}, while all were well: {line.reason}"


def _check_runs(life: Life, lines: Sequence[Line], ran: Sequence[Ran]) -> Found:
    definition, mine = life.definitions[0].what, sharing.of_job(life, ran)
    if definition.mode not in SHARED:
        told = [line for line in lines if line.outcome != "lost"] if definition.mode is Mode.SLICE else lines
        by_run = {one.run_id: [each for each in mine if each.run_id == one.run_id] for one in mine}
        yield from check_outcomes(life, told, by_run)
    if definition.mode is Mode.PARALLEL:
        yield from sharing.runs_follow(life, mine)
    elif definition.overlap is not Overlap.ALLOW and definition.mode not in OTHERWISE and not definition.queue:
        yield from check_serial(life, mine)


def _check_mode(
    work: ModesWork, life: Life, lines: Sequence[Line], ran: Sequence[Ran], held: Sequence[Held], end_s: float
) -> Found:
    definition, weather, hosts = life.definitions[0].what, work.weather, tuple(work.cluster.hosts)
    match definition.mode:
        case Mode.TURNS:
            yield from sharing.check_turns(life, ran, weather, hosts)
        case Mode.CONTEND:
            yield from sharing.check_contend(life, lines, ran, weather, hosts)
        case Mode.PARALLEL:
            yield from sharing.check_parallel(life, lines, ran, held, weather, hosts)
        case Mode.SLICE:
            yield from slices.check_slices(life, lines, ran, weather, end_s)
        case Mode.STANDBY if definition.checks:
            outages = [(outage.host, outage.from_s, outage.to_s) for outage in work.outages]
            yield from sharing.check_checked(life, ran, weather, outages)
        case Mode.STANDBY:
            yield from sharing.check_standby(life, ran, weather)
        case Mode.SINGLE:
            pass
    if definition.retry.max:
        yield from holding.check_retried(life, lines, ran, weather)
    if definition.queue:
        yield from holding.check_fed(life, lines, work.fodder.count)
    if definition.name == "low-stock":
        yield from holding.check_condition(life, lines, work.stock, HOLDS)
    yield from holding.check_crowd(life, ran, hosts)


def _check_together(work: ModesWork, ledgers: Ledgers, ran: Sequence[Ran]) -> Found:
    """What several jobs, or programs, share."""
    for life in work.lives:
        if life.definitions[0].what.after:
            yield from holding.check_after(life, ledgers, work.lives, ran)
    pooled = [sharing.of_job(life, ran) for life in work.lives if life.definitions[0].what.pool]
    yield from holding.check_limit("pool", jobs.POOL, chain(*pooled), jobs.POOL_SIZE)
    locked = [sharing.of_job(life, ran) for life in work.lives if life.definitions[0].what.lock]
    yield from sharing.one_at_a_time(jobs.LOCK, chain(*locked))
    yield from holding.check_holds(work.places.holds, {kind.name: kind.permits for kind in goods.KINDS})
    yield from holding.check_mail(work.mail.put, work.mail.deliveries)
