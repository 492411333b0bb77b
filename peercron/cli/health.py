"""peercron health: what the checks of jobs say of the nodes."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.failures import DEGRADED, OK
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Column, Row, listing, say, when


@click.command()
@click.argument("job", required=False)
@common()
def health(job: str | None) -> int:
    """Verdicts of the checks of all jobs, or of JOB. Exit: 0 all are well, 5 one is not."""
    options = options_of()
    rows = options.get("/v1/health", **({"job": job} if job else {}))["health"]
    if rows or not options.for_people:
        listing(options, rows, columns(options), name="check")
    else:
        say(options, f"job {job} has no checks" if job else "no job has checks; see `checks` of jobs.toml")
    return OK if all(row["well"] for row in rows) else DEGRADED


def columns(options: Options) -> tuple[Column, ...]:
    return (
        Column("JOB", lambda row: row["job"].removeprefix("default/")),
        Column("NODE", lambda row: row["node"]),
        Column("CHECK", lambda row: row["check"]),
        Column("VERDICT", verdict),
        Column("SINCE", lambda row: when(row["since"], options)),
        Column("WHY", lambda row: row["reason"].partition(": ")[2]),
        Column("SAID BY", _observers, wide=True),
    )


def verdict(row: Row) -> str:
    return {True: "well", False: "failed", None: "unknown"}[row["well"]]


def _observers(row: Row) -> str:
    said: list[dict[str, Any]] = row["observers"]
    return ", ".join(f"{each['node']} {'well' if each['well'] else 'bad'}" for each in said) or "–"
