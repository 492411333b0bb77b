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


def by_node(rows: list[Row], *, of_one_job: bool = False) -> dict[str, str]:
    """What the checks say of each node, in a few words: all that is bad, or that all is well.

    >>> row = {"job": "default/a", "check": "port", "node": "n1", "well": True, "reason": ""}
    >>> by_node([row, row | {"check": "web", "well": False, "reason": "check web: refused"}])
    {'n1': 'a/web failed: refused'}
    """
    told: dict[str, list[str]] = {}
    for row in rows:
        bad = told.setdefault(row["node"], [])
        if not row["well"]:
            name = row["check"] if of_one_job else f"{row['job'].removeprefix('default/')}/{row['check']}"
            bad.append(f"{name} {verdict(row)}" + (f": {why}" if (why := row["reason"].partition(": ")[2]) else ""))
    return {node: ", ".join(bad) or "well" for node, bad in told.items()}
