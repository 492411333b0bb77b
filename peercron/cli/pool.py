"""peercron pool: how many attempts of the jobs that share a pool may be alive at once."""

from __future__ import annotations

from urllib.parse import quote

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing, record, say


@click.group()
def pool() -> None:
    """Pools: jobs with pool = "NAME" share so many places, whatever node they run on."""


def _path(name: str) -> str:
    return f"/v1/pools/{quote(name, safe='')}"


@pool.command("list")
@common()
def list_pools() -> None:
    """Every pool, how much of it is used, and how many runs wait for it."""
    options = options_of()
    columns = (
        Column("POOL", lambda row: str(row["name"])),
        Column("SIZE", lambda row: str(row["size"])),
        Column("USED", lambda row: str(row["used"])),
        Column("WAITING", lambda row: str(len(row["waiting"]))),
        Column("NEXT", lambda row: row["waiting"][0] if row["waiting"] else "–", wide=True),
    )
    listing(options, options.get("/v1/pools")["pools"], columns)


@pool.command("set")
@click.argument("name")
@click.argument("size", type=click.IntRange(0))
@common()
def set_pool(name: str, size: int) -> None:
    """Make a pool, or give it another size; 0 lets nothing begin."""
    options = options_of()
    row = options.connection().request("PUT", _path(name), {"size": size}).json
    record(options, row, [("pool", f"{row['name']}: {row['used']} of {row['size']} used")])


@pool.command()
@click.argument("names", nargs=-1, required=True)
@common()
def rm(names: tuple[str, ...]) -> None:
    """Delete pools that no job is in."""
    options = options_of()
    for name in names:
        options.connection().request("DELETE", _path(name))
        say(options, f'pool "{name}" deleted')
