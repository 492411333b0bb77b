"""How the nodes share a job, from its table, and back."""

from __future__ import annotations

from typing import Any

from peercron.core.job import CommandTask, Definition, ManualTrigger
from peercron.jobspec.tables import MODE_KEYS, JobTable
from peercron.jobspec.wrong import Wrong, duration_ms
from peercron.times import format_duration

#: What need not be written.
_NORMAL = Definition(name="normal", trigger=ManualTrigger(), task=CommandTask())


def read_mode(table: JobTable, wrong: Wrong) -> dict[str, Any]:
    """The fields of a definition that say how the nodes share the job, those that differ from the defaults."""
    for key, mode in MODE_KEYS.items():
        if getattr(table, key) is not None and table.mode is not mode:
            wrong(key, f'has a meaning only with mode = "{mode.value}"')
    found: dict[str, Any] = {"mode": table.mode}
    if table.failback is not None:
        found["failback"] = table.failback
    if table.failback_after is not None:
        found["failback_after_ms"] = duration_ms("failback_after", table.failback_after, wrong)
    return found


def render_mode(definition: Definition) -> dict[str, Any]:
    """The keys of jobs.toml for it, those that differ from the defaults."""
    table: dict[str, Any] = {}
    if definition.mode is not _NORMAL.mode:
        table["mode"] = definition.mode.value
    if definition.failback is not _NORMAL.failback:
        table["failback"] = definition.failback.value
    if definition.failback_after_ms != _NORMAL.failback_after_ms:
        table["failback_after"] = format_duration(definition.failback_after_ms)
    return table
