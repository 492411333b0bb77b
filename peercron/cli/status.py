"""peercron status."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.failures import DEGRADED, OK, UNREACHABLE
from peercron.cli.health import by_node
from peercron.cli.member import COLUMNS
from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing, record, say

#: States of members that the asked node is, or has a connection to.
_REACHED = frozenset({"up", "connected", "leader", "follower"})


@click.command()
@common()
def status() -> int:
    """The cluster on one screen, as the asked node sees it. Exit: 0 healthy, 5 degraded, 4 no leader."""
    options = options_of()
    # Needs no leader: a cluster without one must be able to say so.
    seen = options.connection().request("GET", "/v1/status").json
    if not options.for_people:
        record(options, seen, (), name="cluster")
        return _code(seen)
    for line in _summary(seen):
        say(options, line)
    if seen.get("paused"):
        say(options, "paused   slots of all jobs are skipped until `peercron resume`")
    say(options, "")
    columns: tuple[Column, ...] = COLUMNS
    if options.output == "wide":
        # As this node sees it, like all the rest here.
        checks = by_node(options.connection().request("GET", "/v1/health?consistency=stale").json["health"])
        columns = (*COLUMNS, Column("CHECKS", lambda row: checks.get(row["name"], "–"), wide=True))
    listing(options, seen["members"], columns)
    for note in seen.get("notes", ()):
        say(options, f"\nnote: {note}")
    return _code(seen)


def _code(seen: dict[str, Any]) -> int:
    if seen["leader"] is None:
        return UNREACHABLE
    return OK if seen["healthy"] else DEGRADED


def _summary(seen: dict[str, Any]) -> tuple[str, ...]:
    if seen["leader"] is None:
        here = sum(m["role"] in ("voter", "witness") and m["state"] in _REACHED for m in seen["members"])
        reached = f"this node reaches {here} of {seen['voters']} voters, itself included"
        return (
            f"cluster  {seen['cluster']}   no leader   {reached}   quorum {seen['quorum']}",
            f"leader   –   term {seen['term']}",
        )
    well = sum(member["state"] in ("leader", "follower") for member in seen["members"])
    health = "healthy" if seen["healthy"] else "degraded"
    failures = f"{seen['survives']} more failure{'s' if seen['survives'] != 1 else ''}"
    return (
        f"cluster  {seen['cluster']}   {health}   {well}/{seen['voters']} voters   quorum {seen['quorum']}   "
        f"survives {failures}",
        f"leader   {seen['leader']}   term {seen['term']}",
    )
