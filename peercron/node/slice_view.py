"""Slice view: what a node knows of its own slices, for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from peercron.core.schedule import ScheduleError
from peercron.core.slice_duty import Plan
from peercron.core.slices import SliceEntry
from peercron.core.views import instant


def job_view(
    plan: Plan, name: str, after_ms: int, running: Iterable[int], untold: Iterable[SliceEntry]
) -> dict[str, Any]:
    """One job; `running` are slots, and `name` is the node."""
    try:
        upcoming = plan.own(name).next_after(after_ms)[0]
    except ScheduleError:
        upcoming = None
    return {
        "job": plan.job.key,
        "nodes": list(plan.slices.shares[-1].nodes),
        "next": instant(upcoming),
        "running": [{"slot": slot_ms, "scheduled_for": instant(slot_ms)} for slot_ms in running],
        "untold": [_entry_view(entry) for entry in untold],
    }


def _entry_view(entry: SliceEntry) -> dict[str, Any]:
    """What is not told yet, for people."""
    return {
        "slot": entry.slot_ms,
        "scheduled_for": instant(entry.slot_ms),
        "outcome": entry.outcome.value,
        "reason": entry.reason,
        "started_at": instant(entry.started_ms),
        "finished_at": instant(entry.finished_ms),
        "exit_code": entry.exit_code,
    }
