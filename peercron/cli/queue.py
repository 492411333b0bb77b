"""peercron queue: items put, taken, done, and what is in the queues."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from peercron.cli.failures import NOT_FOUND, OK, WAITED_TOO_LONG
from peercron.cli.options import common, options_of, seconds
from peercron.cli.output import Column, Row, listing, record, say, when


@click.group()
def queue() -> None:
    """Task queues. A QUEUE is in the namespace "default", or written namespace/name."""


def _path(name: str, rest: str = "") -> str:
    from peercron.client.words import name_path

    return name_path("queues", name, rest)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """As the cluster reads it; a bare number is seconds."""
    if value is None:
        return None
    try:
        return f"{round(seconds(value) * 1_000)}ms"
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _said(**fields: Any) -> dict[str, Any]:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}


@queue.command("list")
@click.option("--namespace", help="Only of this one.")
@common()
def list_queues(namespace: str | None) -> None:
    """All queues, and how many items are where."""
    options = options_of()
    rows = options.get("/v1/queues", **_said(namespace=namespace))["queues"]
    listing(options, [{"queue": f"{row['namespace']}/{row['name']}"} | row for row in rows], _COUNTS, name="queue")


_COUNTS = (
    Column("QUEUE", lambda row: row["queue"].removeprefix("default/")),
    Column("ITEMS", lambda row: str(row["items"])),
    Column("READY", lambda row: str(row["ready"])),
    Column("DELAYED", lambda row: str(row["delayed"])),
    Column("IN FLIGHT", lambda row: str(row["in_flight"])),
    Column("DEAD", lambda row: str(row["dead"])),
    Column("BEHIND", lambda row: str(row["behind"]), wide=True),
    Column("VISIBILITY", lambda row: row["visibility"], wide=True),
    Column("MAX ATTEMPTS", lambda row: str(row["max_attempts"] or "–"), wide=True),
)


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.argument("payload", required=False)
@click.option("--key", help="Put it once: not again while it is there, nor for a while after.")
@click.option("--priority", type=int, metavar="N", help="Larger goes first.  [default: 0]")
@click.option("--group", help="Items of a group go one after another, in the order in which they were put.")
@click.option("--delay", metavar="DURATION", callback=_duration, help="Hand it out no sooner.")
@common()
def put(
    name: str, payload: str | None, key: str | None, priority: int | None, group: str | None, delay: str | None
) -> None:
    """Put PAYLOAD, or what comes on standard input. What is JSON is put as that, other text as text."""
    options = options_of()
    content = payload.encode() if payload is not None else sys.stdin.buffer.read()
    body = _payload(content) | _said(key=key, priority=priority, group=group, delay=delay)
    row = options.post(_path(name, "/items"), body)
    record(options, row, [("item", str(row["id"])), ("queue", row["queue"])], name="id")


def _payload(content: bytes) -> dict[str, Any]:
    from base64 import b64encode

    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(content).decode()}
    try:
        return {"payload": json.loads(text, parse_constant=_no_json)}
    except (ValueError, RecursionError):
        return {"payload": text}


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is none")  # Python reads NaN and Infinity, and JSON does not know them


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-n", "--max", "most", type=click.IntRange(1), default=1, help="How many at most.  [default: 1]")
@click.option("--wait", metavar="DURATION", default="0s", callback=_duration, help="Wait for the first of them.")
@click.option("--visibility", metavar="DURATION", callback=_duration, help="How long they are ours.")
@click.option("--ack", is_flag=True, help="They are done at once.")
@common()
def get(name: str, most: int, wait: str, visibility: str | None, ack: bool) -> int:
    """Take items, and print them with the token that acks them. Exit 3: there was none; 124: nor while we waited."""
    from socket import gethostname

    options = options_of()
    body = _said(max=most, wait=wait, visibility=visibility, owner=f"{gethostname()}/cli")
    connection = options.connection()
    waited_s = seconds(wait)
    row = connection.request("POST", _path(name, ":receive"), body, answer_s=waited_s).json
    if row["token"] is None:
        click.echo(f"peercron: queue {name} has nothing ready", err=True)
        return WAITED_TOO_LONG if waited_s else NOT_FOUND
    if ack:
        connection.request("POST", _path(name, ":ack"), {"token": row["token"]})
    _show(row, name, acked=ack)
    return OK


def _show(row: Row, name: str, *, acked: bool) -> None:
    options = options_of()
    if options.output in ("json", "jsonl", "yaml"):
        record(options, row, [])
        return
    listing(options, row["items"], _ITEM, name="id")
    if not acked:
        token, left = row["token"], row["expires_in"]
        say(options, f"\nDone?  peercron queue ack {name} {token}  (within {left:g} s; then others get it)")


def _text(row: Row) -> str:
    if "payload_base64" in row:
        return f"base64:{row['payload_base64']}"
    return row["payload"] if isinstance(row["payload"], str) else json.dumps(row["payload"], ensure_ascii=False)


_ITEM = (
    Column("ITEM", lambda row: str(row["id"])),
    Column("ATTEMPT", lambda row: str(row["attempts"])),
    Column("PRIORITY", lambda row: str(row["priority"]), wide=True),
    Column("GROUP", lambda row: row["group"] or "–", wide=True),
    Column("KEY", lambda row: row["key"] or "–", wide=True),
    Column("PAYLOAD", _text),
)
_PEEKED = (
    *_ITEM[:1],
    Column("STATE", lambda row: row["state"]),
    *_ITEM[1:-1],
    Column("PUT", lambda row: when(row["put_at"], options_of())),
    Column("REASON", lambda row: row["reason"] or "–", wide=True),
    *_ITEM[-1:],
)


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.argument("token", type=int)
@click.argument("items", nargs=-1, type=int, metavar="[ITEM]…")
@common()
def ack(name: str, token: int, items: tuple[int, ...]) -> None:
    """What was taken under TOKEN is done: these items, or all."""
    _settle(name, ":ack", {"token": token, "items": list(items)}, "acked")


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.argument("token", type=int)
@click.argument("items", nargs=-1, type=int, metavar="[ITEM]…")
@click.option("--delay", metavar="DURATION", callback=_duration, help="Hand them out no sooner.")
@click.option("--reason", help="Why, for people.")
@common()
def nack(name: str, token: int, items: tuple[int, ...], delay: str | None, reason: str | None) -> None:
    """What was taken under TOKEN is given back: these items, or all."""
    _settle(name, ":nack", {"token": token, "items": list(items)} | _said(delay=delay, reason=reason), "given back")


def _settle(name: str, verb: str, body: dict[str, Any], done: str) -> None:
    options = options_of()
    row = options.post(_path(name, verb), body)
    left = f", {row['left']} left under the token" if row["left"] else ""
    say(options, f"{done}{left}")


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-n", "count", type=click.IntRange(1, 1_000), default=20, help="How many.  [default: 20]")
@common()
def peek(name: str, count: int) -> None:
    """Show items, the next ones first; takes nothing."""
    options = options_of()
    listing(options, options.get(_path(name, "/items"), limit=count)["items"], _PEEKED, name="id")


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common()
def purge(name: str, yes: bool) -> None:
    """Drop all items, also those that somebody works on."""
    options = options_of()
    if not yes and sys.stdin.isatty():
        click.confirm(f"drop all items of queue {name}?", abort=True, err=True)
    row = options.connection().request("DELETE", _path(name, "/items")).json
    say(options, f"{row['purged']} items dropped")


@queue.command()
@click.argument("name", metavar="QUEUE")
@click.option("-n", "--max", "most", type=click.IntRange(1), help="How many at most.  [default: all]")
@common()
def replay(name: str, most: int | None) -> None:
    """Put the dead letters of QUEUE back into it."""
    options, moved = options_of(), 0
    while most is None or moved < most:
        step = _REPLAYED_AT_ONCE if most is None else min(_REPLAYED_AT_ONCE, most - moved)
        came = options.post(_path(name, ":replay"), {"max": step})["replayed"]
        moved += came
        if came < step:
            break
    say(options, f"{moved} items put back")


_REPLAYED_AT_ONCE = 1_000


@queue.command("set")
@click.argument("name", metavar="QUEUE")
@click.option("--visibility", metavar="DURATION", callback=_duration, help="How long items are their receiver's.")
@click.option("--max-attempts", type=int, metavar="N", help="Then an item is a dead letter; 0: never.")
@click.option("--dead-letters", metavar="NAME", help="Where dead letters go.  [default: QUEUE.dead]")
@common()
def set_queue(name: str, visibility: str | None, max_attempts: int | None, dead_letters: str | None) -> None:
    """Make QUEUE, or give it other settings; what is not said is as usual."""
    options = options_of()
    body = _said(visibility=visibility, max_attempts=max_attempts, dead_letters=dead_letters)
    row = options.connection().request("PUT", _path(name), body).json
    lines = [(what, str(row[what])) for what in ("visibility", "max_attempts", "dead_letters", "items")]
    record(options, row, [("queue", f"{row['namespace']}/{row['name']}"), *lines])


@queue.command()
@click.argument("name", metavar="QUEUE")
@common()
def rm(name: str) -> None:
    """Forget an empty queue, with its settings."""
    options = options_of()
    options.connection().request("DELETE", _path(name))
    say(options, f"queue {name} deleted")
