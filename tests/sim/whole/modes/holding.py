"""Checks of what may be held, taken or done only so often: pools, locks, queues, conditions, order, retries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from peercron.core.job import Definition
from peercron.core.pace import Backoff, Require, RetryOn
from tests.sim.whole.checker import NEVER_STARTED, Line
from tests.sim.whole.guardian import Ran
from tests.sim.whole.modes.goods import VISIBILITY_MS, Delivery, Hold, Stock
from tests.sim.whole.modes.sharing import ON_ITS_WAY_S, of_job
from tests.sim.whole.modes.weather import Weather
from tests.sim.whole.work import Life

Found = Iterator[tuple[str, str]]

#: A pause between attempts may be shorter by what is rounded and what clocks run at.
PAUSE_SLACK_S = 0.3


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many of these are there at the same time, at most; an end comes before a beginning of the same instant."""
    changes = sorted(change for from_s, to_s in spans for change in ((from_s, 1), (to_s, -1)))
    most = now = 0
    for _, by in changes:
        now += by
        most = max(most, now)
    return most


def check_limit(kind: str, what: str, ran: Iterable[Ran], limit: int) -> Found:
    most = most_at_once((one.start_s, one.end_s) for one in ran)
    if limit and most > limit:
        yield kind, f"{what}: {most} were alive at once, at most {limit} may be"


def check_crowd(life: Life, ran: Iterable[Ran], hosts: Iterable[str]) -> Found:
    limits, mine = life.definitions[0].what.concurrency, of_job(life, ran)
    yield from check_limit("per job", life.key, mine, limits.per_job)
    for host in hosts:
        there = [one for one in mine if one.host == host]
        yield from check_limit("per node", f"{life.key} on {host}", there, limits.per_node)


# Locks of programs.


def check_holds(holds: Sequence[Hold], permits: Mapping[str, int]) -> Found:
    """Never more hold a lock than may; a token is one holder's, and larger than any that was known before."""
    owners: dict[int, str] = {}
    for hold in holds:
        if owners.setdefault(hold.token, hold.client) != hold.client:
            yield "token twice", f"{hold} and {owners[hold.token]}"
    for lock, limit in permits.items():
        mine = sorted((hold for hold in holds if hold.lock == lock), key=lambda hold: hold.from_s)
        most = most_at_once((hold.from_s, hold.to_s) for hold in mine)
        if most > limit:
            yield "lock", f"{lock} was held by {most} at once, at most {limit} may: {_crowded(mine)}"
        for earlier, later in pairwise(mine):
            if later.asked_s > earlier.from_s and later.token < earlier.token:
                yield "token", f"{later} came after {earlier}"


def _crowded(holds: Sequence[Hold]) -> list[Hold]:
    return next(([a, b] for a, b in pairwise(holds) if b.from_s < a.to_s), [])


# Queues.


def check_mail(put: Mapping[str, Sequence[str]], deliveries: Iterable[Delivery]) -> Found:
    """No item is lost, acknowledged twice, handed out after that, or to two at a time; groups keep their order."""
    by_item: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in sorted(deliveries, key=lambda each: each.token):
        by_item[delivery.item].append(delivery)
    for items in put.values():
        for item in items:
            yield from _check_item(item, by_item.get(item, []))
        for earlier, later in pairwise(items):
            yield from _check_order(by_item.get(earlier, []), by_item.get(later, []))


def _check_item(item: str, deliveries: Sequence[Delivery]) -> Found:
    acked = [delivery for delivery in deliveries if delivery.acked]
    if len(acked) > 1:
        yield "acknowledged twice", f"{acked}"
    if not any(delivery.acked or (delivery.ack_call_s and delivery.acked is None) for delivery in deliveries):
        yield "item lost", f"{item} was put, nobody acknowledged it, and the queue is empty: {deliveries}"
    for earlier, later in pairwise(deliveries):
        if earlier.acked:
            yield "handed out again", f"{later} came after {earlier}"
        if not earlier.nacked and later.ret_s < earlier.call_s + VISIBILITY_MS / 1_000:
            yield "two hands", f"{later} came before {earlier} was over"


def _check_order(earlier: Sequence[Delivery], later: Sequence[Delivery]) -> Found:
    """The next of a group is handed out when the one before it is done."""
    done_s = min((d.ack_call_s for d in earlier if d.ack_call_s is not None and d.acked is not False), default=None)
    if later and (done_s is None or later[0].ret_s < done_s):
        yield "group order", f"{later[0]} came before the end of {list(earlier)}"


def check_fed(life: Life, lines: Iterable[Line], count: int) -> Found:
    """For each item one run that succeeded."""
    done = sum(line.outcome == "succeeded" for line in lines)
    if done != count:
        yield "items", f"{life.key}: {count} items, {done} runs that succeeded"


# Conditions.


def check_condition(life: Life, lines: Sequence[Line], stock: Stock, holds: range) -> Found:
    """As many slots as there were crossings; the log's order is that of the revisions."""
    crossed = crossings(stock, holds)
    if not crossed - stock.unknown <= len(lines) <= crossed + stock.unknown:
        yield "condition", f"{life.key}: {crossed} crossings ({stock.unknown} writes unknown), {len(lines)} slots"


def crossings(stock: Stock, holds: range) -> int:
    values = [value in holds for _, value in sorted(stock.written)]
    return sum(now and not before for before, now in pairwise([False, *values]))


# Order.


def check_after(life: Life, lines: Mapping[str, Sequence[Line]], lives: Sequence[Life], ran: Sequence[Ran]) -> Found:
    """The nth start comes after the nth end of what it waits for; of one upstream each end is a slot."""
    definition = life.definitions[0].what
    upstreams = [one for one in lives if one.key in definition.after]
    starts = sorted({one.run_id: one.start_s for one in sorted(of_job(life, ran), key=_latest)}.values())
    ends = [_ends(upstream, definition, lines.get(upstream.uid, ()), ran) for upstream in upstreams]
    for upstream, ended in zip(upstreams, ends, strict=True):
        for n, start_s in enumerate(starts):
            if n >= len(ended) or start_s < ended[n]:
                yield "after", f"{life.key}: start {n + 1} at {start_s:.3f}s, and {upstream.key} had ended {n} times"
                break
    mine = [line for line in lines.get(life.uid, ()) if not line.manual]
    if len(upstreams) == 1:
        told = _count(definition, lines.get(upstreams[0].uid, ()))
        if len(mine) != told:
            yield "after", f"{life.key}: {len(mine)} slots, and {upstreams[0].key} ended {told} times"


def _latest(one: Ran) -> float:
    return -one.start_s


def _wanted(definition: Definition, line: Line) -> bool:
    if line.outcome in NEVER_STARTED:
        return False
    return line.outcome == "succeeded" or definition.require is not Require.ANY_SUCCEEDED


def _count(definition: Definition, lines: Iterable[Line]) -> int:
    return sum(_wanted(definition, line) for line in lines)


def _ends(upstream: Life, definition: Definition, lines: Iterable[Line], ran: Iterable[Ran]) -> list[float]:
    """When runs of the upstream ended that start the job, in order: those that never ran, at no time that is known."""
    ended: dict[str, float] = defaultdict(float)
    for one in of_job(upstream, ran):
        ended[one.run_id] = max(ended[one.run_id], one.end_s if one.succeeded or not _needs(definition) else 0.0)
    return sorted(ended[line.run_id] for line in lines if _wanted(definition, line) and _starts(definition, line))


def _needs(definition: Definition) -> bool:
    return definition.require is not Require.ALL_DONE


def _starts(definition: Definition, line: Line) -> bool:
    return not _needs(definition) or line.outcome == "succeeded"


# Retries.


def check_retried(life: Life, lines: Iterable[Line], ran: Iterable[Ran], weather: Weather) -> Found:
    """As many attempts as are allowed and no fewer, with a pause before each, where the job wants them."""
    definition = life.definitions[0].what
    by_run: dict[str, list[Ran]] = defaultdict(list)
    for one in of_job(life, ran):
        by_run[one.run_id].append(one)
    for line in lines:
        tries = sorted(by_run.get(line.run_id, ()), key=lambda one: one.n)
        failures = sum(one.failed for one in tries)
        if line.outcome == "failed" and failures <= definition.retry.max:
            yield "given up", f"{line.run_id} failed {failures} times, {definition.retry.max + 1} are allowed"
        yield from _check_pauses(tries, definition, weather)


def _check_pauses(tries: Sequence[Ran], definition: Definition, weather: Weather) -> Found:
    for earlier, later in pairwise(tries):
        if not earlier.failed or weather.calm_at(tries[0].start_s, later.start_s + ON_ITS_WAY_S) is None:
            continue
        nth = Counter(one.failed for one in tries if one.n <= earlier.n)[True]
        pause_s = _pause_s(definition, nth)
        if later.start_s - earlier.end_s < pause_s - PAUSE_SLACK_S:
            yield "backoff", f"{later} came {later.start_s - earlier.end_s:.3f}s after {earlier}, {pause_s}s are asked"
        wrong = {RetryOn.OTHER_NODE: later.host == earlier.host, RetryOn.SAME_NODE: later.host != earlier.host}
        if wrong.get(definition.retry.on):
            yield "retry", f"{later} after {earlier}: {definition.retry.on}"


def _pause_s(definition: Definition, nth: int) -> float:
    retry = definition.retry
    factor = {Backoff.FIXED: 1, Backoff.LINEAR: nth, Backoff.EXPONENTIAL: 2 ** (nth - 1)}[retry.backoff]
    pause_s = min(retry.cap_ms, retry.base_ms * factor) / 1_000
    return pause_s / 2 if retry.jitter else pause_s
