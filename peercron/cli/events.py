"""peercron events: what happens in the cluster, and what has happened lately."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from peercron.cli.options import Options, common, options_of
from peercron.cli.output import to_yaml
from peercron.cli.watching import follow, rows_of
from peercron.errors import Compacted

PATH = "/v1/events"
#: How many of the last ones are shown before those that come.
BEFORE = 10
_HEAD = ("id", "at", "kind", "what", "name")


@click.command()
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with what comes, at another node if one fails.")
@click.option("-n", "--last", type=click.IntRange(0), metavar="N", help="The last N first.  [default: all; with -f 10]")
@click.option("--from", "after", metavar="ID", help="All that came after this event.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only these: job, run, member, … (repeatable).")
@click.option("--name", default="", help="Only of the job, the node, … of this name.")
@common()
def events(following: bool, last: int | None, after: str | None, kinds: tuple[str, ...], name: str) -> None:
    """What happens in the cluster: a line each, or with -o json or jsonl a line of JSON.

    Nodes keep some 10,000 events since their start. An event has the same id on all of them.
    """
    options = options_of()
    wanted = {"kind": ",".join(kinds), "name": name} | ({"consistency": "stale"} if options.stale else {})
    begin = {} if after is None else {"from": after}
    if after is None and (last is not None or following):
        begin = {"last": str(BEFORE if last is None else last)}
    for event in _followed(options, wanted, begin) if following else _there(options, wanted | begin):
        if "kind" in event:
            _show(options, event)


def _there(options: Options, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
    return rows_of(options.connection(), PATH, wanted | {"follow": "0"})


def _followed(options: Options, wanted: dict[str, str], begin: dict[str, str]) -> Iterator[dict[str, Any]]:
    """For ever; where some were missed that is said, and it goes on with what comes."""
    connection = options.connection()
    while True:
        try:
            yield from follow(connection, PATH, wanted, begin, lambda row: row.get("id"))
        except Compacted as gap:
            begin = {"from": str(gap.index)}
            click.echo(f"peercron: some events are not kept any more; this goes on after {gap.index}", err=True)


def _show(options: Options, event: dict[str, Any]) -> None:
    match options.output:
        case "json" | "jsonl":
            click.echo(json.dumps(event))
        case "yaml":
            click.echo(f"---\n{to_yaml(event)}")
        case "name":
            click.echo(event["id"])
        case form:
            more = "  ".join(f"{key}={value}" for key, value in event.items() if key not in _HEAD and value != "")
            place = f"{event['id'] or '–':<12}  " if form == "wide" else ""
            what = f"{event['kind']} {event['what']}"
            click.echo(f"{place}{event['at'] or '–':<24}  {what:<18}  {event['name']}  {more}".rstrip())
