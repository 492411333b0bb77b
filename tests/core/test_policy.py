"""Misfire and overlap as pure arithmetic, against a twin that sees the whole gap at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peercron.core.job import Misfire, MisfirePolicy, Overlap
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX, QUEUED_SLOTS_MAX
from peercron.core.policy import WINDOW_DEFAULT_MS, Admission, Gap, admission, misses, window_ms

HOUR = 3_600_000


def fired(slots: tuple[int, ...], misfire: Misfire, now_ms: int, gap: Gap = Gap()) -> list[int]:  # noqa: B008 frozen
    whys = misses(slots, gap=gap, misfire=misfire, period_ms=0, now_ms=now_ms)
    return [slot for slot, why in zip(slots, whys, strict=True) if not why]


def twin(slots: tuple[int, ...], misfire: Misfire, now_ms: int) -> list[int]:
    """The rule as it is written in the documents, on the whole gap."""
    timely = [slot for slot in slots if slot >= now_ms - (misfire.window_ms or HOUR)]
    if len(slots) == 1:
        return timely
    match misfire.policy:
        case MisfirePolicy.LATEST:
            return timely[-1:]
        case MisfirePolicy.EARLIEST:
            return timely[:1]
        case MisfirePolicy.ALL:
            return timely[-misfire.max :]
        case MisfirePolicy.SKIP:
            return []


@given(
    st.sets(st.integers(0, 40), min_size=1, max_size=12),
    st.lists(st.integers(1, 4), max_size=8),
    st.sampled_from(tuple(MisfirePolicy)),
    st.sampled_from((0, 7, 25)),
    st.integers(1, 5),
)
def test_a_gap_in_parts_fires_what_the_whole_would(
    found: set[int], parts: list[int], policy: MisfirePolicy, window: int, most: int
) -> None:
    slots, misfire, now_ms = tuple(sorted(found)), Misfire(policy, window, most), 41
    rest, gap, chosen = slots, Gap(), list[int]()
    for size in (*parts, len(slots)):
        part, rest = rest[:size], rest[size:]
        of_part = fired(part, misfire, now_ms, Gap(gap.walked, gap.fired, len(rest)))
        chosen += of_part
        gap = Gap(gap.walked + len(part), gap.fired + len(of_part))
    assert chosen == twin(slots, misfire, now_ms)


def test_the_window_is_an_hour_or_a_period_or_what_was_asked() -> None:
    assert window_ms(Misfire(), period_ms=60_000) == WINDOW_DEFAULT_MS
    assert window_ms(Misfire(), period_ms=24 * HOUR) == 24 * HOUR
    assert window_ms(Misfire(window_ms=5), period_ms=24 * HOUR) == 5


def test_a_slot_that_is_due_alone_fires_whatever_the_policy() -> None:
    for policy in MisfirePolicy:
        assert fired((1_000,), Misfire(policy), 1_000 + HOUR) == [1_000]
        assert fired((1_000,), Misfire(policy), 1_001 + HOUR) == []


def test_every_missed_slot_has_its_reason() -> None:
    for policy in MisfirePolicy:
        whys = misses((1, 2, 3, HOUR + 2), gap=Gap(), misfire=Misfire(policy, max=1), period_ms=0, now_ms=HOUR + 2)
        assert "window" in whys[0]
        assert all(policy.value in why or "misfire max" in why for why in whys[1:] if why)


def test_an_admission_for_each_overlap() -> None:
    table = {
        (overlap, live, queued): admission(overlap, live=live, queued=queued)
        for overlap in Overlap
        for live, queued in ((0, 0), (1, 0), (2, 1))
    }
    start, queue, skip, replace = Admission.START, Admission.QUEUE, Admission.SKIP, Admission.REPLACE
    assert [table[Overlap.FORBID, *n] for n in ((0, 0), (1, 0), (2, 1))] == [start, skip, skip]
    assert [table[Overlap.ALLOW, *n] for n in ((0, 0), (1, 0), (2, 1))] == [start, start, start]
    assert [table[Overlap.QUEUE_ONE, *n] for n in ((0, 0), (1, 0), (2, 1))] == [start, queue, skip]
    assert [table[Overlap.QUEUE_ALL, *n] for n in ((0, 0), (1, 0), (2, 1))] == [start, queue, queue]
    assert [table[Overlap.REPLACE, *n] for n in ((0, 0), (1, 0), (2, 1))] == [start, replace, replace]


def test_lines_are_bounded() -> None:
    full = LIVE_RUNS_PER_JOB_MAX
    assert admission(Overlap.ALLOW, live=full - 1, queued=0) is Admission.START
    assert admission(Overlap.ALLOW, live=full, queued=0) is Admission.SKIP
    assert admission(Overlap.QUEUE_ALL, live=full, queued=QUEUED_SLOTS_MAX) is Admission.SKIP
