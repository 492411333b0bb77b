"""peercron job slices: what one node knows of its own slices."""

from __future__ import annotations

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing, record, say, when
from peercron.errors import Refused


@click.command()
@click.argument("name")
@common()
def slices(name: str) -> None:
    """What the asked node (--addr) knows of its own slices of a job, also without a leader."""
    options = options_of()
    seen = options.get("/v1/slices", job=name, consistency="stale")
    if not seen["jobs"]:
        sentence = f'node {seen["node"]} knows of no job "{name}" whose nodes fire it by themselves'
        raise Refused("not_found", sentence, 0)
    (row,) = seen["jobs"]
    if not options.for_people:
        record(options, seen | row, (), name="job")
        return
    running = ", ".join(when(each["scheduled_for"], options) for each in row["running"])
    lines = [("node", seen["node"]), ("next", when(row["next"], options)), ("running", running)]
    record(options, row, [*lines, ("refuses", seen["doubt"] or ""), ("untold", str(len(row["untold"])))])
    columns = (
        Column("SLOT", lambda each: when(each["scheduled_for"], options)),
        Column("OUTCOME", lambda each: each["outcome"]),
        Column("EXIT", lambda each: "–" if each["exit_code"] is None else str(each["exit_code"])),
        Column("REASON", lambda each: each["reason"] or "–"),
    )
    if row["untold"]:
        say(options, "")
        listing(options, row["untold"], columns, name="slot")
