"""peercron pool: how many attempts of the jobs that share a pool may be alive at once."""

from __future__ import annotations

import click

from peercron.cli.catalog import catalog, set_row
from peercron.cli.options import common
from peercron.cli.output import Column

pool = catalog(
    "pool",
    'Pools: jobs with pool = "NAME" share so many places, whatever node they run on.',
    (
        Column("SIZE", lambda row: str(row["size"])),
        Column("USED", lambda row: str(row["used"])),
        Column("WAITING", lambda row: str(len(row["waiting"]))),
        Column("NEXT", lambda row: row["waiting"][0] if row["waiting"] else "–", wide=True),
    ),
)


@pool.command("set")
@click.argument("name")
@click.argument("size", type=click.IntRange(0))
@common()
def set_pool(name: str, size: int) -> None:
    """Make a pool, or give it another size; 0 lets nothing begin."""
    set_row("pool", name, {"size": size}, lambda row: f"{row['used']} of {row['size']} used")
