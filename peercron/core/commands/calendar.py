"""Calendars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetCalendar:
    """Make a calendar, or give it other days; for the rules see `core.calendar`."""

    name: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteCalendar:
    """Refused (conflict) while a job goes by it."""

    name: str
