"""peercron calendar: named sets of days that jobs include or exclude."""

from __future__ import annotations

from typing import IO
from urllib.parse import quote

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing, record, say


@click.group()
def calendar() -> None:
    """Calendars: jobs with calendar = {include = […], exclude = […]} skip the slots of days that are left out."""


def _path(name: str) -> str:
    return f"/v1/calendars/{quote(name, safe='')}"


@calendar.command("list")
@common()
def list_calendars() -> None:
    """Every calendar with its days."""
    options = options_of()
    columns = (
        Column("CALENDAR", lambda row: str(row["name"])),
        Column("RULES", lambda row: str(len(row["days"]))),
        Column("DAYS", lambda row: " ".join(row["days"][:6]) + (" …" if len(row["days"]) > 6 else "")),
    )
    listing(options, options.get("/v1/calendars")["calendars"], columns)


@calendar.command("set")
@click.argument("name")
@click.argument("file", type=click.File())
@common()
def set_calendar(name: str, file: IO[str]) -> None:
    """Make a calendar of FILE (- is standard input), or give it other days.

    A line each: 2026-12-25, 2026-12-24..2027-01-01, 12-25 (each year) or sat; what follows a # is a comment.
    """
    options = options_of()
    lines = (line.partition("#")[0].strip() for line in file)
    row = options.connection().request("PUT", _path(name), {"days": [line for line in lines if line]}).json
    record(options, row, [("calendar", f"{row['name']}: {len(row['days'])} rules")])


@calendar.command()
@click.argument("names", nargs=-1, required=True)
@common()
def rm(names: tuple[str, ...]) -> None:
    """Delete calendars that no job goes by."""
    options = options_of()
    for name in names:
        options.connection().request("DELETE", _path(name))
        say(options, f'calendar "{name}" deleted')
