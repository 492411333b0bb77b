"""peercron lock: the commands of locks."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.options import Options, common, duration, options_of
from peercron.cli.output import Column, Row, listing, record, say, when

KINDS = ("mutex", "semaphore", "rw")


@click.group()
def lock() -> None:
    """Locks. A NAME is in the namespace "default", or written namespace/name."""


def path_of(name: str, deed: str = "") -> str:
    """The route of a lock."""
    from peercron.client.words import name_path

    return name_path("locks", name, deed)


def _name(row: Row) -> str:
    return f"{row['namespace']}/{row['name']}".removeprefix("default/")


def _holders(row: Row) -> str:
    owners = [holder["owner"] for holder in row["holders"]]
    more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    return f"{owners[0]}{more}" if owners else "–"


def _kind(row: Row) -> str:
    if row["kind"] is None:
        return "–"
    return f"{row['kind']} of {row['permits']}" if row["kind"] == "semaphore" else str(row["kind"])


@lock.command("list")
@click.argument("namespace", required=False)
@common()
def list_locks(namespace: str | None) -> None:
    """Locks that somebody holds or waits for."""
    options = options_of()
    rows = options.get("/v1/locks", limit=10_000, **({"namespace": namespace} if namespace else {}))["locks"]
    columns = (
        Column("LOCK", _name),
        Column("KIND", _kind),
        Column("HELD BY", _holders),
        Column("TOKEN", lambda row: str(max((holder["token"] for holder in row["holders"]), default="–"))),
        Column("WAITING", lambda row: str(row["waiting"])),
        Column("SINCE", lambda row: when(row["holders"][0]["since"] if row["holders"] else None, options), wide=True),
    )
    named = [{"lock": f"{row['namespace']}/{row['name']}", **row} for row in rows]
    listing(options, named, columns, name="lock")


@lock.command()
@click.argument("name")
@common()
def show(name: str) -> None:
    """Who holds it, and who waits for it, in their order."""
    options = options_of()
    row = options.get(path_of(name))
    lines = [
        ("lock", f"{row['namespace']}/{row['name']}"),
        ("kind", _kind(row) if row["kind"] else "free"),
        *((f"holder {n}", _holder(holder, options)) for n, holder in enumerate(row["holders"], 1)),
        *((f"lost {n}", f"{_holder(lost, options)}, free {when(lost['free_at'], options)}") for n, lost in _lost(row)),
        *((f"waits {n}", f"{_shared(each)}since {when(each['since'], options)}") for n, each in _line(row)),
        ("waiting", f"{row['waiting']} in all" if row["waiting"] > len(row["line"]) else ""),
    ]
    record(options, row, lines)


def _lost(row: Row) -> list[tuple[int, Row]]:
    return list(enumerate(row["lost"], 1))


def _line(row: Row) -> list[tuple[int, Row]]:
    return list(enumerate(row["line"], 1))


def _holder(row: Row, options: Options) -> str:
    return f"{_shared(row)}token {row['token']}, since {when(row['since'], options)}"


def _shared(row: Row) -> str:
    # What holds the lock of its job is called by its run already.
    run = f", run {row['run']}" if row["run"] and row["owner"] != f"run {row['run']}" else ""
    return f"{row['owner']}{run}{', reads' if row['shared'] else ''}, "


@lock.command()
@click.argument("name")
@click.argument("token", type=int)
@common()
def release(name: str, token: int) -> None:
    """Give it back; the next in line has it. A TOKEN that does not hold it changes nothing."""
    options = options_of()
    options.post(path_of(name, ":release"), {"token": token})
    say(options, f"{name} is given back")


@lock.command()
@click.argument("name")
@duration("--ttl", default="30s", help="It is free again when it is not renewed for so long.  [default: 30s]")
@duration("--wait", default="0s", help="Stand in line for so long.  [default: 0s]")
@click.option("--owner", help="Who has it.  [default: host/process/thread]")
@click.option("--kind", type=click.Choice(KINDS), help="[default: what --shared or --permits say, else mutex]")
@click.option("--permits", type=click.IntRange(1), default=1, help="How many may hold it: a semaphore.  [default: 1]")
@click.option("--shared", is_flag=True, help="Read: share it with others who read.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@common()
def acquire(
    name: str,
    ttl: float,
    wait: float,
    owner: str | None,
    kind: str | None,
    permits: int,
    shared: bool,
    command: tuple[str, ...],
) -> int:
    r"""Take it, run COMMAND while it is held, and give it back.

    \b
      peercron lock acquire reports/db --ttl 30s --wait 10s -- ./report.sh

    COMMAND sees PEERCRON_FENCING_TOKEN and PEERCRON_LOCK. It is ended (TERM, then KILL) when the lock is lost, before
    anybody else can have it, also where this command was killed or hangs; its status is ours. 124: waited too long.
    Without COMMAND the token is printed, and the lock is held for the time of --ttl.
    """
    from peercron.cli.holding import Hold, run_under

    asked: dict[str, Any] = {"owner": owner, "kind": kind, "permits": permits, "shared": shared}
    hold = Hold(options_of(), name, {key: value for key, value in asked.items() if value}, ttl, wait)
    hold.acquire()
    if command:
        return run_under(hold, command)
    options = options_of()
    row = {"lock": hold.key, "token": hold.token, "expires_in": ttl}
    if options.output in ("table", "wide"):
        click.echo(hold.token)
    else:
        record(options, row, (), name="token")
    return 0
