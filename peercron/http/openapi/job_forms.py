"""Forms of a job: what the types of its tables do not say of their texts, numbers and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any, Final

from peercron.core import limits
from peercron.http.openapi.shape import DURATION, IN_NAMESPACE, NAME
from peercron.jobspec.tasks import METHODS

Schema = dict[str, Any]

_DURATION: Final[Schema] = {"type": "string", "pattern": DURATION}
_NAME: Final[Schema] = {"type": "string", "pattern": f"^{NAME}$"}
_KEY: Final[Schema] = {"type": "string", "pattern": f"^{IN_NAMESPACE}$"}
_AT: Final[Schema] = {"type": "string", "format": "date-time"}
_DOTTED: Final = "[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*"
_POSITIVE: Final[Schema] = {"type": "integer", "minimum": 1}
_REFERENCE: Final[Schema] = {
    "type": "object",
    "description": "where the node that runs finds it",
    "properties": {key: {"type": "string", "minLength": 1} for key in ("file", "env", "credential")},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_PLAIN: Final[Schema] = {"type": ["string", "number", "boolean"]}


def _said(says: str, form: Mapping[str, Any] | None = None) -> Schema:
    return {"description": says, **(form or {})}


_JOB: Final[Mapping[str, Schema]] = {
    "name": _said("unique in its namespace", _NAME),
    "owner": _said("apply --prune touches only jobs of this owner", {"type": "string", "maxLength": 512}),
    "namespace": _NAME,
    "schedule": _said("five fields of cron, or six with seconds first", {"type": "string"}),
    "every": _said("a fixed distance, from the anchor on", _DURATION),
    "at": _said("once", _AT),
    "anchor": _AT,
    "when": _said("each time this comes true", {"type": "string"}),
    "webhook": _said("at each POST /v1/hooks/{name}"),
    "webhook_secret": _REFERENCE,
    "on": _said("when something happens outside, or in a queue"),
    "command": _said("a program and its arguments", {"type": "array", "minItems": 1}),
    "shell": _said("for /bin/sh -c", {"type": "string", "pattern": r"\S"}),
    "http": _said("an HTTP call"),
    "tcp": _said("a TCP connection: what is sent, and what has to be in the answer"),
    "class": _said("Python code: module:Class", {"type": "string", "pattern": f"^{_DOTTED}:{_DOTTED}$"}),
    "memory_max": _said("of a job class", {"type": "string"}),
    "processes_max": _POSITIVE | {"maximum": limits.PROCESSES_MAX_MAX},
    "params": _said(
        "what each run is given, unless who asks for it gives other values",
        {"type": "object", "additionalProperties": _PLAIN, "maxProperties": limits.PARAMS_MAX},
    ),
    "timezone": {"type": "string"},
    "timeout": _said("an attempt is ended after this; 0s: never", _DURATION),
    "overlap": _said("what comes of a slot while an earlier one is not done"),
    "misfire": _said("what comes of slots that nobody could start"),
    "mode": _said("how nodes share it"),
    "nodes": _said("those that may run it; none: all", {"type": "array", "uniqueItems": True}),
    "slice": _said("in mode slice: how long a node has its turn", _DURATION),
    "on_absent": _said("in mode slice: what comes of the slots of a node that is not there"),
    "env": _said(
        "variables: texts, or where the node that runs finds them",
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, _REFERENCE]}},
    ),
    "cwd": _said("an absolute path", {"type": "string", "pattern": "^/"}),
    "kill_grace": _said("between SIGTERM and SIGKILL", _DURATION),
    "on_disconnect": _said("what an attempt does whose node is cut off"),
    "jitter": _said("a stable offset for each slot, at most this", _DURATION),
    "checks": {"type": "array", "maxItems": limits.CHECKS_PER_JOB_MAX},
    "failback_after": _said("in mode standby: after so long of unbroken health", _DURATION),
    "after": _said("jobs that it comes after", {"type": "array", "maxItems": limits.AFTER_MAX}),
    "pool": _said("the pool whose size bounds it"),
    "lock": _said("not while anybody holds it", _KEY),
    "queue": _said("a run for each item; in mode queue, whose slots put items there", _KEY),
    "where": _said("nodes for which this is true", {"type": "string", "maxLength": limits.WHERE_LENGTH_MAX}),
    "losers": _said("in mode contend"),
    "count": _said("in mode parallel: on how many nodes", _POSITIVE),
    "order": _said("in mode parallel: one after another"),
    "sync": _said("in mode parallel: all begin at a barrier"),
    "quorum": _said("in mode parallel: when the whole has succeeded"),
    "paused": _said("not written: as it is"),
}
_CHECKED: Final[dict[str, Schema]] = {
    "interval": _DURATION,
    "timeout": _DURATION,
    "rise": _said("well again after so many in a row", _POSITIVE | {"maximum": limits.CHECK_STREAK_MAX}),
    "fall": _said("bad after so many in a row", _POSITIVE | {"maximum": limits.CHECK_STREAK_MAX}),
}
_FORMS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "MisfireTable": {
        "window": _DURATION,
        "max": _POSITIVE | {"maximum": limits.MISFIRE_REPLAY_MAX},
    },
    "RetryTable": {
        "max": {"type": "integer", "minimum": 0, "maximum": limits.RETRIES_MAX},
        "base": _DURATION,
        "cap": _DURATION,
    },
    "ConcurrencyTable": {key: {"type": "integer", "minimum": 0} for key in ("per_node", "per_job")},
    "TcpTable": {"port": _POSITIVE | {"maximum": 65_535}},
    "HttpTable": {"method": {"type": "string", "enum": [*METHODS, None]}, "url": {"type": "string", "format": "uri"}},
    "CheckTable": _CHECKED | {"observers": _said("how many nodes look; 0: each at itself", {"minimum": 0})},
    "OnTable": _CHECKED,
}
#: Of each of these a job has one, or at most one. What is null or false is not written.
_TASKS: Final = ("command", "shell", "http", "tcp", "class")
_TRIGGERS: Final = ("schedule", "every", "at", "when", "webhook", "on")


def _refine(schema: Schema, forms: Mapping[str, Schema]) -> None:
    properties = schema["properties"]
    for key, form in forms.items():
        properties[key] = _formed(properties[key], form)


def _formed(said: Schema, form: Schema) -> Schema:
    """The schema of a property with what is known besides; where it can be null, with the other branch."""
    kind, told = form.get("type"), {key: value for key, value in form.items() if key == "description"}
    more = {key: value for key, value in form.items() if key not in ("type", "description")}
    if "anyOf" in said and kind:
        return said | told | {"anyOf": [each | more if each.get("type") == kind else each for each in said["anyOf"]]}
    return said | told | more


def _of_job(schema: Schema) -> None:
    _refine(schema, _JOB)
    schema["oneOf"] = [_has(task) for task in _TASKS]
    schema["not"] = {"anyOf": [{"allOf": [_has(one), _has(other)]} for one, other in combinations(_TRIGGERS, 2)]}


def _has(key: str) -> Schema:
    return {"required": [key], "properties": {key: {"not": {"enum": [None, False]}}}}


def _as_patch(schema: Schema) -> None:
    """Of a merge patch: nothing has to be there, what is null is taken away, and what is nested is merged, too."""
    _refine(schema, _JOB)
    schema["properties"] = {key: _patched(said) for key, said in schema["properties"].items()}


def _patched(said: Schema) -> Schema:
    about: Schema = {"description": said["description"]} if "description" in said else {}
    branches = [each for each in said.get("anyOf", [said]) if each.get("type") != "null"]
    return about | {"anyOf": [*map(_bare, branches), {"type": "null"}]}


def _bare(branch: Schema) -> Schema:
    if "$ref" in branch and _is_table(branch["$ref"]):
        return {"type": "object"}
    return {key: value for key, value in branch.items() if key not in ("default", "description")}


def _is_table(reference: str) -> bool:
    return reference.endswith("Table")


def _refined() -> Iterator[tuple[str, Callable[[Schema], None]]]:
    yield from ((name, _of_job) for name in ("JobTable", "JobPut", "JobView"))
    yield "JobPatch", _as_patch
    for name, forms in _FORMS.items():
        yield name, partial(_refine, forms=forms)


#: Shape -> what is added to its schema.
REFINED: Final[Mapping[str, Callable[[Schema], None]]] = dict(_refined())
