"""Tasks: what each kind of task must obey; a part of `definition`."""

from __future__ import annotations

import re

from peercron.core.job import ClassTask, CommandTask, EnvEntry, HttpTask, Task, TcpTask
from peercron.core.limits import (
    ADDRESS_LENGTH_MAX,
    ARGUMENT_BYTES_MAX,
    ENV_ENTRIES_MAX,
    MEMORY_BYTES_MAX,
    NAME_LENGTH_MAX,
    TARGET_LENGTH_MAX,
    URL_LENGTH_MAX,
)

_DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
#: ASCII: what else a name may begin with differs between versions of Python, and so between members.
_TARGET = re.compile(f"{_DOTTED}:{_DOTTED}")
_METHOD = re.compile(r"[A-Z]{1,16}")


def flaw_of_task(task: Task) -> str:
    """What is wrong with it, in one sentence that begins with the field; empty: nothing."""
    match task:
        case CommandTask():
            return _command(task)
        case HttpTask():
            return _http(task)
        case TcpTask():
            return _tcp(task)
        case ClassTask():
            return _class(task)


def _command(task: CommandTask) -> str:
    if bool(task.argv) == bool(task.shell):
        return "command, shell: one of them is wanted, and only one"
    if task.argv and not task.argv[0]:
        return "command: its first word, the program, is empty"
    return _texts("command, shell, cwd, user", (*task.argv, task.shell, task.cwd, task.user), task.env)


def _class(task: ClassTask) -> str:
    if len(task.target) > TARGET_LENGTH_MAX or _TARGET.fullmatch(task.target) is None:
        return f'class: wants "module:Class", not {task.target[:NAME_LENGTH_MAX]!r}'
    if not 0 <= task.memory_max_bytes <= MEMORY_BYTES_MAX:
        return f"memory_max: wants 0 (no bound) to {MEMORY_BYTES_MAX} bytes"
    return _texts("cwd", (task.cwd,), task.env)


def _texts(keys: str, own: tuple[str, ...], env: tuple[EnvEntry, ...]) -> str:
    """What is wrong with the texts of a task, which stand under these keys, and with its environment."""
    texts = (*own, *(entry.value for entry in env))
    if any("\0" in text for text in texts):
        return f"{keys}, env: no text may have a NUL in it"
    size = sum(len(text.encode()) for text in texts)
    if size > ARGUMENT_BYTES_MAX:
        return f"{keys}, env: {size} bytes together, at most {ARGUMENT_BYTES_MAX} are kept"
    if len(env) > ENV_ENTRIES_MAX:
        return f"env: {len(env)} entries, at most {ENV_ENTRIES_MAX} are kept"
    names = [entry.name for entry in env]
    if any(not name or "=" in name or "\0" in name or len(name) > NAME_LENGTH_MAX for name in names):
        return f"env: a name wants 1 to {NAME_LENGTH_MAX} characters and no '='"
    return "env: a name is there twice" if len(set(names)) < len(names) else ""


def _tcp(task: TcpTask) -> str:
    if not 0 < len(task.host) <= ADDRESS_LENGTH_MAX or not task.host.isprintable() or " " in task.host:
        return f"tcp.host: wants a name or an address of at most {ADDRESS_LENGTH_MAX} characters"
    if not 0 < task.port < 65_536:
        return "tcp.port: wants 1 to 65535"
    size = len(task.send) + len(task.expect)
    if size > ARGUMENT_BYTES_MAX:
        return f"tcp.send, tcp.expect: {size} bytes together, at most {ARGUMENT_BYTES_MAX} are kept"
    return ""


def _http(task: HttpTask) -> str:
    if _METHOD.fullmatch(task.method) is None:
        return f"http.method: wants capital letters such as GET, not {task.method[:NAME_LENGTH_MAX]!r}"
    if not task.url.startswith(("http://", "https://")) or len(task.url) > URL_LENGTH_MAX or not task.url.isprintable():
        return f"http.url: wants http:// or https:// and at most {URL_LENGTH_MAX} printable characters"
    size = len(task.body) + sum(len(name.encode()) + len(value.encode()) for name, value in task.headers)
    if size > ARGUMENT_BYTES_MAX:
        return f"http.body, http.headers: {size} bytes together, at most {ARGUMENT_BYTES_MAX} are kept"
    printable = all(name and (name + value).isprintable() for name, value in task.headers)
    if len(task.headers) > ENV_ENTRIES_MAX or not printable:
        return f"http.headers: want names, no line breaks, and at most {ENV_ENTRIES_MAX} of them"
    if len(task.expect_status) > 500 or not all(100 <= status <= 599 for status in task.expect_status):
        return "http.expect: wants statuses from 100 to 599"
    return ""
