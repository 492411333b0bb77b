"""What goes wrong, as an exit code and as a sentence that names cause and cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from peercron.cli.options import Options
from peercron.errors import ConfigError, PeercronError, Refused

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
DEGRADED = 5
CONFLICT = 6
UNKNOWN_OUTCOME = 7
CHANGES = 10
WAITED_TOO_LONG = 124
INTERRUPTED = 130
#: A run's own status, when it is passed on, stays below what shells use for signals.
RUN_STATUS_MAX = 125

_CODES = {
    "invalid": USAGE,
    "bad_request": USAGE,
    "media_type": USAGE,
    "not_found": NOT_FOUND,
    "unreachable": UNREACHABLE,
    "no_leader": UNREACHABLE,
    "busy": UNREACHABLE,
    "conflict": CONFLICT,
    "deadlock": CONFLICT,
    "stale_token": CONFLICT,
    "locked": WAITED_TOO_LONG,
    "unknown_outcome": UNKNOWN_OUTCOME,
}
_CURES = {
    "unreachable": "is a node running there? name the HTTP address of one with --addr or PEERCRON_ADDR",
    "no_leader": "see `peercron status`; reads work with --stale, writes when a majority of the nodes is back",
    "busy": "try again in a moment",
    "deadlock": "give back what you hold, and ask again",
    "unauthenticated": (
        "show one with --token-file FILE, PEERCRON_TOKEN_FILE or PEERCRON_TOKEN; who has the secret of the nodes makes "
        "one with `peercron token create NAME --scope admin --secret-file FILE`"
    ),
    "locked": "wait longer with --wait, or see who has it: `peercron lock show`",
    "unknown_outcome": "look whether it was done before you repeat it",
}


class Taken(Refused):
    """A conflict with something that is there; `cure` says what can be done about this one."""

    def __init__(self, message: str, index: int, cure: str) -> None:
        super().__init__("conflict", message, index)
        self.cure = cure


@contextmanager
def cured(cure: str) -> Iterator[None]:
    """What to do about a conflict. There is no cure of all: a name is taken, or a job is of another kind."""
    try:
        yield
    except Refused as error:
        if error.code != "conflict":
            raise
        raise Taken(error.message, error.index, cure) from None


def exit_code(error: PeercronError) -> int:
    return _CODES.get(error.code, FAILED)


def tell(error: PeercronError, options: Options) -> None:
    """On stderr: as JSON where results are JSON, else a line each for causes and cure."""
    if options.output in ("json", "jsonl"):
        problems = error.problems if isinstance(error, ConfigError) else ()
        told = [{"path": problem.path, "message": problem.message} for problem in problems]
        body = {"code": error.code, "detail": error.message, "retryable": error.retryable, "errors": told}
        click.echo(json.dumps(body), err=True)
        return
    for line in error.message.splitlines():
        click.echo(f"peercron: {line}", err=True)
    cure = error.cure if isinstance(error, Taken) else _CURES.get(error.code)
    if cure:
        click.echo(f"  {cure}", err=True)
    if options.verbose and error.__cause__ is not None:
        click.echo(f"  {type(error.__cause__).__name__}: {error.__cause__}", err=True)
