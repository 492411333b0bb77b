"""Output of runs as it comes, over as many attempts as a run takes, and the exit code that a run stands for."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from peercron.cli.failures import FAILED, OK, RUN_STATUS_MAX, WAITED_TOO_LONG
from peercron.cli.options import Options
from peercron.cli.run import path_of
from peercron.errors import Unreachable

#: One waiting read; the next follows at once.
WAIT_S = 30


class WaitedTooLong(Exception):
    """The time is up, and the run goes on."""


def follow_run(options: Options, run_id: str, wait_s: float | None) -> int:
    """Print a run's output until it has ended. Answers its own status; 124 when `wait_s` was not enough."""
    try:
        with _at_most(wait_s):
            ended = _to_the_end(options, run_id)
    except WaitedTooLong:
        click.echo(f"run {run_id} goes on; its output: peercron run logs -f {run_id}", err=True)
        return WAITED_TOO_LONG
    _say_why(ended)
    return status_of(ended)


def status_of(run: Mapping[str, Any]) -> int:
    """0 for a success; else the exit code of the last attempt (at most 125), or 1 where it had none.

    >>> status_of({"state": "failed", "attempts": [{"exit_code": 3}]})
    3
    """
    if run["state"] == "succeeded":
        return OK
    code = run["attempts"][-1]["exit_code"] if run["attempts"] else None
    return min(code, RUN_STATUS_MAX) if code and code > 0 else FAILED


def _to_the_end(options: Options, run_id: str) -> Mapping[str, Any]:
    shown = 0
    run, index = _read(options, run_id)
    while True:
        for attempt in run["attempts"][shown:]:
            shown = attempt["n"]
            _print_attempt(options, run_id, attempt["n"])
        if run["finished_at"] is not None:
            _print_shards(options, run)
            return run
        run, index = _read(options, run_id, index=index, wait=f"{WAIT_S}s")


def _read(options: Options, run_id: str, **params: object) -> tuple[Mapping[str, Any], str]:
    answer = options.connection().request("GET", path_of(run_id), params=params, answer_s=WAIT_S if params else 0)
    return answer.json, answer.headers["peercron-index"]


def _print_attempt(options: Options, run_id: str, number: int) -> None:
    """Its output to its end, which a node that dies on the way takes with it."""
    try:
        print_log(options, run_id, follow=True, attempt=number)
    except Unreachable as error:
        click.echo(f"output of attempt {number} breaks off: {error}", err=True)


def print_log(options: Options, run_id: str, *, follow: bool = False, attempt: int | None = None) -> None:
    """The output of a run to stdout, byte for byte; where there is none, why, to stderr."""
    params: dict[str, object] = {"follow": 1} if follow else {}
    params |= {"attempt": attempt} if attempt else {}
    params |= {"consistency": "stale"} if options.stale else {}
    silent = attempt is None
    for piece in options.connection().stream(path_of(run_id, "/log"), params=params):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        silent = False
    if silent:
        run = options.get(path_of(run_id))
        _print_shards(options, run)
        if options.for_people:
            _say_why(run)


def _print_shards(options: Options, run: Mapping[str, Any]) -> None:
    """What the nodes printed that share a run, one node after the other."""
    for shard in run.get("shards", ()):
        click.echo(f"--- {shard['id']}  {shard['node']}", err=True)
        print_log(options, shard["id"])


def _say_why(run: Mapping[str, Any]) -> None:
    """A run that printed nothing and did not succeed: what became of it."""
    if run["finished_at"] is not None and run["state"] != "succeeded":
        click.echo(f"run {run['id']}: {run['state']}{': ' if run['reason'] else ''}{run['reason']}", err=True)


def follow_job(options: Options, runs_path: str) -> NoReturn:
    """The output of a job's newest run and of all that follow, until interrupted."""
    seen: set[str] | None = None
    index = "0"
    while True:
        params = {"limit": 20, "index": index, "wait": f"{WAIT_S}s"}
        answer = options.connection().request("GET", runs_path, params=params, answer_s=WAIT_S)
        index = answer.headers["peercron-index"]
        runs = list(reversed(answer.json["runs"]))
        for run in runs[-1:] if seen is None else [run for run in runs if run["id"] not in seen]:
            click.echo(f"--- {run['id']}  {run['scheduled_for']}", err=True)
            _to_the_end(options, run["id"])
        seen = {run["id"] for run in runs}


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    """Raises WaitedTooLong inside when the time is up, wherever the program waits by then."""
    if seconds is None:
        yield
        return

    def up(number: int, frame: FrameType | None) -> NoReturn:
        raise WaitedTooLong

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
