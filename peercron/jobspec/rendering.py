"""From definitions to tables: only what differs from the defaults; reading it again gives the same definition."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from peercron.core.job import (
    AtTrigger,
    ClassTask,
    CommandTask,
    CronTrigger,
    Definition,
    EnvEntry,
    EveryTrigger,
    HttpTask,
    ManualTrigger,
    Misfire,
    SecretSource,
    Task,
    TcpTask,
    Trigger,
)
from peercron.jobspec.checks import render_check
from peercron.jobspec.modes import render_mode
from peercron.jobspec.policies import render_policies
from peercron.jobspec.reading import VERSION
from peercron.jobspec.triggers import render_occasion
from peercron.sizes import format_size
from peercron.times import format_duration, format_instant

#: What need not be written.
_NORMAL = Definition(name="normal", trigger=ManualTrigger(), task=CommandTask())
_PLAIN = ("overlap", "guarantee", "on_disconnect", "on_absent")


def render_document(jobs: Iterable[tuple[Definition, bool]]) -> dict[str, Any]:
    """A document that `apply` calls "no change", from definitions and whether each is paused."""
    jobs = list(jobs)
    head = render_head(definition for definition, _ in jobs)
    owner = head.get("owner", "")
    return head | {"jobs": [render_job(definition, paused=paused, owner=owner) for definition, paused in jobs]}


def render_head(definitions: Iterable[Definition]) -> dict[str, Any]:
    """What a document of these jobs says before the first of them: the owner, if they have one in common."""
    owners = {definition.owner for definition in definitions}
    shared = owners.pop() if len(owners) == 1 else ""
    return {"version": VERSION} | ({"owner": shared} if shared else {})


def render_job(definition: Definition, *, paused: bool = False, owner: str = "") -> dict[str, Any]:
    """One job as a table of plain values; `owner` is the one that the document says already."""
    table: dict[str, Any] = {"name": definition.name}
    if definition.namespace != "default":
        table["namespace"] = definition.namespace
    if definition.owner != owner:
        table["owner"] = definition.owner
    table |= _trigger(definition.trigger) | _task(definition.task)
    table |= {key: str(value) for key in _PLAIN if (value := getattr(definition, key)) != getattr(_NORMAL, key)}
    table |= render_mode(definition)
    if definition.nodes:
        table["nodes"] = list(definition.nodes)
    if definition.slice_ms:
        table["slice"] = format_duration(definition.slice_ms)
    if misfire := _misfire(definition.misfire):
        table["misfire"] = misfire
    table |= render_policies(definition)
    if definition.timeout_ms:
        table["timeout"] = format_duration(definition.timeout_ms)
    if definition.kill_grace_ms != _NORMAL.kill_grace_ms:
        table["kill_grace"] = format_duration(definition.kill_grace_ms)
    if definition.processes_max:
        table["processes_max"] = definition.processes_max
    if definition.checks:
        table["checks"] = [render_check(check) for check in definition.checks]
    if paused:
        table["paused"] = True
    return table


def _trigger(trigger: Trigger) -> dict[str, Any]:
    match trigger:
        case CronTrigger(expression, timezone, gap, overlap):
            dst = {name: str(value) for name, value in (("gap", gap), ("overlap", overlap)) if value}
            zone = {} if timezone == "UTC" else {"timezone": timezone}
            return {"schedule": expression} | zone | ({"dst": dst} if dst else {})
        case EveryTrigger(every_ms, anchor_ms):
            anchor = {"anchor": format_instant(anchor_ms)} if anchor_ms else {}
            return {"every": format_duration(every_ms)} | anchor
        case AtTrigger(at_ms):
            return {"at": format_instant(at_ms)}
        case _:
            return render_occasion(trigger)


def _task(task: Task) -> dict[str, Any]:
    match task:
        case CommandTask(argv, shell, env, cwd, user):
            table: dict[str, Any] = {"shell": shell} if shell else {"command": list(argv)}
            table |= _env(env)
            return table | {key: text for key, text in (("user", user), ("cwd", cwd)) if text}
        case ClassTask(target, env, cwd, memory_max_bytes):
            table = {"class": target} | _env(env) | ({"cwd": cwd} if cwd else {})
            return table | ({"memory_max": format_size(memory_max_bytes)} if memory_max_bytes else {})
        case HttpTask():
            return {"http": _http(task)}
        case TcpTask(host, port, send, expect):
            texts = {"send": send.decode("utf-8", "replace"), "expect": expect.decode("utf-8", "replace")}
            return {"tcp": {"host": host, "port": port} | {key: text for key, text in texts.items() if text}}


def _env(env: tuple[EnvEntry, ...]) -> dict[str, Any]:
    return {"env": {entry.name: _value(entry) for entry in env}} if env else {}


def _value(entry: EnvEntry) -> str | dict[str, str]:
    return entry.value if entry.source is SecretSource.LITERAL else {str(entry.source): entry.value}


def _http(task: HttpTask) -> dict[str, Any]:
    table: dict[str, Any] = {"method": task.method, "url": task.url}
    if task.headers:
        table["headers"] = dict(task.headers)
    if task.body:
        try:
            table["body"] = task.body.decode()
        except UnicodeDecodeError:
            table["body_base64"] = base64.b64encode(task.body).decode()
    if task.expect_status:
        table["expect"] = list(task.expect_status)
    return table


def _misfire(misfire: Misfire) -> dict[str, Any]:
    normal = _NORMAL.misfire
    table: dict[str, Any] = {}
    if misfire.policy != normal.policy:
        table["policy"] = str(misfire.policy)
    if misfire.window_ms != normal.window_ms:
        table["window"] = format_duration(misfire.window_ms)
    if misfire.max != normal.max:
        table["max"] = misfire.max
    return table
