"""A file that refuses a write with a stale fencing token: the largest token stands in a second file beside it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from peercron.errors import LeaseLost


def replace(path: Path, content: bytes, token: int) -> None:
    """Put the content in place of what the file has, whole or not at all. Raises LeaseLost where the token is stale.

    >>> with client.lock("reports/today") as lock:                              # doctest: +SKIP
    ...     replace(Path("/srv/today.html"), content, lock.token)

    The flock is between processes of this host, and the fence between holders on all: where the file is on a network
    file system, that must have locks of its own.
    """
    with _fence(path).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = int(_fence(path).read_bytes() or b"0")
        if token < newest:
            raise LeaseLost(f"stale fencing token {token} for {path}: {newest} was there")
        if token > newest:
            _remember(_fence(path), token)
        written = path.with_name(f"{path.name}.new")
        with written.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)


def _fence(path: Path) -> Path:
    return path.with_name(f"{path.name}.fence")


def _remember(fence: Path, token: int) -> None:
    """Before anything is written with it: if we stop in between, an older one is refused all the same. The file has
    nothing to lose on the way, since a larger number has no fewer digits, and a digit is written whole.
    """
    with fence.open("r+b") as file:
        file.write(b"%d" % token)
        file.flush()
        os.fsync(file.fileno())
