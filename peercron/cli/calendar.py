"""peercron calendar: named sets of days that jobs include or exclude."""

from __future__ import annotations

from typing import IO

import click

from peercron.cli.catalog import catalog, set_row
from peercron.cli.options import common
from peercron.cli.output import Column

#: Days of one calendar that a table shows.
DAYS_SHOWN = 6


def _shown(days: list[str]) -> str:
    return " ".join(days[:DAYS_SHOWN]) + (" …" if len(days) > DAYS_SHOWN else "")


calendar = catalog(
    "calendar",
    "Calendars: jobs with calendar = {include = […], exclude = […]} skip the slots of days that are left out.",
    (
        Column("RULES", lambda row: str(len(row["days"]))),
        Column("DAYS", lambda row: _shown(row["days"])),
    ),
)


@calendar.command("set")
@click.argument("name")
@click.argument("file", type=click.File())
@common()
def set_calendar(name: str, file: IO[str]) -> None:
    """Make a calendar of FILE (- is standard input), or give it other days.

    A line each: 2026-12-25, 2026-12-24..2027-01-01, 12-25 (each year) or sat; what follows a # is a comment.
    """
    set_row("calendar", name, {"days": rules_of(file)}, lambda row: f"{len(row['days'])} rules")


def rules_of(file: IO[str]) -> list[str]:
    """The rules of a calendar's file."""
    lines = (line.partition("#")[0].strip() for line in file)
    return [line for line in lines if line]
