"""How the nodes share a job, from its table, and back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from peercron.core.job import CommandTask, Definition, ManualTrigger
from peercron.jobspec.tables import MODE_KEYS, JobTable
from peercron.jobspec.wrong import Wrong, duration_ms
from peercron.times import format_duration

#: What need not be written.
_NORMAL = Definition(name="normal", trigger=ManualTrigger(), task=CommandTask())


#: Keys that are written as the definition has them.
PLAIN_KEYS = ("failback", "losers", "count", "order", "sync", "quorum")


def read_mode(table: JobTable, wrong: Wrong) -> dict[str, Any]:
    """The fields of a definition that say how the nodes share the job, those that differ from the defaults."""
    for key, mode in MODE_KEYS.items():
        if getattr(table, key) is not None and table.mode is not mode:
            wrong(key, f'has a meaning only with mode = "{mode.value}"')
    found: dict[str, Any] = {"mode": table.mode, "where": table.where.strip()}
    found |= {key: value for key in PLAIN_KEYS if (value := getattr(table, key)) is not None}
    if table.failback_after is not None:
        found["failback_after_ms"] = duration_ms("failback_after", table.failback_after, wrong)
    return found


def render_mode(definition: Definition) -> dict[str, Any]:
    """The keys of jobs.toml for it, those that differ from the defaults."""
    table: dict[str, Any] = {}
    for key in ("mode", "where", *PLAIN_KEYS):
        if (value := getattr(definition, key)) != getattr(_NORMAL, key):
            table[key] = _plain(value)
    if definition.failback_after_ms != _NORMAL.failback_after_ms:
        table["failback_after"] = format_duration(definition.failback_after_ms)
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, StrEnum) else value
