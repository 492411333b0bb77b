"""Checker: what must be true of what clients were told and of what hosts saw run. It knows nothing of how it is made.

Keys are registers: some order explains all answers. Each slot of each job has one outcome, and only slots that were
asked for have one. What ran is what the ledger says, one attempt of a run at a time, one run of a job at a time where
the job asks for that, under tokens that grow.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from peercron.core.job import CronTrigger, Definition, EveryTrigger, Guarantee, Overlap
from tests.linearizable import REGISTER, Operation, Undecided, check
from tests.sim.whole.guardian import Ran
from tests.sim.whole.host import EPOCH_MS
from tests.sim.whole.work import Life

#: How far the instant of a request, as the cluster dates it, may be from when it was on its way.
MARGIN_MS = 3_000
NEVER_STARTED = frozenset({"skipped", "missed"})
SERIAL = frozenset({Overlap.FORBID, Overlap.QUEUE_ONE, Overlap.QUEUE_ALL, Overlap.REPLACE})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a job's ledger, as a client reads it."""

    run_id: str
    slot_ms: int
    manual: bool
    outcome: str
    reason: str
    attempts: int
    token: int


Ledgers = Mapping[str, Sequence[Line]]


def judge(
    history: Sequence[Operation],
    lives: Sequence[Life],
    ledgers: Ledgers,
    ran: Sequence[Ran],
    end_s: float,
    read_s: float,
) -> Iterator[tuple[str, str]]:
    """(kind, detail) of everything that is wrong.

    Args:
        history: what was done with keys.
        lives: what was done with jobs.
        ledgers: job uid -> lines, read when no run was alive any more.
        ran: what hosts saw.
        end_s: all slots until then must be decided.
        read_s: when the ledgers were read.
    """
    yield from check_keys(history)
    by_run: dict[str, list[Ran]] = defaultdict(list)
    for one in ran:
        by_run[one.run_id].append(one)
    for life in lives:
        lines = ledgers.get(life.uid, ())
        yield from check_slots(life, lines, end_s, read_s)
        yield from check_manual(life, lines)
        yield from check_outcomes(life, lines, by_run)
        if life.definitions[0].what.overlap in SERIAL:
            yield from check_serial(life, ran)
    known = {line.run_id for lines in ledgers.values() for line in lines}
    for run_id, attempts in by_run.items():
        if run_id not in known:
            yield "ran unknown", f"{run_id} ran, and no ledger knows it"
        yield from check_attempts(run_id, attempts)
    yield from check_tokens(ran)


# Keys.


def check_keys(history: Sequence[Operation]) -> Iterator[tuple[str, str]]:
    try:
        violation = check(history, REGISTER)
    except Undecided as undecided:
        yield "undecided", str(undecided)
    else:
        if violation is not None:
            yield "not linearizable", str(violation)
    yield from check_revisions(history)


def check_revisions(history: Sequence[Operation]) -> Iterator[tuple[str, str]]:
    """Over all keys: a write that began after another was answered has the larger revision; none is given twice."""
    writes = [o for o in history if o.kind in ("put", "cas") and o.ret is not None and o.result is not False]
    owners: dict[int, Operation] = {}
    for write in writes:
        other = owners.setdefault(write.result, write)
        if other is not write:
            yield "revision twice", f"{write.result}: {other} and {write}"
    ended = sorted(writes, key=lambda o: o.ret or 0.0)
    largest, place = 0, 0
    for write in sorted(writes, key=lambda o: o.call):
        while place < len(ended) and (ended[place].ret or 0.0) < write.call:
            largest = max(largest, ended[place].result)
            place += 1
        if write.result < largest:
            yield "revision went back", f"{write} came after {largest}"


# Slots.


def wall_ms(at_s: float) -> float:
    return EPOCH_MS + at_s * 1000 if at_s < math.inf else math.inf


def slots_of(definition: Definition, after_ms: float, to_ms: float) -> range:
    """All slots in (after, to], by plain arithmetic."""
    match definition.trigger:
        case EveryTrigger(every_ms, anchor_ms):
            step_ms, base_ms = every_ms, anchor_ms % every_ms
        case CronTrigger(expression):
            # */n of seconds, where n divides 60.
            step_ms, base_ms = int(expression.split()[0][2:]) * 1000, 0
        case other:
            raise ValueError(other)
    first = (math.floor(after_ms) - base_ms) // step_ms * step_ms + base_ms + step_ms
    return range(first, math.floor(to_ms) + 1, step_ms)


def check_slots(life: Life, lines: Sequence[Line], end_s: float, read_s: float) -> Iterator[tuple[str, str]]:
    """Every slot exactly once; none that nobody asked for; those of a pause are skipped."""
    planned = [line for line in lines if not line.manual]
    counts = Counter(line.slot_ms for line in planned)
    for slot, count in counts.items():
        if count > 1:
            yield "slot twice", f"{life.key} {slot} is there {count} times"
    ids = Counter(line.run_id for line in lines)
    yield from (("run twice", f"{run_id} is there {count} times") for run_id, count in ids.items() if count > 1)
    wanted: set[int] = set()
    allowed: set[int] = set()
    for place, change in enumerate(life.definitions):
        following = life.definitions[place + 1] if place + 1 < len(life.definitions) else life.deleted
        from_ms = wall_ms(change.ack_s) + MARGIN_MS
        to_ms = wall_ms(following.call_s if following is not None else end_s) - MARGIN_MS
        wanted.update(slots_of(change.what, from_ms, to_ms))
        # A change takes effect on the slots that are not decided yet, which may be late.
        last_s = following.ack_s if following is not None else read_s
        latest_ms = wall_ms(min(last_s, read_s)) + MARGIN_MS
        allowed.update(slots_of(change.what, wall_ms(change.call_s) - MARGIN_MS, latest_ms))
    wanted -= undecided_at_the_end(life, wanted, counts)
    for slot in sorted(wanted - counts.keys()):
        yield "slot lost", f"{life.key} ({life.uid}): {slot} at {(slot - EPOCH_MS) / 1000:.3f}s is not in the ledger"
    for slot in sorted(counts.keys() - allowed):
        yield "slot unasked", f"{life.key} ({life.uid}): {slot} at {(slot - EPOCH_MS) / 1000:.3f}s"
    yield from check_pauses(life, planned, end_s)


def undecided_at_the_end(life: Life, wanted: set[int], counts: Counter[int]) -> set[int]:
    """A trigger that was changed, or a job that was deleted, before its last slots were decided, has lost them: they
    are not asked for any more. Only while no leader decided, so they are the last ones before the change.
    """
    gone: set[int] = set()
    for change in [*life.definitions[1:], *([life.deleted] if life.deleted is not None else [])]:
        for slot in sorted((s for s in wanted if s <= wall_ms(change.ack_s)), reverse=True):
            if slot in counts:
                break
            gone.add(slot)
    return gone


def check_pauses(life: Life, lines: Iterable[Line], end_s: float) -> Iterator[tuple[str, str]]:
    for place, change in enumerate(life.pauses):
        if not change.what:
            continue
        end = life.pauses[place + 1].call_s if place + 1 < len(life.pauses) else end_s
        from_ms, to_ms = wall_ms(change.ack_s) + MARGIN_MS, wall_ms(end) - MARGIN_MS
        for line in lines:
            if from_ms < line.slot_ms <= to_ms and line.outcome != "skipped":
                yield "paused", f"{line.run_id} of {life.key} is {line.outcome}, and the job was paused"


def check_manual(life: Life, lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """Every run that was promised is there, and no other."""
    there = {line.run_id for line in lines if line.manual}
    for run_id in life.manual:
        if run_id not in there:
            yield "manual run lost", f"{run_id} was acknowledged"
    if len(there) > len(life.manual) + life.unknown_manual:
        yield "manual run unasked", f"{life.key}: {sorted(there - set(life.manual))}"


# Runs and attempts.


def check_outcomes(life: Life, lines: Iterable[Line], by_run: Mapping[str, Sequence[Ran]]) -> Iterator[tuple[str, str]]:
    """What the ledger says of a run is what its hosts saw."""
    at_most_once = life.definitions[0].what.guarantee is Guarantee.AT_MOST_ONCE
    for line in lines:
        seen = by_run.get(line.run_id, ())
        if line.outcome in NEVER_STARTED and seen:
            yield "ran", f"{line.run_id} is {line.outcome} ({line.reason}), but it ran"
        if line.outcome == "succeeded" and line.token not in {one.token for one in seen if one.succeeded}:
            yield "not succeeded", f"{line.run_id}: token {line.token} never came to its end"
        if at_most_once and len(seen) > 1:
            yield "at most once", f"{line.run_id} started {len(seen)} times"
        if max((one.n for one in seen), default=0) > line.attempts:
            yield "attempts", f"{line.run_id}: {len(seen)} ran, the ledger knows of {line.attempts}"
        if line.outcome == "lost" and not at_most_once and line.attempts < 16:
            yield "given up", f"{line.run_id}: {line.reason}"


def check_attempts(run_id: str, attempts: Iterable[Ran]) -> Iterator[tuple[str, str]]:
    """Attempts of one run follow each other, under larger tokens."""
    for earlier, later in pairwise(sorted(attempts, key=lambda one: one.start_s)):
        if later.token <= earlier.token or later.n <= earlier.n:
            yield "token", f"{run_id}: {later} came after {earlier}"
        if later.start_s < earlier.end_s and not earlier.keep:
            yield "two attempts", f"{run_id}: {earlier} was alive when {later} started"


def check_serial(life: Life, ran: Iterable[Ran]) -> Iterator[tuple[str, str]]:
    """One run at a time, under larger tokens."""
    mine = sorted((one for one in ran if one.run_id.startswith(f"{life.uid}/")), key=lambda one: one.start_s)
    last: Ran | None = None
    for one in mine:
        if last is not None:
            if one.start_s < last.end_s and not last.keep and one.run_id != last.run_id:
                yield "overlap", f"{life.key}: {last} was alive when {one} started"
            if one.token <= last.token:
                yield "token", f"{life.key}: {one} came after {last}"
        last = one if last is None or one.end_s >= last.end_s else last


def check_tokens(ran: Iterable[Ran]) -> Iterator[tuple[str, str]]:
    """A token is one attempt's for ever."""
    owners: dict[int, set[tuple[str, int]]] = defaultdict(set)
    starts: Counter[int] = Counter()
    for one in ran:
        owners[one.token].add((one.run_id, one.n))
        starts[one.token] += 1
    for token, who in owners.items():
        if len(who) > 1:
            yield "token twice", f"{token} was granted to {sorted(who)}"
        elif starts[token] > 1:
            yield "started twice", f"{sorted(who)} under token {token}"
