"""orders: what node and guardian say to each other, one JSON object a line."""

from __future__ import annotations

import json
from typing import Any, TypedDict, cast

from peercron.execution.limits import LINE_BYTES_MAX


class Launch(TypedDict):
    """Start an attempt."""

    #: Names it in every later line, and its files.
    key: str
    #: Program and arguments; or empty, and `shell` is a text for /bin/sh.
    argv: list[str]
    shell: str
    #: [name, source, value], as in `core.job.EnvEntry`.
    env: list[list[str]]
    cwd: str
    user: str
    #: The PEERCRON_* variables.
    variables: dict[str, str]
    #: 0: none.
    timeout_s: float
    grace_s: float
    #: Lives on when the lease ends.
    keep: bool
    #: A process of ours that runs job classes (see `worker`): it is handed its work, and `env` and `cwd` are for that.
    worker: bool
    #: JSON of what a worker has to do; empty: it waits for that.
    work: str
    #: Its own time, whatever the lease: TERM and KILL, in monotonic seconds; empty: it lives by the lease.
    until: list[float]
    #: Prepared at once, and started when it is released.
    held: bool
    #: So many processes it may have at once.
    processes: int


class Ended(TypedDict):
    """The end of an attempt; `outcome` is an `AttemptState` by value."""

    key: str
    outcome: str
    exit_code: int | None
    started_ms: int | None
    finished_ms: int
    reason: str
    output_tail: str


_LAUNCH_TYPES: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "argv": list,
    "shell": str,
    "env": list,
    "cwd": str,
    "user": str,
    "variables": dict,
    "timeout_s": (int, float),
    "grace_s": (int, float),
    "keep": bool,
    "worker": bool,
    "work": str,
    "until": list,
    "held": bool,
    "processes": int,
}
assert _LAUNCH_TYPES.keys() == Launch.__annotations__.keys()


def launch(found: Any) -> Launch:
    """What was received as a launch. Raises ValueError when it is none."""
    if not isinstance(found, dict):
        raise ValueError("a launch that is no object")  # noqa: TRY004 - of the line, not of a caller
    for name, kind in _LAUNCH_TYPES.items():
        if not isinstance(found.get(name), kind):
            raise ValueError(f"a launch with a wrong {name}")  # noqa: TRY004 - as above
    if "/" in found["key"] or found["key"].startswith("."):
        raise ValueError("a launch whose key is no name of a file")
    return cast("Launch", found)


def encode(line: object) -> bytes:
    r"""One line.

    >>> encode({"do": "close"})
    b'{"do":"close"}\n'
    """
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object of a line. Raises ValueError for anything else."""
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("a line that is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("a line that is no object")  # noqa: TRY004 - as above
    return found


class LineTooLong(ValueError):
    """The other side sent more than LINE_BYTES_MAX bytes without an end of line; what follows cannot be trusted."""


class Lines:
    r"""Bytes in, whole lines out.

    >>> lines = Lines()
    >>> lines.feed(b'{"do":"cl'), lines.feed(b'ose"}\n{')
    ([], [b'{"do":"close"}'])
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        start = len(self._rest)
        self._rest += data
        if (end := self._rest.rfind(b"\n", start)) < 0:
            if len(self._rest) > LINE_BYTES_MAX:
                raise LineTooLong
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[: end + 1]
        return lines
