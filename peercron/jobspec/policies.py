"""When and in which order a job may start, and what follows a failure, from its table, and back."""

from __future__ import annotations

from typing import Any

from peercron.core import limits
from peercron.core.job import CommandTask, Definition, ManualTrigger
from peercron.core.pace import Concurrency, Retry
from peercron.core.params import Params
from peercron.errors import ConfigError
from peercron.jobspec.nested import RetryTable
from peercron.jobspec.params import read_params
from peercron.jobspec.tables import JobTable
from peercron.jobspec.wrong import Wrong, duration_ms
from peercron.times import format_duration

#: What need not be written.
_NORMAL = Definition(name="normal", trigger=ManualTrigger(), task=CommandTask())
_SCHEDULED = ("schedule", "every", "at")


def read_policies(table: JobTable, wrong: Wrong) -> dict[str, Any]:
    """The fields of a definition that say so."""
    if table.require is not None and not table.after:
        wrong("require", "has a meaning only with after")
    return {
        "retry": _retry(table.retry, wrong),
        "jitter_ms": _jitter_ms(table, wrong),
        "after": tuple(name if "/" in name else f"{table.namespace}/{name}" for name in table.after),
        "require": table.require or _NORMAL.require,
        "concurrency": Concurrency(table.concurrency.per_node or int(bool(table.queue)), table.concurrency.per_job),
        "pool": table.pool or "",
        "lock": _lock(table.lock or ""),
        "queue": _queue(table),
        "include": table.calendar.include,
        "exclude": table.calendar.exclude,
        "params": _params(table.params or {}, wrong),
    }


def render_policies(definition: Definition) -> dict[str, Any]:
    """The keys of jobs.toml for it, those that differ from the defaults."""
    table: dict[str, Any] = {}
    if definition.after:
        table["after"] = [key.removeprefix(f"{definition.namespace}/") for key in definition.after]
    if definition.require is not _NORMAL.require:
        table["require"] = definition.require.value
    limits_of = {key: most for key in ("per_node", "per_job") if (most := getattr(definition.concurrency, key))}
    table |= {"concurrency": limits_of} if limits_of else {}
    days = {key: list(names) for key in ("include", "exclude") if (names := getattr(definition, key))}
    table |= {"calendar": days} if days else {}
    table |= {"pool": definition.pool} if definition.pool else {}
    table |= {"lock": definition.lock} if definition.lock else {}
    if definition.queue:
        table["queue"] = definition.queue.removeprefix(f"{definition.namespace}/")
    if definition.params:
        table["params"] = dict(definition.params)
    if definition.jitter_ms:
        table["jitter"] = format_duration(definition.jitter_ms)
    if definition.retry != _NORMAL.retry:
        table["retry"] = _rendered_retry(definition.retry)
    return table


def _queue(table: JobTable) -> str:
    """Its key; a bare name is in the namespace of the job."""
    if table.queue is None:
        return ""
    return table.queue if "/" in table.queue else f"{table.namespace}/{table.queue}"


def _params(given: dict[str, object], wrong: Wrong) -> Params:
    try:
        return read_params(given)
    except ConfigError as error:
        for problem in error.problems:
            wrong(problem.path, problem.message)
        return ()


def _jitter_ms(table: JobTable, wrong: Wrong) -> int:
    if table.jitter is None:
        return 0
    if all(getattr(table, key) is None for key in _SCHEDULED):
        wrong("jitter", "has a meaning only with schedule, every or at")
    return duration_ms("jitter", table.jitter, wrong, max_ms=limits.JITTER_MS_MAX)


def _retry(given: RetryTable | None, wrong: Wrong) -> Retry:
    if given is None:
        return Retry()
    base_ms, cap_ms = duration_ms("retry.base", given.base, wrong), duration_ms("retry.cap", given.cap, wrong)
    return Retry(given.max, given.backoff, base_ms, cap_ms, given.jitter, given.on)


def _rendered_retry(retry: Retry) -> dict[str, Any]:
    normal = _NORMAL.retry
    table: dict[str, Any] = {"max": retry.max}
    table |= {key: str(value) for key in ("backoff", "on") if (value := getattr(retry, key)) != getattr(normal, key)}
    for key, field in (("base", "base_ms"), ("cap", "cap_ms")):
        if getattr(retry, field) != getattr(normal, field):
            table[key] = format_duration(getattr(retry, field))
    return table | ({} if retry.jitter else {"jitter": False})


def _lock(name: str) -> str:
    """A bare name is in the namespace "default", as on the command line."""
    return name if "/" in name or not name else f"default/{name}"
