"""peercron job backfill: runs for slots that have gone by."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.adding import path_of
from peercron.cli.options import common, options_of
from peercron.cli.output import record, say


@click.command(
    epilog="Runs see their slot as PEERCRON_SLOT and go one at a time; its own slots wait or are skipped meanwhile."
)
@click.argument("name")
@click.option(
    "--from", "from_", required=True, metavar="INSTANT", help="The first slot may be this: 2026-12-01T00:00:00Z."
)
@click.option("--to", required=True, metavar="INSTANT", help="The last one too.")
@click.option("--dry-run", is_flag=True, help="Only say which slots would be run.")
@click.option("--force", is_flag=True, help="Also those that have succeeded.")
@common()
def backfill(name: str, from_: str, to: str, dry_run: bool, force: bool) -> None:
    """Run the slots of a range that have not succeeded, at most 100, as runs by hand."""
    options = options_of()
    body: dict[str, Any] = {"from": from_, "to": to, "dry_run": dry_run, "force": force}
    row = options.post(path_of(name, ":backfill"), body)
    if not options.for_people:
        record(options, row, (), name="job")
        return
    for slot in row["slots"]:
        click.echo(slot)
    would = "would be run" if dry_run else "are run, one after the other"
    left = f"; {len(row['left_out'])} left out, which succeeded or are at work" if row["left_out"] else ""
    say(options, f"{len(row['slots'])} slots {would}{left}")
