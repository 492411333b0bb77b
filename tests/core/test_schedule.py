"""The triggers: what is refused and how, what `H` picks, the rules for clock changes, and the bounds of the work."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from peercron.core import schedule
from peercron.core.job import AtTrigger, CronTrigger, DstGap, DstOverlap, EveryTrigger, ManualTrigger, Trigger
from peercron.core.limits import EVERY_MS_MIN
from peercron.core.schedule import ScheduleError, check, latest_slots, next_slot, period_ms, slots_between

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
FAR_MS = 2**62


def ms(shown: str) -> int:
    return int(datetime.fromisoformat(shown).timestamp()) * 1000


def shown(slots: tuple[int, ...]) -> list[str]:
    """As Berlin's clocks show them, to the minute."""
    return [datetime.fromtimestamp(slot // 1000, ZoneInfo(BERLIN)).isoformat(timespec="minutes")[5:] for slot in slots]


# --- refusals

REFUSED = (
    ("* * * *", "expression", "4 fields"),
    ("* * * * * * *", "expression", "7 fields"),
    ("", "expression", "0 fields"),
    ("60 * * * *", "minute", "'60' (column 1)", "0-59"),
    ("0 24 * * *", "hour", "'24' (column 3)", "0-23"),
    ("0 0 0 * *", "day-of-month", "'0' (column 5)", "1-31", "L"),
    ("0 0 * 13 *", "month", "'13' (column 7)", "1-12", "JAN-DEC"),
    ("0 0 * FOO *", "month", "'FOO'"),
    ("0 0 * * 8", "day-of-week", "'8' (column 9)", "0-7"),
    ("60 0 0 * * *", "second", "'60' (column 1)", "0-59"),
    ("0 1,2,x * * *", "hour", "'X' (column 7)"),
    ("  0  0-24 * * *", "hour", "'0-24' (column 6)"),
    ("0 0 * * 1,,2", "day-of-week", "'' (column 11)"),
    ("-1 * * * *", "minute", "'-1'"),
    ("1_0 * * * *", "minute", "'1_0'"),
    ("٣ * * * *", "expression", "ASCII"),
    ("*/90 * * * *", "minute", "'*/90'", "step of 1-60"),
    ("0 */25 * * *", "hour", "'*/25'", "step of 1-24"),
    ("0 0 * * */8", "day-of-week", "step of 1-7"),
    ("*/0 * * * *", "minute", "'*/0'", "step of 1-60"),
    ("5/90 * * * *", "minute", "'5/90'", "step of 1-60"),
    ("0 0 5-1 * *", "day-of-month", "'5-1'", "backwards"),
    ("0 0 * * SAT-SUN", "day-of-week", "'SAT-SUN'", "backwards"),
    ("1/2/3 * * * *", "minute", "'1/2/3'"),
    ("0 0 * * L5", "day-of-week", "'L5'", "5L"),
    ("0 0 * * 1#6", "day-of-week", "'1#6'"),
    ("0 0 * * 9L", "day-of-week", "'9L'"),
    ("0 0 L/2 * *", "day-of-month", "'L/2'"),
    ("0 0 15W * *", "day-of-month", "'15W'", "LW"),
    ("0 0 ? * *", "day-of-month", "'?'"),
    ("0 0 31 2 *", "day-of-month", "never fires"),
    ("0 0 31 2,4,6,9,11 *", "day-of-month", "never fires"),
    ("0 0 */8 * MON#5,TUE#5", "day-of-month", "never fires"),
    ("R * * * *", "minute", "'R'", "H"),
    ("0 R(1-5) * * *", "hour", "'R(1-5)'", "H"),
    ("H(5-70) * * * *", "minute", "'H(5-70)'", "0-59"),
    ("H(9-5) * * * *", "minute", "'H(9-5)'", "0-59"),
    ("0 0 H(1-31) * *", "day-of-month", "'H(1-31)'", "1-28"),
    ("H/61 * * * *", "minute", "'H/61'", "step of 1-60"),
    ("@reboot", "expression", "'@reboot'", "@hourly"),
    ("@every 5m", "expression", "'@every 5m'", "@hourly"),
    ("0 " * 600, "expression", "1200 characters", "1024"),
    ("9" * 900 + " * * * *", "minute", "0-59"),
)


@pytest.mark.parametrize("row", REFUSED, ids=[row[0][:30] for row in REFUSED])
def test_a_wrong_expression_is_refused_by_the_name_of_its_field(row: tuple[str, ...]) -> None:
    expression, field, *words = row
    trigger = CronTrigger(expression)
    refusal = check(trigger)
    assert refusal is not None
    assert refusal.startswith(f"{field}: ")
    assert all(word in refusal for word in words), refusal
    assert "\n" not in refusal
    for ask in (
        lambda: next_slot(trigger, 0, ""),
        lambda: slots_between(trigger, 0, 1, "", 1),
        lambda: latest_slots(trigger, 0, 1, "", 1),
        lambda: period_ms(trigger, 0, ""),
    ):
        with pytest.raises(ScheduleError) as raised:
            ask()
        assert str(raised.value) == refusal


def test_no_job_may_draw_a_month_without_its_day() -> None:
    assert "never fires" in (check(CronTrigger("0 0 31 H *")) or "")
    assert check(CronTrigger("0 0 28 H *")) is None
    assert check(CronTrigger("0 0 H H H")) is None
    assert check(CronTrigger("0 0 */30 2 MON#1")) is None, "1 February may be a first Monday"


WRONG_ZONES = ("Mars/Base", "", "europe", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "right/UTC", "a\0b")


@pytest.mark.parametrize("zone", WRONG_ZONES)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    refusal = check(CronTrigger("* * * * *", zone))
    assert refusal is not None
    assert refusal.startswith(f"timezone: {zone!r} is not known")


def test_every_and_at_are_checked() -> None:
    assert check(EveryTrigger(EVERY_MS_MIN)) is None
    assert str(EVERY_MS_MIN) in (check(EveryTrigger(EVERY_MS_MIN - 1)) or "")
    with pytest.raises(ScheduleError, match="every: 0 ms"):
        next_slot(EveryTrigger(0), 0, "")
    assert check(AtTrigger(0)) is None
    assert (check(AtTrigger(-1)) or "").startswith("at: -1 ms")
    assert check(ManualTrigger()) is None


# --- H


def minutes_of(expression: str, uid: str) -> list[int]:
    slots = slots_between(CronTrigger(expression), -1, HOUR_MS - 1, uid, 60)
    return [slot // 60_000 for slot in slots]


def test_h_is_the_same_for_ever() -> None:
    """Another hash would move every job that has an H: these numbers may not change."""
    at = [next_slot(CronTrigger("H H H * *"), 0, uid) for uid in ("job-1", "job-2")]
    assert at == [ms("1970-01-21T01:01+00:00"), ms("1970-01-14T11:52+00:00")]


def test_h_spreads_jobs_over_the_field() -> None:
    picked = Counter(minutes_of("H * * * *", f"job-{n}")[0] for n in range(6_000))
    assert set(picked) == set(range(60))
    assert max(picked.values()) < 2 * min(picked.values())


def test_h_stays_inside_its_range_and_keeps_its_step() -> None:
    for n in range(200):
        uid = f"job-{n}"
        assert 10 <= minutes_of("H(10-19) * * * *", uid)[0] <= 19
        first, *rest = minutes_of("H/15 * * * *", uid)
        assert rest == [first + 15, first + 30, first + 45]
        inside = minutes_of("H(30-59)/10 * * * *", uid)
        assert [m - inside[0] for m in inside] == [0, 10, 20]
        assert inside[0] in range(30, 40)


def test_h_picks_days_that_every_month_has() -> None:
    year = (ms("2026-01-01T00:00+00:00") - 1, ms("2026-12-31T23:00+00:00"))
    for n in range(100):
        assert len(slots_between(CronTrigger("0 0 H * *"), *year, f"job-{n}", 99)) == 12


def test_h_differs_by_field_and_by_job_only() -> None:
    uids = [f"job-{n}" for n in range(100)]
    seconds_and_minutes = [(slot // 1000 % 60, slot // 60_000 % 60) for slot in map(first_of_h_h, uids)]
    assert sum(second == minute for second, minute in seconds_and_minutes) < 10
    assert len({next_slot(CronTrigger("0 9 * * THU"), 0, uid) for uid in uids}) == 1


def first_of_h_h(uid: str) -> int:
    slot = next_slot(CronTrigger("H H * * * *"), 0, uid)
    assert slot is not None
    return slot


def test_h_in_a_fixed_hour_is_a_fixed_time() -> None:
    """The hour that Berlin repeats: once with H in the minute, twice with a star."""
    around = (ms("2026-10-25T00:00+02:00"), ms("2026-10-25T12:00+01:00"), "uid", 9)
    assert len(slots_between(CronTrigger("H 2 * * *", BERLIN), *around)) == 1
    assert len(slots_between(CronTrigger("*/60 2 * * *", BERLIN), *around)) == 2


# --- the other triggers


def test_every_counts_from_its_anchor() -> None:
    trigger = EveryTrigger(every_ms=1_500, anchor_ms=200)
    assert next_slot(trigger, 0, "") == 200
    assert next_slot(trigger, 200, "") == 1_700
    assert next_slot(trigger, 1_699, "") == 1_700
    assert next_slot(trigger, -1_301, "") == -1_300
    assert slots_between(trigger, 200, 4_700, "", 9) == (1_700, 3_200, 4_700)
    assert latest_slots(trigger, 200, 4_700, "", 2) == (3_200, 4_700)
    assert period_ms(trigger, 1_700, "") == 1_500


def test_at_fires_once() -> None:
    trigger = AtTrigger(5_000)
    assert next_slot(trigger, 4_999, "") == 5_000
    assert next_slot(trigger, 5_000, "") is None
    assert slots_between(trigger, 0, 5_000, "", 9) == latest_slots(trigger, 0, 5_000, "", 9) == (5_000,)
    assert slots_between(trigger, 0, 4_999, "", 9) == latest_slots(trigger, 5_000, FAR_MS, "", 9) == ()
    assert period_ms(trigger, 5_000, "") == 0


def test_manual_never_fires() -> None:
    assert next_slot(ManualTrigger(), 0, "") is None
    assert slots_between(ManualTrigger(), 0, FAR_MS, "", 9) == latest_slots(ManualTrigger(), 0, FAR_MS, "", 9) == ()
    assert period_ms(ManualTrigger(), 0, "") == 0


@pytest.mark.parametrize("trigger", [CronTrigger("* * * * *"), EveryTrigger(60_000)])
def test_no_limit_no_slots(trigger: Trigger) -> None:
    assert slots_between(trigger, 0, FAR_MS, "", 0) == latest_slots(trigger, 0, HOUR_MS, "", 0) == ()
    assert slots_between(trigger, HOUR_MS, 0, "", 9) == latest_slots(trigger, HOUR_MS, 0, "", 9) == ()


def test_slots_are_exact_to_the_millisecond() -> None:
    trigger, noon = CronTrigger("0 12 * * *"), ms("2039-12-31T12:00+00:00")
    assert next_slot(trigger, noon - 1, "") == noon
    assert next_slot(trigger, noon, "") == noon + 24 * HOUR_MS
    assert latest_slots(trigger, 0, noon, "", 1) == (noon,)
    assert latest_slots(trigger, 0, noon - 1, "", 1) == (noon - 24 * HOUR_MS,)


def test_cron_begins_in_1970_and_ends_in_8999() -> None:
    trigger, last = CronTrigger("0 0 * * *"), ms("8999-12-31T00:00+00:00")
    assert next_slot(trigger, -FAR_MS, "") == 0
    assert latest_slots(trigger, -FAR_MS, -1, "", 9) == ()
    assert next_slot(trigger, last - 1, "") == last
    assert next_slot(trigger, last, "") is None
    assert next_slot(trigger, FAR_MS, "") is None
    assert latest_slots(trigger, 0, FAR_MS, "", 1) == (last,)
    assert period_ms(trigger, last, "") == 0
    assert next_slot(CronTrigger("0 0 29 2 *", BERLIN), last, "") is None


def test_a_period_is_measured_around_an_instant() -> None:
    assert period_ms(CronTrigger("0 * * * *"), HOUR_MS + 5, "") == HOUR_MS
    assert period_ms(CronTrigger("0 2 * * *", BERLIN), ms("2026-03-28T12:00+01:00"), "") == 24 * HOUR_MS
    assert period_ms(CronTrigger("0 4 * * *", BERLIN), ms("2026-03-28T12:00+01:00"), "") == 23 * HOUR_MS


# --- rules for clock changes, against the shape's own

GAP_DAY = (ms("2026-03-29T00:00+01:00"), ms("2026-03-29T12:00+02:00"))
OVERLAP_DAY = (ms("2026-10-25T00:00+02:00"), ms("2026-10-25T12:00+01:00"))
FIRST_PASS, SECOND_PASS = ["10-25T02:30+02:00"], ["10-25T02:30+01:00"]
AFTER_GAP = ["03-29T03:00+02:00"]

GAPS: tuple[tuple[str, DstGap | None, list[str]], ...] = (
    ("30 2 * * *", None, AFTER_GAP),
    ("30 2 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("30 2 * * *", DstGap.SKIP, []),
    ("0-59 2 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("0-59 2 * * *", DstGap.SKIP, []),
    ("*/30 2 * * *", None, []),
    ("*/30 2 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("*/30 2 * * *", DstGap.SKIP, []),
    ("* * 2 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("* 30 2 * * *", None, AFTER_GAP),
    ("59 59 2 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("59 59 2 * * *", DstGap.SKIP, []),
    ("0 2,3 * * *", DstGap.RUN_AFTER, AFTER_GAP),
    ("0 2,3 * * *", DstGap.SKIP, AFTER_GAP),
)


@pytest.mark.parametrize(("expression", "gap", "expected"), GAPS)
def test_the_rule_for_gaps(expression: str, gap: DstGap | None, expected: list[str]) -> None:
    trigger = CronTrigger(expression, BERLIN, dst_gap=gap)
    assert shown(slots_between(trigger, *GAP_DAY, "", 99)) == expected
    assert shown(latest_slots(trigger, *GAP_DAY, "", 99)) == expected


OVERLAPS: tuple[tuple[str, DstOverlap | None, list[str]], ...] = (
    ("30 2 * * *", None, FIRST_PASS),
    ("30 2 * * *", DstOverlap.FIRST, FIRST_PASS),
    ("0 1-3 * * *", DstOverlap.FIRST, ["10-25T01:00+02:00", "10-25T02:00+02:00", "10-25T03:00+01:00"]),
    ("30 2 * * *", DstOverlap.SECOND, SECOND_PASS),
    ("30 2 * * *", DstOverlap.BOTH, FIRST_PASS + SECOND_PASS),
    ("*/60 2 * * *", DstOverlap.FIRST, ["10-25T02:00+02:00"]),
    ("*/60 2 * * *", DstOverlap.SECOND, ["10-25T02:00+01:00"]),
    ("*/60 2 * * *", None, ["10-25T02:00+02:00", "10-25T02:00+01:00"]),
    ("59 1-3 * * *", DstOverlap.SECOND, ["10-25T01:59+02:00", "10-25T02:59+01:00", "10-25T03:59+01:00"]),
    ("0 30 2 * * *", None, FIRST_PASS),
    ("0 30 2 * * *", DstOverlap.BOTH, FIRST_PASS + SECOND_PASS),
)


@pytest.mark.parametrize(("expression", "overlap", "expected"), OVERLAPS)
def test_the_rule_for_overlaps(expression: str, overlap: DstOverlap | None, expected: list[str]) -> None:
    trigger = CronTrigger(expression, BERLIN, dst_overlap=overlap)
    assert shown(slots_between(trigger, *OVERLAP_DAY, "", 99)) == expected
    assert shown(latest_slots(trigger, *OVERLAP_DAY, "", 99)) == expected
    for start in range(*OVERLAP_DAY, 600_000):  # wherever in the two passes the question is asked
        later = [slot for slot in slots_between(trigger, *OVERLAP_DAY, "", 99) if slot > start]
        assert list(slots_between(trigger, start, OVERLAP_DAY[1], "", 99)) == later


def test_several_changes_lie_between_a_slot_and_the_question() -> None:
    spring, autumn = CronTrigger("0 12 29 3 *", BERLIN), CronTrigger("0 12 25 10 *", BERLIN)
    winter = ms("2026-12-01T00:00+01:00")
    assert shown(latest_slots(spring, 0, winter, "", 1)) == ["03-29T12:00+02:00"]
    assert shown(latest_slots(autumn, 0, winter, "", 1)) == ["10-25T12:00+01:00"]
    assert shown(latest_slots(autumn, 0, ms("2027-05-01T00:00+02:00"), "", 1)) == ["10-25T12:00+01:00"]
    assert shown(slots_between(spring, 0, winter, "", 99)[-1:]) == ["03-29T12:00+02:00"]
    assert shown(slots_between(autumn, ms("2026-01-01T00:00+01:00"), winter, "", 1)) == ["10-25T12:00+01:00"]
    assert shown(slots_between(autumn, ms("2025-12-01T00:00+01:00"), winter, "", 1)) == ["10-25T12:00+01:00"]


# --- bounds


def counted(looks: Counter[str], name: str, real: Callable[..., int | None]) -> Callable[..., int | None]:
    def look(*args: object) -> int | None:
        looks[name] += 1
        return real(*args)

    return look


@pytest.mark.parametrize("expression", ["* * * * * *", "* * * * *", "*/7 3 * * MON-FRI", "H H L * *", "* * 29 2 *"])
def test_a_gap_of_years_costs_what_its_last_slots_cost(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[str] = Counter()
    for look in ("_next_day", "_previous_day", "_first_day", "_last_day"):
        monkeypatch.setattr(schedule, look, counted(looks, look, getattr(schedule, look)))
    now = ms("2026-11-23T16:00+00:00")
    assert len(latest_slots(CronTrigger(expression, BERLIN), 0, now, "uid", 100)) == 100
    assert looks.total() < 500


def test_no_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def boom() -> float:
        raise AssertionError("croniter asked for the time")

    monkeypatch.setattr(sys.modules["croniter.croniter"], "time", boom)
    schedule._calendar.cache_clear()
    schedule._next_day.cache_clear()
    assert next_slot(CronTrigger("13 13 13 * FRI#2"), 0, "") == ms("1970-01-09T13:13+00:00")


def test_what_is_remembered_is_bounded() -> None:
    for remembered in (schedule._read_for, schedule._calendar, schedule._next_day, schedule._previous_day):
        assert remembered.cache_info().maxsize is not None


def test_croniter_is_left_as_it_was_found() -> None:
    """A calendar is shared by all who ask; none may see where another was."""
    before = vars(schedule._calendar("0 0 13 * *")).copy()
    assert next_slot(CronTrigger("0 0 13 * *"), ms("2031-01-01T00:00+00:00"), "") is not None
    assert vars(schedule._calendar("0 0 13 * *")) == before
