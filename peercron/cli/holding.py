"""Holding: a lock for as long as a command runs: renewed, and the command ended before the lock is anybody else's."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

from peercron.cli import watchman
from peercron.cli.failures import FAILED
from peercron.cli.lock import path_of
from peercron.cli.options import Options
from peercron.client import Connection
from peercron.clock import SystemClock
from peercron.errors import ConfigError, PeercronError, Refused

#: The command has a fifth of the time to end by itself, but not longer than this, and is dead a twentieth before its
#: end: our clock and the leader's need not run equally fast.
GRACE_S_MAX = 5.0
GRACE_SHARE = 0.2
SAFETY_SHARE = 0.05
#: The longest that one request stands in line, and after which it is sent again, since the node may be gone.
WAIT_S_MAX = 600.0
ASK_AGAIN_S = 15.0
#: Between two tries to renew that failed.
PAUSE_S = 0.2
#: Signals that are meant for the command.
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Hold:
    """One grant, counted from when it, or its renewal, was asked for, on our monotonic clock."""

    def __init__(self, options: Options, name: str, asked: Mapping[str, Any], ttl_s: float, wait_s: float) -> None:
        self._connection = options.connection()
        self._patience_s = options.timeout_s
        self._clock = SystemClock()
        self._name, self.ttl_s, self._wait_s = name, ttl_s, wait_s
        self.key = name if "/" in name else f"default/{name}"
        self._asked = {"owner": _owner(), "request": secrets.token_hex(12)} | _run() | dict(asked)
        self.token = 0
        #: Monotonic seconds; until then it is ours.
        self.until_s = 0.0

    def acquire(self) -> None:
        """Raises Refused (locked: the wait was too short), NoLeader and their like."""
        ends_s = self._clock.monotonic() + self._wait_s
        while True:
            sent_s = self._clock.monotonic()
            left_s = max(0.0, min(WAIT_S_MAX, ends_s - sent_s))
            body = self._asked | {"ttl": self.ttl_s, "wait": left_s}
            try:
                # The same request at another node is the same place in line.
                told = self._connection.request(
                    "POST", path_of(self._name, ":acquire"), body, answer_s=min(left_s, ASK_AGAIN_S), again=True
                ).json
            except PeercronError as error:
                if not self._may_ask_again(error, ends_s):
                    raise
                threading.Event().wait(PAUSE_S)
                continue
            self.token, self.until_s = told["token"], sent_s + told["expires_in"]
            return

    def _may_ask_again(self, error: PeercronError, ends_s: float) -> bool:
        """A node waits no longer than it likes to, and says then that it is locked."""
        left_s = ends_s - self._clock.monotonic()
        if isinstance(error, Refused):
            return error.code == "locked" and left_s > PAUSE_S
        return not isinstance(error, ConfigError) and left_s >= 0

    def renew(self) -> bool:
        """Whether it is still ours, or may be. It takes at most half of what is left."""
        sent_s = self._clock.monotonic()
        patience_s = max(0.05, min(self._patience_s, (self.until_s - sent_s) / 2))
        connection = Connection(
            self._connection.addresses, patience_s, self._connection.token, self._connection.ca_file
        )
        try:
            told = connection.request("POST", path_of(self._name, ":renew"), {"token": self.token}, again=True).json
        except Refused as error:
            return error.code != "stale_token"
        except PeercronError:
            return True
        self.until_s = sent_s + told["expires_in"]
        return True

    def release(self) -> None:
        """Also when it was lost: then it changes nothing."""
        try:
            self._connection.request("POST", path_of(self._name, ":release"), {"token": self.token}, again=True)
        except Refused:
            return
        except PeercronError as error:
            click.echo(f"peercron: {self.key} is free in {self.ttl_s:g} s at the latest: {error.message}", err=True)

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return self._clock.monotonic() < self.until_s

    @property
    def dead_at_s(self) -> float:
        """When the command has to be dead, in monotonic seconds."""
        return self.until_s - self.ttl_s * SAFETY_SHARE

    @property
    def left_s(self) -> float:
        """How long the command may go on."""
        return self.dead_at_s - self.grace_s - self._clock.monotonic()

    @property
    def grace_s(self) -> float:
        return min(GRACE_S_MAX, self.ttl_s * GRACE_SHARE)


def run_under(hold: Hold, command: Sequence[str]) -> int:
    """The status of the command, as shells tell it; 1 when the lock was lost under it."""
    # A group of its own, so that all of it can be ended; but on a terminal it has to stay where it can read.
    apart = not sys.stdin.isatty()
    with _Watched(hold, apart=apart) as watched:
        try:
            child = subprocess.Popen(command, env=_environment(hold), process_group=0 if apart else None)
        except OSError as error:
            hold.release()
            click.echo(f"peercron: {command[0]}: {error.strerror}", err=True)
            return 127 if isinstance(error, FileNotFoundError) else 126
        watched.tell(f"command {child.pid}")
        with _passing_on(child, apart=apart):
            kept = _keep(hold, child, watched)
            if not kept:
                watched.tell("ending")
                _end(child, hold.grace_s, apart=apart)
    hold.release()
    if not kept:
        click.echo(f"peercron: the lock {hold.key} was lost, and the command was ended", err=True)
        return FAILED
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


class _Watched:
    """Whoever ends the command if we cannot any more: a process that hears from us, or does not."""

    def __init__(self, hold: Hold, *, apart: bool) -> None:
        self._hold = hold
        words = [sys.executable, "-I", "-S", watchman.__file__, str(int(apart)), str(hold.grace_s)]
        quiet = subprocess.DEVNULL
        # In a session of its own: what is meant for our group, like Ctrl-C, is not meant for it.
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, cwd="/", start_new_session=True, bufsize=0
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        os.set_blocking(self._pipe.fileno(), False)  # where it hangs, we go on without it
        self.tell_until()

    def tell(self, line: str) -> None:
        with suppress(BrokenPipeError, BlockingIOError):
            self._pipe.write(f"{line}\n".encode())

    def tell_until(self) -> None:
        self.tell(f"until {self._hold.dead_at_s}")

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()


def _keep(hold: Hold, child: subprocess.Popen[bytes], watched: _Watched) -> bool:
    """Renew until the command has ended (True), or the lock is lost (False)."""
    pause_s = hold.ttl_s / 3
    while True:
        try:
            child.wait(max(0.01, min(pause_s, hold.left_s)))
        except subprocess.TimeoutExpired:
            before_s = hold.until_s
            if not hold.renew() or hold.left_s <= 0:
                return False
            watched.tell_until()
            pause_s = hold.ttl_s / 3 if hold.until_s > before_s else PAUSE_S
        else:
            return hold.held  # or we were held up, and it was ended for that


def _end(child: subprocess.Popen[bytes], grace_s: float, *, apart: bool) -> None:
    _signal(child, signal.SIGTERM, apart=apart)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    _signal(child, signal.SIGKILL, apart=apart)  # and whatever it left behind
    child.wait()


def _signal(child: subprocess.Popen[bytes], number: int, *, apart: bool) -> None:
    try:
        if apart:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
    except ProcessLookupError:
        return


@contextmanager
def _passing_on(child: subprocess.Popen[bytes], *, apart: bool) -> Iterator[None]:
    """Who ends us ends the command, and we follow."""

    def pass_on(number: int, _: FrameType | None) -> None:
        _signal(child, number, apart=apart)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{threading.current_thread().name}"


def _run() -> dict[str, Any]:
    """In a run of peercron the lock ends with the attempt, and the search for deadlocks knows whose it is."""
    run_id = os.environ.get("PEERCRON_RUN_ID")
    token = os.environ.get("PEERCRON_ATTEMPT_TOKEN") or os.environ.get("PEERCRON_FENCING_TOKEN", "")
    return {"run": run_id, "attempt": int(token)} if run_id and token.isdigit() else {}


def _environment(hold: Hold) -> dict[str, str]:
    environ = dict(os.environ)
    if "PEERCRON_RUN_ID" in environ and "PEERCRON_FENCING_TOKEN" in environ:
        # The lock's token takes its place; a lock within this one needs it still.
        environ.setdefault("PEERCRON_ATTEMPT_TOKEN", environ["PEERCRON_FENCING_TOKEN"])
    return environ | {"PEERCRON_FENCING_TOKEN": str(hold.token), "PEERCRON_LOCK": hold.key}
