"""Task: what a job does: a command, an HTTP call, a TCP exchange, or Python code in a class."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.secret import EnvEntry


@dataclass(frozen=True, slots=True)
class CommandTask:
    """A command: `argv` run as it is, or with `shell` given, that text under /bin/sh -c (then argv is empty)."""

    argv: tuple[str, ...] = ()
    shell: str = ""
    env: tuple[EnvEntry, ...] = ()
    cwd: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class HttpTask:
    """An HTTP call; succeeds when the status is one of `expect_status` (empty: any 2xx)."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    expect_status: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassTask:
    """Python code: `target` names a class that inherits from `peercron.Job`, as "module:Class". It runs in a process of
    its own.
    """

    target: str
    env: tuple[EnvEntry, ...] = ()
    cwd: str = ""
    #: Address space that the run may take, in bytes; what asks for more gets a MemoryError. 0: no bound.
    memory_max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TcpTask:
    """A TCP exchange: connect, send, and succeed when `expect` has come (empty: when all is sent)."""

    host: str
    port: int
    send: bytes = b""
    expect: bytes = b""


Task = CommandTask | HttpTask | ClassTask | TcpTask
