"""What holds for every trigger and every instant."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.job import AtTrigger, CronTrigger, DstGap, DstOverlap, EveryTrigger, ManualTrigger, Trigger
from peercron.core.limits import EVERY_MS_MIN
from peercron.core.schedule import check, latest_slots, next_slot, period_ms, slots_between

HOUR_MS = 3_600_000
FAR_MS = 2**62
SLOTS_MAX = 40


def terms(low: int, high: int, *others: str) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.tuples(st.sampled_from(["*", "H"]), st.integers(1, high - low)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(numbers.map(str), ranges, steps, st.just("H"), *(st.just(other) for other in others))


def column(low: int, high: int, *others: str) -> st.SearchStrategy[str]:
    lists = st.lists(terms(low, high, *others), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), lists)


FIVE = st.tuples(
    column(0, 59), column(0, 23), column(1, 31, "L", "LW"), column(1, 12), column(0, 6, "5L", "MON#2")
).map(" ".join)  # fmt: skip
EXPRESSIONS = st.one_of(FIVE, st.tuples(column(0, 59), FIVE).map(" ".join), st.sampled_from(["@daily", "@hourly"]))
ZONES = st.sampled_from([
    "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Antarctica/Troll",
    "America/St_Johns", "Africa/Casablanca", "Antarctica/Casey", "Asia/Kathmandu",
])  # fmt: skip
CRONS = st.builds(
    CronTrigger,
    EXPRESSIONS,
    ZONES,
    st.none() | st.sampled_from(list(DstGap)),
    st.none() | st.sampled_from(list(DstOverlap)),
).filter(lambda trigger: check(trigger) is None)
TRIGGERS: st.SearchStrategy[Trigger] = st.one_of(
    CRONS,
    CRONS,
    CRONS,
    st.builds(EveryTrigger, st.integers(EVERY_MS_MIN, 2 * HOUR_MS), st.integers(-HOUR_MS, HOUR_MS)),
    st.builds(AtTrigger, st.integers(0, 2_000_000_000_000)),
    st.just(ManualTrigger()),
)
#: Moments at which clocks went forward or back somewhere, and a little around them.
CHANGES_MS = st.sampled_from([
    1_774_746_000_000, 1_792_890_000_000, 1_775_314_800_000, 1_791_041_400_000, 1_325_239_200_000,
    1_788_667_200_000, 877_833_060_000, 1_710_036_000_000, 1_267_714_800_000,
])  # fmt: skip
INSTANTS = st.one_of(
    st.integers(0, 2_200_000_000_000),
    st.builds(int.__add__, CHANGES_MS, st.integers(-3 * HOUR_MS, 3 * HOUR_MS)),
    st.builds(int.__add__, CHANGES_MS, st.integers(-100, 100).map(lambda minutes: minutes * 60_000)),
)
UIDS = st.sampled_from(["", "a", "job-17"])
MANY = settings(max_examples=200, deadline=None)


@MANY
@given(TRIGGERS, INSTANTS, UIDS)
def test_the_next_slot_is_later_and_none_lies_between(trigger: Trigger, after_ms: int, uid: str) -> None:
    slot = next_slot(trigger, after_ms, uid)
    if slot is None:
        assert slots_between(trigger, after_ms, FAR_MS, uid, 1) == ()
        return
    assert slot > after_ms
    assert next_slot(trigger, slot - 1, uid) == slot
    assert next_slot(trigger, (after_ms + slot) // 2, uid) == slot or (after_ms + slot) // 2 == slot
    assert latest_slots(trigger, after_ms, slot, uid, 2) == (slot,)


@MANY
@given(TRIGGERS, INSTANTS, UIDS, st.integers(0, SLOTS_MAX))
def test_slots_between_are_the_next_slots(trigger: Trigger, after_ms: int, uid: str, limit: int) -> None:
    expected: list[int] = []
    slot = next_slot(trigger, after_ms, uid)
    while slot is not None and slot <= after_ms + 48 * HOUR_MS and len(expected) < limit:
        expected.append(slot)
        slot = next_slot(trigger, slot, uid)
    assert list(slots_between(trigger, after_ms, after_ms + 48 * HOUR_MS, uid, limit)) == expected


@MANY
@given(TRIGGERS, INSTANTS, UIDS, st.integers(1, SLOTS_MAX))
def test_the_latest_slots_are_the_tail_of_all(trigger: Trigger, after_ms: int, uid: str, limit: int) -> None:
    through_ms = next_or(trigger, after_ms, uid, 2 * SLOTS_MAX)
    every = slots_between(trigger, after_ms, through_ms, uid, FAR_MS)
    assert latest_slots(trigger, after_ms, through_ms, uid, limit) == every[-limit:]


def next_or(trigger: Trigger, after_ms: int, uid: str, many: int) -> int:
    """Some moment by which the trigger has fired, but not more than `many` times."""
    slots = slots_between(trigger, after_ms, after_ms + 400 * 24 * HOUR_MS, uid, many)
    return slots[-1] + 1 if slots else after_ms + HOUR_MS


@MANY
@given(TRIGGERS, INSTANTS, UIDS, st.integers(0, 48 * HOUR_MS))
def test_a_span_is_the_sum_of_its_parts(trigger: Trigger, after_ms: int, uid: str, length_ms: int) -> None:
    through_ms = min(after_ms + length_ms, next_or(trigger, after_ms, uid, SLOTS_MAX))
    middle_ms = (after_ms + through_ms) // 2
    first = slots_between(trigger, after_ms, middle_ms, uid, FAR_MS)
    second = slots_between(trigger, middle_ms, through_ms, uid, FAR_MS)
    assert first + second == slots_between(trigger, after_ms, through_ms, uid, FAR_MS)


@MANY
@given(TRIGGERS, INSTANTS, UIDS)
def test_a_period_joins_the_slots_on_both_sides(trigger: Trigger, at_ms: int, uid: str) -> None:
    before, after = latest_slots(trigger, -FAR_MS, at_ms, uid, 1), next_slot(trigger, at_ms, uid)
    expected = after - before[0] if before and after is not None else 0
    assert period_ms(trigger, at_ms, uid) == expected


@MANY
@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_read_or_refused_in_one_line(expression: str, zone: str) -> None:
    for trigger in (CronTrigger(expression), CronTrigger("* * * * *", zone)):
        refusal = check(trigger)
        assert refusal is None or (refusal and "\n" not in refusal)
