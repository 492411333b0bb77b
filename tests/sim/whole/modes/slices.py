"""Checks of slices: whose slots they are is plain arithmetic, and no leader is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tests.sim.whole.checker import MARGIN_MS, Line, slots_of, wall_ms
from tests.sim.whole.guardian import Ran
from tests.sim.whole.host import EPOCH_MS
from tests.sim.whole.modes.sharing import of_job
from tests.sim.whole.modes.weather import Weather
from tests.sim.whole.work import Life

#: At the end of a slice nothing is begun: the guard band, what a start takes, and what clocks may differ by.
UNUSED_MS = 2_500 + 1_000 + 1_000
#: How late a slot may start, with clocks that differ.
LATE_S = 2.0


def check_slices(
    life: Life, lines: Sequence[Line], ran: Iterable[Ran], weather: Weather, end_s: float
) -> Iterator[tuple[str, str]]:
    mine = sorted(of_job(life, ran), key=lambda one: one.start_s)
    yield from _by_whom(life, mine)
    yield from _apart(life, mine)
    yield from _none_missing(life, mine, weather, end_s)
    yield from _in_ledger(life, lines, end_s)


def owner(life: Life, slot_ms: int) -> str:
    definition = life.definitions[0].what
    nodes: tuple[str, ...] = definition.nodes
    return nodes[int(slot_ms // definition.slice_ms) % len(nodes)]


def _slot_ms(one: Ran) -> int:
    return int(one.run_id.rpartition("/")[2])


def _by_whom(life: Life, mine: Sequence[Ran]) -> Iterator[tuple[str, str]]:
    """Each slot once, by whose it is."""
    seen = dict[str, Ran]()
    for one in mine:
        if one.run_id in seen:
            yield "slice twice", f"{one}, and {seen[one.run_id]}"
        seen[one.run_id] = one
        if one.host != owner(life, _slot_ms(one)):
            yield "slice of another", f"{one} is {owner(life, _slot_ms(one))}'s"


def _apart(life: Life, mine: Sequence[Ran]) -> Iterator[tuple[str, str]]:
    """What runs in one slice is dead before the next begins."""
    for earlier, later in pairwise(mine):
        if earlier.host != later.host and later.start_s < earlier.end_s:
            yield "slices overlap", f"{life.key}: {earlier} was alive when {later} started"


def _none_missing(life: Life, mine: Sequence[Ran], weather: Weather, end_s: float) -> Iterator[tuple[str, str]]:
    """A node that was there, with a good clock, fires what is its own, with whomever it is connected."""
    ran = {one.run_id for one in mine}
    for slot_ms, at_s in owed(life, weather, end_s):
        if f"{life.uid}/{slot_ms}" not in ran:
            who = owner(life, slot_ms)
            yield "slice missing", f"{life.key}: {who} was there at {at_s:.3f}s, and did not fire its slot {slot_ms}"


def owed(life: Life, weather: Weather, end_s: float) -> Iterator[tuple[int, float]]:
    """Slots (and when they came, in everybody's seconds) of which nothing speaks for their being left out."""
    definition, created = life.definitions[0].what, life.definitions[0]
    known_s = next((calm.from_s for calm in weather.calms_after(created.ack_s)), None)
    if known_s is None:
        return
    last_s = life.deleted.call_s if life.deleted is not None else end_s
    for slot_ms in slots_of(definition, wall_ms(known_s), wall_ms(last_s) - MARGIN_MS):
        at_s = (slot_ms - EPOCH_MS) / 1_000
        band = definition.slice_ms - slot_ms % definition.slice_ms < UNUSED_MS
        if not band and weather.steady(owner(life, slot_ms), at_s - LATE_S, at_s + LATE_S):
            yield slot_ms, at_s


def _in_ledger(life: Life, lines: Sequence[Line], end_s: float) -> Iterator[tuple[str, str]]:
    """When all are heard again each slot is there; of a job that was deleted, up to what each node had told."""
    known = Counter(line.slot_ms for line in lines)
    for slot_ms, count in known.items():
        if count > 1:
            yield "slot twice", f"{life.key} {slot_ms} is there {count} times"
    last_s = life.deleted.call_s if life.deleted is not None else end_s
    from_ms, to_ms = wall_ms(life.definitions[0].ack_s) + MARGIN_MS, wall_ms(last_s) - MARGIN_MS
    by_owner: dict[str, list[int]] = defaultdict(list)
    for slot_ms in slots_of(life.definitions[0].what, from_ms, to_ms):
        by_owner[owner(life, slot_ms)].append(slot_ms)
    for who, slots in by_owner.items():
        if life.deleted is not None:
            while slots and slots[-1] not in known:
                slots.pop()
        lost = [slot_ms for slot_ms in slots if slot_ms not in known]
        if lost:
            yield "slice lost", f"{life.key}: {len(lost)} slots of {who} are not in the ledger, such as {lost[0]}"
