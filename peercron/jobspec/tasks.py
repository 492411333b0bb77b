"""What a job runs, from its table: a command with its environment, an HTTP call, or Python code in a class."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from peercron.core import limits
from peercron.core.job import ClassTask, CommandTask, EnvEntry, HttpTask, SecretSource, Task, TcpTask
from peercron.jobspec.shapes import ExpectTable
from peercron.jobspec.tables import HttpTable, JobTable, ReferenceTable, key_problems
from peercron.jobspec.wrong import Wrong
from peercron.sizes import parse_size

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Peercron's own variables in a run; a job cannot pretend to be another.
RESERVED_PREFIX = "PEERCRON_"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Key -> its name in the table's type.
_KINDS = {"command": "command", "shell": "shell", "http": "http", "tcp": "tcp", "class": "class_"}
#: Keys that mean something to some kinds only.
KEYS_OF_KINDS = {
    "env": ("command", "shell", "class"),
    "cwd": ("command", "shell", "class"),
    "user": ("command", "shell"),
    "memory_max": ("class",),
    "processes_max": ("command", "shell", "class"),
}


def read_task(table: JobTable, wrong: Wrong) -> Task:
    given = [kind for kind, name in _KINDS.items() if getattr(table, name) is not None]
    if len(given) != 1:
        found = f"not {' and '.join(given)}" if given else "none is there"
        wrong(given[1] if given else "command", f"give one of command, shell, http, tcp and class; {found}")
    for key, kinds in KEYS_OF_KINDS.items():
        if getattr(table, key) is not None and given and not set(kinds) & set(given):
            wrong(key, f"has a meaning only with {' or '.join(kinds)}")
    if table.http is not None:
        return _http(table.http, wrong)
    if table.tcp is not None:
        return TcpTask(table.tcp.host, table.tcp.port, table.tcp.send.encode(), table.tcp.expect.encode())
    if table.class_ is not None:
        return _class(table, table.class_, wrong)
    return _command(table, wrong)


def _class(table: JobTable, target: str, wrong: Wrong) -> ClassTask:
    if not _TARGET.fullmatch(target):
        wrong("class", f'{target!r} is not like "acme.jobs:Report": a module, a colon, a class in it')
    memory_max_bytes = 0
    try:
        memory_max_bytes = parse_size(table.memory_max) if table.memory_max is not None else 0
    except ValueError as error:
        wrong("memory_max", str(error))
    _check_cwd(table, wrong)
    return ClassTask(target, _environment(table, wrong), table.cwd or "", memory_max_bytes)


def _command(table: JobTable, wrong: Wrong) -> CommandTask:
    argv, shell = table.command or (), table.shell or ""
    if table.command is not None and not (argv and argv[0]):
        wrong("command", 'must name a program: ["python", "report.py"]')
    if table.shell is not None and not shell.strip():
        wrong("shell", "is empty")
    for key, texts in (("command", argv), ("shell", (shell,))):
        if any("\0" in text for text in texts):
            wrong(key, "has a NUL character in it")
        if sum(len(text.encode()) for text in texts) > limits.ARGUMENT_BYTES_MAX:
            wrong(key, f"is longer than {limits.ARGUMENT_BYTES_MAX} bytes")
    _check_cwd(table, wrong)
    return CommandTask(argv, shell, _environment(table, wrong), table.cwd or "", table.user or "")


def _check_cwd(table: JobTable, wrong: Wrong) -> None:
    if table.cwd is not None and not table.cwd.startswith("/"):
        wrong("cwd", f"{table.cwd!r} is not an absolute path, and every node would read it differently")


def _environment(table: JobTable, wrong: Wrong) -> tuple[EnvEntry, ...]:
    env = table.env or {}
    if len(env) > limits.ENV_ENTRIES_MAX:
        wrong("env", f"has {len(env)} entries; at most {limits.ENV_ENTRIES_MAX} are allowed")
    entries = (entry for name, value in sorted(env.items()) for entry in _entries(name, value, wrong))
    return tuple(entries)


def _entries(name: str, value: object, wrong: Wrong) -> Iterator[EnvEntry]:
    key = f"env.{name}"
    if not _VARIABLE.fullmatch(name):
        wrong(key, "is not a variable's name: letters, digits and underscores, no digit first")
    if name.startswith(RESERVED_PREFIX):
        wrong(key, f"{RESERVED_PREFIX}… is set by peercron itself")
    if isinstance(value, str):
        source, text = SecretSource.LITERAL, value
    elif (reference := reference_of(key, value, wrong)) is None:
        return
    else:
        source, text = reference
    if "\0" in text or len(text.encode()) > limits.ARGUMENT_BYTES_MAX:
        wrong(key, f"has a NUL character in it, or more than {limits.ARGUMENT_BYTES_MAX} bytes")
    yield EnvEntry(name, source, text)


def reference_of(key: str, value: object, wrong: Wrong) -> tuple[SecretSource, str] | None:
    """Where a value is to be found by who needs it."""
    form = "must be text, or one of {file = …}, {env = …} and {credential = …}"
    if problems := key_problems(value, key, ReferenceTable.__struct_fields__):
        wrong(key, f"{form} ({problems[0]})" if isinstance(value, dict) else form)
        return None
    given = list(value.items()) if isinstance(value, dict) else []
    if len(given) != 1 or not isinstance(given[0][1], str) or not given[0][1]:
        wrong(key, form)
        return None
    return SecretSource(given[0][0]), given[0][1]


def _http(table: HttpTable, wrong: Wrong) -> HttpTask:
    body, headers = _body(table, wrong)
    method = (table.method or ("POST" if body else "GET")).upper()
    if method not in METHODS:
        wrong("http.method", f"{table.method!r}: must be one of {', '.join(METHODS)}")
    _check_url(table.url, wrong)
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            wrong(f"http.headers.{name}", "is not a header that can be sent")
    if len({name.lower() for name in headers}) < len(headers):
        wrong("http.headers", "names a header twice")
    if len(body) > limits.ARGUMENT_BYTES_MAX:
        wrong("http", f"has a body of more than {limits.ARGUMENT_BYTES_MAX} bytes")
    return HttpTask(method, table.url, tuple(headers.items()), body, statuses_of(table.expect, wrong, "http.expect"))


def _check_url(url: str, wrong: Wrong) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not url.isprintable() or " " in url:
        wrong("http.url", f"{url!r} is not like http://host:port/path")


def _body(table: HttpTable, wrong: Wrong) -> tuple[bytes, dict[str, str]]:
    headers = dict(table.headers)
    given = [key for key in ("body", "body_base64") if getattr(table, key) is not None]
    given += ["json"] if table.json is not msgspec.UNSET else []
    if len(given) > 1:
        wrong(f"http.{given[1]}", f"give one of {' and '.join(given)}")
    if table.json is not msgspec.UNSET:
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/json"
        return json.dumps(table.json, separators=(",", ":"), default=str).encode(), headers
    try:
        return base64.b64decode(table.body_base64 or "", validate=True) or (table.body or "").encode(), headers
    except (binascii.Error, ValueError):
        wrong("http.body_base64", "is not base64")
        return b"", headers


def statuses_of(expect: int | tuple[int, ...] | ExpectTable, wrong: Wrong, key: str) -> tuple[int, ...]:
    status = expect.status if isinstance(expect, ExpectTable) else expect
    statuses = (status,) if isinstance(status, int) else status
    if any(not 100 <= status <= 599 for status in statuses):
        wrong(key, "must be HTTP statuses, like 200 or [200, 204]")
    return statuses
