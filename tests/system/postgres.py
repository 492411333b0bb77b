"""A PostgreSQL of our own on a scratch directory, behind a Unix socket, run by somebody who is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.processes import wait_for

STOP_S = 20.0
INITDB = ("-U", "peercron", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")


@dataclass(frozen=True, slots=True)
class Database:
    """How it is reached."""

    psql: str
    folder: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """What psql says to a script, which ends at its first error."""
        command = [self.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        more = ["-h", str(self.folder), "-U", "peercron", "-d", "postgres", "-f", "-"]
        return subprocess.run([*command, *more], input=script, capture_output=True, text=True, timeout=30, check=False)

    def rows(self, query: str) -> list[str]:
        told = self.run(query)
        assert told.returncode == 0, told.stderr
        return told.stdout.split()


def binary(name: str) -> str | None:
    """Where Debian has it, if anywhere: its own directory is not in PATH."""
    return shutil.which(name) or next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)


def missing() -> str:
    """Why there can be no database here; empty: there can."""
    absent = [name for name in ("initdb", "postgres", "psql") if binary(name) is None]
    return f"the Debian package postgresql is not installed: no {', '.join(absent)}" if absent else ""


@contextmanager
def database() -> Iterator[Database]:
    # Not in pytest's own folder, which is closed to everybody but its owner.
    folder = Path(tempfile.mkdtemp(prefix="peercron-pg-", dir="/tmp"))
    somebody = _somebody(folder)
    try:
        initdb = [
            binary("initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "peercron",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        _say(*initdb, "--no-locale", **somebody)
        settings = ["listen_addresses=", "fsync=off", "max_connections=20"]
        command = [binary("postgres"), "-D", str(folder / "data"), "-k", str(folder)]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, *(part for setting in settings for part in ("-c", setting))],  # type: ignore[list-item]
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, **somebody,
            )  # fmt: skip
        try:
            found = Database(binary("psql") or "", folder)
            wait_for(lambda: found.run("SELECT 1").returncode == 0, "PostgreSQL")
            yield found
        finally:
            server.terminate()
            server.wait(STOP_S)
    finally:
        shutil.rmtree(folder)


def _somebody(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root: as whom it shall, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    user = next(each for each in map(_user, ("postgres", "nobody")) if each is not None)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _say(*command: Any, **more: Any) -> None:
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/", **more)
    assert told.returncode == 0, told.stdout + told.stderr
