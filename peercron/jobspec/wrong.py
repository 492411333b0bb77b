"""What is wrong with a table, told as it is found; and durations, which many keys have."""

from __future__ import annotations

from typing import Protocol

from peercron.core import limits
from peercron.times import format_duration, parse_duration_ms


class Wrong(Protocol):
    """Takes note of a problem: the key it stands at, and one sentence."""

    def __call__(self, key: str, message: str) -> None: ...


def duration_ms(key: str, text: str, wrong: Wrong, *, min_ms: int = 0, max_ms: int = limits.TIMEOUT_MS_MAX) -> int:
    """Milliseconds of a duration; where it is wrong, the smallest stands in, so that what follows can be judged."""
    try:
        found_ms = parse_duration_ms(text)
    except ValueError as error:
        wrong(key, str(error))
        return min_ms
    if not min_ms <= found_ms <= max_ms:
        wrong(key, f"{text} is not from {format_duration(min_ms)} to {format_duration(max_ms)}")
        return min_ms
    return found_ms
