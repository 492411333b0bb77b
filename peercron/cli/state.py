"""peercron state: the shared state, key by key."""

from __future__ import annotations

import sys
from urllib.parse import quote

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing, say


@click.group()
def state() -> None:
    """Shared state. A KEY is in the namespace "default", or written namespace:key."""


def _path(key: str) -> str:
    namespace, colon, name = key.rpartition(":")
    return f"/v1/state/{quote(namespace if colon else 'default', safe='')}/{quote(name, safe='')}"


@state.command()
@click.argument("key")
@common()
def get(key: str) -> None:
    """Print the value, as it was put."""
    options = options_of()
    wanted = {"consistency": "stale"} if options.stale else {}
    value = options.connection().request("GET", _path(key), params=wanted).body
    # A line of its own on a terminal, byte for byte anywhere else.
    end = b"\n" if sys.stdout.isatty() and not value.endswith(b"\n") else b""
    sys.stdout.buffer.write(value + end)


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--if-revision", type=int, metavar="N", help="Only over that revision; 0: only where there is none.")
@common()
def put(key: str, value: str | None, if_revision: int | None) -> None:
    """Write VALUE, or what comes on standard input."""
    options = options_of()
    content = value.encode() if value is not None else sys.stdin.buffer.read()
    headers = _precondition(if_revision)
    answer = options.connection().request("PUT", _path(key), content, headers=headers).json
    say(options, f"{key} is at revision {answer['revision']}")


state.add_command(put, "set")
state.add_command(put, "put")


def _precondition(if_revision: int | None) -> dict[str, str]:
    if if_revision is None:
        return {}
    return {"If-Match": f'"{if_revision}"'} if if_revision else {"If-None-Match": "*"}


@state.command()
@click.argument("key")
@click.option("--if-revision", type=int, metavar="N", help="Only that revision.")
@common()
def rm(key: str, if_revision: int | None) -> None:
    """Delete the key."""
    options = options_of()
    options.connection().request("DELETE", _path(key), headers=_precondition(if_revision))
    say(options, f"{key} is deleted")


@state.command("list")
@click.argument("namespace", default="default")
@click.option("--prefix", default="", help="Only keys that begin so.")
@common()
def list_keys(namespace: str, prefix: str) -> None:
    """Names, sizes and revisions of a namespace's keys."""
    options = options_of()
    rows = options.get(f"/v1/state/{quote(namespace, safe='')}/", prefix=prefix)["keys"]
    listing(options, rows, _COLUMNS, name="key")


_COLUMNS = (
    Column("KEY", lambda row: row["key"]),
    Column("SIZE", lambda row: str(row["size"])),
    Column("REVISION", lambda row: str(row["revision"])),
)
