"""Durations and instants: what is written is read back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.times import DURATION_MS_MAX, format_duration, format_instant, parse_duration_ms, parse_instant_ms


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("15m", 900_000),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("0.25s", 250),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        (" 5s ", 5_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, expected_ms: int) -> None:
    assert parse_duration_ms(text) == expected_ms


@pytest.mark.parametrize("text", ["", " ", "30", "s", "-1s", "1 h", "1y", "1h30", "1.s", "१s", "1e3s", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration like"):
        parse_duration_ms(text)


@given(st.integers(0, 10**13))
def test_a_duration_comes_back(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00.250+01:00", 250),
        ("2026-12-01T10:00:00Z", 1_796_119_200_000),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_instants(text: str, expected_ms: int) -> None:
    assert parse_instant_ms(text) == expected_ms


@pytest.mark.parametrize("text", ["", "2026-12-01T10:00:00", "tomorrow", "2026-13-01T00:00:00Z", "12"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match="like 2026-12-01T10:00:00Z"):
        parse_instant_ms(text)


@given(st.integers(0, 4_102_444_800_000))
def test_an_instant_comes_back(instant_ms: int) -> None:
    assert parse_instant_ms(format_instant(instant_ms)) == instant_ms


def test_a_duration_beyond_all_bounds_is_none() -> None:
    assert parse_duration_ms("520000w") < DURATION_MS_MAX
    with pytest.raises(ValueError, match="longer than ten thousand years"):
        parse_duration_ms("999999999999999w")
