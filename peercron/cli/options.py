"""What every command takes: where the cluster is, how long to wait, and how to print."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from peercron.client import Connection

DEFAULT_ADDRESS = "http://127.0.0.1:8400"
#: No option needs a longer time, and what is longer than some hundred years no socket takes.
DURATION_S_MAX = 366 * 86_400.0
FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name")

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Options:
    """The global options of one call, from flags at any place and from the environment."""

    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)
    token_file: str | None = None
    #: What is shown instead, where it is made here.
    token: str = field(default="", repr=False)
    cacert: str | None = None
    output: str = "table"
    timeout_s: float = 5.0
    stale: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0

    @property
    def for_people(self) -> bool:
        """Whether sentences are wanted, and not only data."""
        return self.output in ("table", "wide") and not self.quiet

    def connection(self) -> Connection:
        """How the cluster is asked; loads what that needs."""
        from peercron.client import Connection

        return Connection(self.addresses, self.timeout_s, self._token(), self.cacert)

    def _token(self) -> str:
        """Within a run, unless a file says otherwise, its attempt's secret: a lock that ends with it wants that."""
        if self.token:
            return self.token
        if self.token_file is None:
            return os.environ.get("PEERCRON_TOKEN", "")
        try:
            with open(self.token_file, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise click.BadParameter(f"{self.token_file}: {error.strerror}", param_hint="--token-file") from None

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET, as fresh as --stale allows."""
        wanted = {"consistency": "stale"} if self.stale else {}
        return self.connection().request("GET", path, params=wanted | params).json

    def post(self, path: str, body: Any = None, **params: Any) -> Any:
        """The JSON that a POST answers."""
        return self.connection().request("POST", path, {} if body is None else body, params=params).json


def options_of(ctx: click.Context | None = None) -> Options:
    """The options of the running call."""
    ctx = ctx or click.get_current_context()
    return ctx.ensure_object(Options)


def _keep(field: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[..., Any]:
    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        # Not given is no reason to forget what was given before the command's name.
        if value is None or value is False or value == 0:
            return
        try:
            setattr(options_of(ctx), field, convert(value))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return keep


def _addresses(text: str) -> tuple[str, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(part if "://" in part else f"http://{part}" for part in parts)


def seconds(text: str) -> float:
    """Seconds of a duration like 30s; a bare number is seconds already. ValueError: it is none, or too long."""
    from peercron.times import parse_duration_ms

    found_s = parse_duration_ms(f"{text}s" if text.replace(".", "", 1).isdigit() else text) / 1_000
    if found_s > DURATION_S_MAX:
        raise ValueError(f"{text} is longer than 366d")
    return found_s


def duration(*flags: str, **more: Any) -> Callable[[Command], Command]:
    """An option whose value is a duration; the command gets seconds, or None."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else seconds(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return click.option(*flags, metavar="DURATION", callback=read, **more)


def common(*, root: bool = False, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Adds the global options to a command. The environment is asked once, by the root, so that flags win."""

    def option(field: str, *flags: str, variable: str | list[str] = "", **more: Any) -> Callable[[Command], Command]:
        convert = more.pop("convert", lambda value: value)
        if not root:
            more["hidden"] = True
        elif variable:
            more |= {"envvar": variable, "show_envvar": True}
        return click.option(*flags, expose_value=False, callback=_keep(field, convert), **more)

    table = {
        "addr": option(
            "addresses", "--addr", variable=["PEERCRON_ADDR", "PEERCRON_URL"], metavar="URL[,URL…]", convert=_addresses,
            help=f"HTTP of any nodes, tried in order.  [default: {DEFAULT_ADDRESS}]",
        ),
        "token-file": option(
            "token_file", "--token-file", variable="PEERCRON_TOKEN_FILE", metavar="FILE",
            help="Access token; without it what PEERCRON_TOKEN says.",
        ),
        "cacert": option(
            "cacert", "--cacert", variable="PEERCRON_CACERT", metavar="FILE", help="Authority (PEM) of https addresses."
        ),
        "output": option(
            "output", "-o", "--output", variable="PEERCRON_OUTPUT", type=click.Choice(FORMATS),
            help="How results are printed.  [default: table]",
        ),
        "timeout": option(
            "timeout_s", "--timeout", variable="PEERCRON_TIMEOUT", metavar="DURATION", convert=seconds,
            help="How long to wait for an answer.  [default: 5s]",
        ),
        "stale": option("stale", "--stale", is_flag=True, help="Read what the asked node has, also without a leader."),
        "color": option(
            "color", "--color", variable="PEERCRON_COLOR", type=click.Choice(["auto", "always", "never"]),
            help="[default: auto]",
        ),
        "quiet": option("quiet", "-q", "--quiet", is_flag=True, help="Data only, no sentences."),
        "verbose": option("verbose", "-v", "--verbose", count=True, help="More about what goes wrong."),
    }  # fmt: skip

    def decorate(command: Command) -> Command:
        for name, add in reversed(table.items()):
            if name not in without:
                command = add(command)
        return command

    return decorate
