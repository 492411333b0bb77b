"""peercron token: who may do what, once there is a token."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import click

from peercron.cli.failures import cured
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Column, Row, listing, record, say, when
from peercron.core.token import MAY, Scope
from peercron.errors import OutcomeUnknown

Command = TypeVar("Command", bound=Callable[..., Any])

_SCOPE = click.Choice([scope.value for scope in Scope])
SCOPES = "\n".join(f"  {scope:<6} {may}" for scope, may in MAY.items())
ROOT = """\
--secret-file FILE works without a token: with the cluster's secret, or at a node without one with the root.secret of
its data directory."""


def root_options(command: Command) -> Command:
    """How who has the secret gets in, whatever tokens there are."""
    secret = click.option("--secret-file", metavar="FILE", help="Ask as root: the secret of the nodes.")
    cluster = click.option(
        "--cluster", default="peercron", envvar="PEERCRON_CLUSTER", metavar="NAME", help="Of the cluster, with that.",
        show_default=True,
    )  # fmt: skip
    return secret(cluster(command))


@click.group()
def token() -> None:
    """Access tokens: from the first one on, nobody is let in by HTTP without one."""


@token.command(
    epilog=f"""\b
Scopes (data, run and jobs have read with them, and jobs has run):
{SCOPES}
\b
{ROOT}
\b
Examples:
  peercron token create ops --scope admin --out ops.token
  peercron token create ci --scope jobs --expires 90d --token-file ops.token
  peercron --token-file ci.token apply -f jobs.toml"""
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=_SCOPE,
    multiple=True,
    required=True,
    help="What it may (repeatable).",
)
@click.option("--expires", metavar="DURATION", help="Like 90d.  [default: until it is revoked]")
@click.option("--out", metavar="FILE", help="Write it to a new file that only you can read, instead of printing it.")
@root_options
@common()
def create(
    name: str, scopes: tuple[str, ...], expires: str | None, out: str | None, secret_file: str | None, cluster: str
) -> None:
    """Make a token and print it, this once. The first one has scope admin, and closes the cluster to all others.

    It is made here: what travels, and what the cluster keeps, is its digest.
    """
    from peercron.access import digest_of, fresh_token

    options, made = _as_root(options_of(), secret_file, cluster), fresh_token()
    connection = options.connection()
    is_first = not connection.request("GET", "/v1/tokens").json["tokens"]
    if is_first and secret_file is None:
        connection = replace(options, token=made).connection()  # it has to be shown, so that somebody has it
    body = {"name": name, "scopes": list(scopes), "expires": expires, "digest": digest_of(made).hex()}
    with _written(made, out), cured(f"take another name, or `peercron token revoke {name}`"):
        row = connection.request("POST", "/v1/tokens", body).json
    if options.output not in ("table", "wide"):
        record(options, row if out else row | {"token": made}, (), name="name" if out else "token")
    elif not out:
        click.echo(made)  # and nothing else on stdout, so that it can go somewhere
    if options.for_people:
        _explain(row, is_first=is_first)


@token.command("list")
@root_options
@common()
def list_tokens(secret_file: str | None, cluster: str) -> None:
    """Every token: what it may, and for how long."""
    options = _as_root(options_of(), secret_file, cluster)
    rows = options.get("/v1/tokens")["tokens"]
    columns = (
        Column("TOKEN", lambda row: str(row["name"])),
        Column("SCOPES", lambda row: ",".join(row["scopes"])),
        Column("CREATED", lambda row: when(row["created_at"], options)),
        Column("EXPIRES", lambda row: _end(row, options)),
    )
    listing(options, rows, columns)


@token.command()
@click.argument("name")
@click.option("--open", "open_", is_flag=True, help="Also the last one: then everybody may do everything again.")
@root_options
@common()
def revoke(name: str, open_: bool, secret_file: str | None, cluster: str) -> None:
    """Let nobody in by this token any more: at once, at every node that has heard of it."""
    from peercron.client.words import path

    options = _as_root(options_of(), secret_file, cluster)
    with cured("`peercron token create NAME --scope admin` makes another; the last one of all goes with --open"):
        answer = options.connection().request("DELETE", path("tokens", name), params={"open": 1} if open_ else {}).json
    if not options.for_people:
        record(options, answer, (), name="revoked")
    rest = "; there is none left, and whoever reaches a node may do everything" if answer["open"] else ""
    say(options, f"token {name} revoked{rest}")


@contextmanager
def _written(token: str, out: str | None) -> Iterator[None]:
    """The token in its file before anybody knows it: one that is nowhere is of no use. Gone again if it is refused."""
    if out is None:
        yield
        return
    try:
        with open(out, "x", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"{token}\n")
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}", param_hint="--out") from None
    try:
        yield
    except OutcomeUnknown:
        raise  # it may be good
    except BaseException:
        os.unlink(out)
        raise


def _explain(row: Row, *, is_first: bool) -> None:
    until = f" until {row['expires_at']}" if row["expires_at"] else ""
    click.echo(f"token {row['name']}: {', '.join(row['scopes'])}{until}; it is not shown again", err=True)
    click.echo("  show it with --token-file FILE, PEERCRON_TOKEN_FILE or PEERCRON_TOKEN", err=True)
    if is_first:
        click.echo("  it is the first: from now on nobody is let in without a token", err=True)


def _end(row: Row, options: Options) -> str:
    end = when(row["expires_at"], options) if row["expires_at"] else "never"
    return f"expired {end}" if row["expired"] else end


def _as_root(options: Options, secret_file: str | None, cluster: str) -> Options:
    """The options, with a pass of root in the place of a token where a secret was given."""
    if secret_file is None:
        return options
    from peercron.access import root_pass
    from peercron.clock import SystemClock

    try:
        with open(secret_file, "rb") as file:
            secret = file.read().strip()
    except OSError as error:
        raise click.BadParameter(f"{secret_file}: {error.strerror}", param_hint="--secret-file") from None
    if not secret:
        raise click.BadParameter(f"{secret_file} is empty", param_hint="--secret-file")
    return replace(options, token=root_pass(secret, cluster, SystemClock().wall_ms()))
