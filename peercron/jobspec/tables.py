"""The shape of a job as it is written: its keys and their types; msgspec refuses what does not fit."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from enum import StrEnum
from functools import cache
from typing import TypeVar

import msgspec

from peercron.core.job import (
    DstGap,
    DstOverlap,
    Failback,
    Guarantee,
    Losers,
    MisfirePolicy,
    Mode,
    OnAbsent,
    OnDisconnect,
    Overlap,
    Quorum,
)
from peercron.core.pace import Backoff, Require, RetryOn
from peercron.errors import Problem
from peercron.jobspec.nested import CalendarTable, ConcurrencyTable, RetryTable, TcpTable
from peercron.jobspec.shapes import CheckTable, CheckUrlTable, ExpectTable, OnTable, ProcessTable, ServiceTable, Table
from peercron.sources import nearest
from peercron.times import INSTANT_FORM


class MisfireTable(Table):
    policy: MisfirePolicy = MisfirePolicy.LATEST
    window: str = "0s"
    max: int | None = None


class DstTable(Table):
    gap: DstGap | None = None
    overlap: DstOverlap | None = None


class ReferenceTable(Table):
    """A secret: exactly one of the three, resolved on the node that runs."""

    file: str | None = None
    env: str | None = None
    credential: str | None = None


class HttpTable(Table):
    url: str
    method: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    body_base64: str | None = None
    json: object = msgspec.UNSET
    expect: int | tuple[int, ...] | ExpectTable = ()


class JobTable(Table):
    """One job. A key that is None was not written."""

    name: str
    owner: str | None = None
    namespace: str = "default"
    schedule: str | None = None
    every: str | None = None
    at: dt.datetime | None = None
    anchor: dt.datetime | None = None
    when: str | None = None
    webhook: bool | None = None
    webhook_secret: dict[str, object] | None = None
    on: OnTable | None = None
    command: tuple[str, ...] | None = None
    shell: str | None = None
    http: HttpTable | None = None
    tcp: TcpTable | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    memory_max: str | None = None
    processes_max: int | None = None
    params: dict[str, object] | None = None
    timezone: str | None = None
    dst: DstTable | None = None
    timeout: str = "0s"
    overlap: Overlap = Overlap.FORBID
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    misfire: MisfireTable = msgspec.field(default_factory=MisfireTable)
    mode: Mode = Mode.SINGLE
    nodes: tuple[str, ...] = ()
    slice: str = "0s"
    on_absent: OnAbsent = OnAbsent.SKIP
    env: dict[str, object] | None = None
    user: str | None = None
    cwd: str | None = None
    kill_grace: str = "10s"
    on_disconnect: OnDisconnect = OnDisconnect.KILL
    retry: RetryTable | None = None
    jitter: str | None = None
    checks: tuple[CheckTable, ...] = ()
    failback: Failback | None = None
    failback_after: str | None = None
    after: tuple[str, ...] = ()
    require: Require | None = None
    concurrency: ConcurrencyTable = msgspec.field(default_factory=ConcurrencyTable)
    pool: str | None = None
    lock: str | None = None
    queue: str | None = None
    calendar: CalendarTable = msgspec.field(default_factory=CalendarTable)
    where: str = ""
    losers: Losers | None = None
    count: int | None = None
    order: tuple[str, ...] | None = None
    sync: bool | None = None
    quorum: Quorum | None = None
    paused: bool | None = None


JOB_KEYS = JobTable.__struct_encode_fields__
#: Keys that mean something in one mode only.
MODE_KEYS = dict.fromkeys(("failback", "failback_after"), Mode.STANDBY) | {"losers": Mode.CONTEND}
MODE_KEYS |= dict.fromkeys(("count", "order", "sync", "quorum"), Mode.PARALLEL)
#: What [defaults] may set: everything but what makes a job this one.
DEFAULT_KEYS = tuple(
    key for key in JOB_KEYS
    if key not in MODE_KEYS
    and key not in (
        "name", "schedule", "every", "at", "anchor", "when", "webhook", "webhook_secret", "on",
        "command", "shell", "http", "tcp", "class", "memory_max", "paused", "owner", "after", "queue",
    )
)  # fmt: skip
DOCUMENT_KEYS = ("version", "owner", "defaults", "jobs")
#: Designed, and not built yet: refused by name, so that nobody believes it works.
LATER_KEYS = frozenset({
    "limits",
    "notify",
})  # fmt: skip

_LATER_TEXT = "not supported by this version"
#: By dotted key, for errors that list what is accepted.
_CHOICES: dict[str, type[StrEnum]] = {
    "misfire.policy": MisfirePolicy,
    "retry.backoff": Backoff,
    "retry.on": RetryOn,
    "dst.gap": DstGap,
    "dst.overlap": DstOverlap,
    "overlap": Overlap,
    "require": Require,
    "guarantee": Guarantee,
    "mode": Mode,
    "on_absent": OnAbsent,
    "failback": Failback,
    "losers": Losers,
    "quorum": Quorum,
    "on_disconnect": OnDisconnect,
}
_NESTED: dict[str, type[Table]] = {
    "misfire": MisfireTable,
    "retry": RetryTable,
    "concurrency": ConcurrencyTable,
    "calendar": CalendarTable,
    "dst": DstTable,
    "http": HttpTable,
    "tcp": TcpTable,
    "http.expect": ExpectTable,
    "on": OnTable,
    "on.http": CheckUrlTable,
    "on.http.expect": ExpectTable,
    "checks": CheckTable,
    "checks.process": ProcessTable,
    "checks.service": ServiceTable,
    "checks.service.http": CheckUrlTable,
    "checks.service.http.expect": ExpectTable,
}
_KINDS = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "datetime": INSTANT_FORM,
    "date": "a date",
    "null": "null",
}
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_EXPECTED = re.compile(r"Expected `(.*)`, got `(.*)`")
_ENUM = re.compile(r"Invalid enum value '?(.*?)'?")
#: Of an item of a list: checks[0].
_INDEX = re.compile(r"\[\d+\]")
_MISSING = re.compile(r"Object missing required field `(.*)`")

TableT = TypeVar("TableT", bound=Table)


def key_problems(table: object, path: str, known: Collection[str]) -> list[Problem]:
    """Every key of a table that this version does not take, with the nearest one that it does."""
    if not isinstance(table, dict):
        return [Problem(path, "must be a table")]
    unknown = [str(key) for key in table if key not in known]
    return [Problem(join(path, key), _unknown_key(key, known)) for key in unknown]


@cache
def _fields(kind: type[Table]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Found once: it takes longer than all the rest of a job."""
    return msgspec.structs.fields(kind)


def convert(table: dict[str, object], kind: type[TableT], path: str) -> tuple[TableT | None, list[Problem]]:
    """The table in its type, or all that does not fit: keys are judged one by one, so that none hides another."""
    problems = key_problems(table, path, kind.__struct_encode_fields__)
    fields = {}
    for spec in _fields(kind):
        if spec.encode_name in table:
            try:
                fields[spec.name] = msgspec.convert(table[spec.encode_name], spec.type)
            except msgspec.ValidationError as error:
                problems.append(_told(str(error), spec.encode_name, path))
        elif spec.required:
            problems.append(Problem(join(path, spec.encode_name), "required"))
    return (None, problems) if problems else (kind(**fields), [])


def join(path: str, key: str) -> str:
    """The path of a key inside a table: "jobs[2]" and "name" give "jobs[2].name"."""
    return f"{path}.{key}" if path and key else path or key


def _told(message: str, key: str, path: str) -> Problem:
    text, _, where = message.partition(" - at `$")
    key += where.rstrip("`")
    if found := _UNKNOWN.fullmatch(text):
        nested = _NESTED.get(_INDEX.sub("", key))
        known = nested.__struct_fields__ if nested else ReferenceTable.__struct_fields__
        return Problem(join(path, f"{key}.{found[1]}"), _unknown_key(found[1], known))
    if found := _MISSING.fullmatch(text):
        return Problem(join(path, f"{key}.{found[1]}"), "required")
    return Problem(join(path, key), _sentence(text, key))


def _sentence(text: str, key: str) -> str:
    if found := _EXPECTED.fullmatch(text):
        kinds = [_KINDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null"]
        return f"must be {' or '.join(kinds)}, not {_KINDS.get(found[2], found[2])}"
    if (found := _ENUM.fullmatch(text)) and (choices := _CHOICES.get(key)):
        accepted = [choice.value for choice in choices]
        return f"{found[1]!r}: must be one of {', '.join(accepted)}{nearest(found[1], accepted)}"
    return f"must be {INSTANT_FORM}, with its seconds" if "RFC3339" in text else text


def _unknown_key(key: str, known: Collection[str]) -> str:
    return _LATER_TEXT if key in LATER_KEYS else f"unknown key{nearest(key, tuple(known))}"
