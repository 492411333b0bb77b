"""peercron state: the shared state, key by key."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import Any
from urllib.parse import quote

import click

from peercron.cli.failures import cured
from peercron.cli.options import common, duration, options_of
from peercron.cli.output import Column, listing, record, say
from peercron.cli.watching import changes

#: A key conflicts with nothing but the revision that was named.
_OVERTAKEN = "somebody else was first: read it again"


@click.group()
def state() -> None:
    """Shared state. A KEY is in the namespace "default", or written namespace:key."""


def _path(key: str) -> str:
    from peercron.client.words import key_path

    return key_path(key)


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
@duration("--ttl", help="The key is gone after that time, unless it is written again.")
@common()
def put(key: str, value: str | None, if_revision: int | None, ttl: float | None) -> None:
    """Write VALUE, or what comes on standard input."""
    _put(key, value, if_revision, ttl)


def _put(key: str, value: str | None, if_revision: int | None, ttl: float | None) -> None:
    options = options_of()
    content = value.encode() if value is not None else sys.stdin.buffer.read()
    headers = _precondition(if_revision)
    with cured(_OVERTAKEN):
        answer = options.connection().request("PUT", _path(key), content, params=_ttl(ttl), headers=headers).json
    if options.output in ("table", "wide"):
        say(options, f"{key} is at revision {answer['revision']}")
    else:
        record(options, answer, (), name="revision")


@state.command()
@click.argument("key")
@click.argument("revision", type=click.IntRange(0))
@click.argument("value", required=False)
@duration("--ttl", help="The key is gone after that time, unless it is written again.")
@common()
def cas(key: str, revision: int, value: str | None, ttl: float | None) -> None:
    """Compare and set: write VALUE, or standard input, only over REVISION; 0: only where there is none. Else exit 6."""
    _put(key, value, revision, ttl)


@state.command(context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("by", type=int, default=1)
@duration("--ttl", help="Of a key that begins with this.")
@common()
def incr(key: str, by: int, ttl: float | None) -> None:
    """Add BY (1) to the whole number under the key, 0 where there is none, and print the sum."""
    options = options_of()
    body = {"by": by} | _ttl(ttl)
    answer = options.connection().request("POST", f"{_path(key)}:incr", body).json
    if options.output in ("table", "wide"):
        click.echo(answer["value"])
    else:
        record(options, answer, (), name="value")


def _ttl(ttl: float | None) -> dict[str, str]:
    return {} if ttl is None else {"ttl": f"{round(ttl * 1_000)}ms"}


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
    with cured(_OVERTAKEN):
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


@state.command()
@click.argument("namespace", default="default")
@click.option("--prefix", default="", help="Only keys that begin so.")
@click.option("--after", type=int, metavar="N", help="Everything after this index or revision, not after now.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many changes.")
@common()
def watch(namespace: str, prefix: str, after: int | None, count: int | None) -> None:
    """Print every change of a namespace's keys, in order, each once; goes on at another node when one fails."""
    options = options_of()
    for change in islice(changes(options.connection(), namespace, prefix, after), count):
        if options.output in ("table", "wide"):
            click.echo(f"{change['revision']}  {change['key']}  {_told(change)}")
        else:
            click.echo(change["key"] if options.output == "name" else json.dumps(change))


def _told(change: dict[str, Any]) -> str:
    if change.get("deleted"):
        return "(deleted)"
    return f"base64:{change['base64']}" if "base64" in change else json.dumps(change["value"], ensure_ascii=False)


_COLUMNS = (
    Column("KEY", lambda row: row["key"]),
    Column("SIZE", lambda row: str(row["size"])),
    Column("REVISION", lambda row: str(row["revision"])),
)
