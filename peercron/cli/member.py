"""peercron member."""

from __future__ import annotations

import sys
from typing import Any

import click

from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Column, Row, about, listing, record, say


def _value(key: str, unit: str = "", *, signed: bool = False) -> Any:
    def text(row: Row) -> str:
        value = row.get(key)
        if value is None or value == "":
            return "–"
        if isinstance(value, float):
            return f"{value:.1f}{unit}"
        return f"{value:+}{unit}" if signed else f"{value}{unit}"

    return text


def _state(row: Row) -> str:
    state = str(row.get("state") or "–")
    if row.get("silent_ms"):
        state = f"{state} for {about(row['silent_ms'])}"
    return f"{state}, drained" if row.get("drained") else state


COLUMNS = (
    Column("NODE", _value("name")),
    Column("ADDRESS", _value("address")),
    Column("HTTP", _value("http"), wide=True),
    Column("DC", _value("dc")),
    Column("ROLE", _value("role")),
    Column("STATE", _state),
    Column("APPLIED", _value("applied")),
    Column("BEHIND", _value("behind")),
    Column("RTT", _value("rtt_ms", " ms")),
    Column("CLOCK", _value("clock_ms", " ms", signed=True)),
    Column("RUNNING", _value("running")),
    Column("VERSION", _value("version")),
    Column("LEVEL", _value("level"), wide=True),
)


@click.group()
def member() -> None:
    """The members of the cluster."""


@member.command("list")
@common()
def list_members() -> None:
    """Every member, there or invited, and who is behind."""
    options = options_of()
    listing(options, options.get("/v1/members")["members"], COLUMNS)


@member.command(
    epilog="""\b
Examples:
  peercron member add d:7400
  peercron member add w:7400 --role witness --name w"""
)
@click.argument("address", metavar="HOST:PORT")
@click.option("--role", type=click.Choice(["voter", "witness"]), help="A witness only votes.  [default: voter]")
@click.option("--name", help="What it will be called.  [default: what it says]")
@common()
def add(address: str, role: str | None, name: str | None) -> None:
    """Expect a node at HOST:PORT, and say how to start it there."""
    options = options_of()
    body = {"address": address} | ({"role": role} if role else {}) | ({"name": name} if name else {})
    row = options.post("/v1/members", body)
    if not options.for_people:
        record(options, row, (), name="address")
    elif row["state"] == "invited":
        say(options, f"{row['address']} is expected as {row['role']}. Start it there:\n")
        say(options, f"  {row['command']}")
    else:
        say(options, f"{row['address']} is member {row['name']} already: {row['role']}, {row['state']}")


@member.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common()
def remove(name: str, yes: bool) -> None:
    """Remove a member by name, id or address, or take an invitation back.

    Its node stops, its runs go on elsewhere. A leader hands over first.
    """
    options = options_of()
    if not yes and sys.stdin.isatty():
        click.confirm(f"remove {name} from the cluster?", abort=True, err=True)
    answer = options.connection().request("DELETE", _path(name)).json
    if not options.for_people:
        record(options, answer, (), name="removed" if "removed" in answer else "uninvited")
    elif "removed" in answer:
        say(options, f"member {answer['removed']} removed; to come back it needs an empty --data-dir and --join")
    else:
        say(options, f"{answer['uninvited']} is not expected any more")


@member.command()
@click.argument("name", required=False)
@common()
def transfer(name: str | None) -> None:
    """Make NAME the leader, or whoever has the most of the log."""
    options = options_of()
    answer = options.post("/v1/leader:transfer", {"to": name} if name else None)
    if not options.for_people:
        record(options, answer, (), name="leader")
    say(options, f"{answer['leader']} leads")


@member.command()
@click.argument("name")
@common()
def drain(name: str) -> None:
    """Give a member no more work; what runs there goes on. `undrain` undoes it."""
    _told(options_of(), name, "drain", "is given no more work")


@member.command()
@click.argument("name")
@common()
def undrain(name: str) -> None:
    """Give a drained member work again."""
    _told(options_of(), name, "undrain", "is given work again")


def _path(name: str, rest: str = "") -> str:
    from peercron.client.words import path

    return path("members", name, rest)


def _told(options: Options, name: str, deed: str, words: str) -> None:
    row = options.post(_path(name, f":{deed}"))
    if not options.for_people:
        record(options, row, (), name="name")
    running = row.get("running")
    say(options, f"{row.get('name', name)} {words}" + (f"; {running} of its runs go on" if running else ""))
