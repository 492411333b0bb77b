"""peercron job explain and simulate: why a job does what it does, and what would run where and when."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import click

from peercron.cli.adding import path_of
from peercron.cli.failures import FAILED, OK
from peercron.cli.options import Options, common, duration, options_of
from peercron.cli.output import Column, listing, record, say
from peercron.errors import ConfigError, PeercronError, Problem

DAY_MS = 86_400_000
#: Lines that one simulation shows: what is more is no plan that anybody reads.
HAPPENINGS_MAX = 5_000
DEFAULT_NODES = ("a", "b", "c")


@click.command()
@click.argument("name")
@common()
def explain(name: str) -> None:
    """Why the job is running or is not, and what it waits for."""
    options = options_of()
    row = options.get(path_of(name, "/explain"))
    if not options.for_people:
        record(options, row, (), name="job")
        return
    for sentence in row["why"]:
        click.echo(sentence)
    if any(node["may_run"] for node in row["nodes"]):  # otherwise the sentences have said it of each
        for node in row["nodes"]:
            click.echo(f"  {node['node']}: {node['why'] or 'may run it'}")


@click.command(
    epilog="Every run is taken to succeed, after as long as the job's last success took, or --lasting. Nodes that "
    "contend for a slot are taken to ask in the order in which they are listed; when it comes to it that is a race."
)
@click.argument("file", required=False)
@click.option("--cluster", is_flag=True, help="What the cluster has, instead of FILE: a copy of its state is taken.")
@click.option(
    "--days", type=click.FloatRange(0, 366, min_open=True), default=2.0, help="How far to look.  [default: 2]"
)
@click.option("--without", multiple=True, metavar="NODE", help="As if this node were down; repeatable.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NAME",
    help="With FILE: the nodes of the cluster.  [default: a, b, c and those that jobs name]",
)
@click.option(
    "--calendar",
    "calendars",
    multiple=True,
    metavar="NAME=FILE",
    help="With FILE: a calendar that its jobs name, with its days as `calendar set` reads them; repeatable.",
)
@click.option("--from", "from_", metavar="INSTANT", help="[default: now]")
@duration("--lasting", default="1s", help="How long a run is taken to last.  [default: 1s]")
@common()
def simulate(
    file: str | None,
    cluster: bool,
    days: float,
    without: tuple[str, ...],
    nodes: tuple[str, ...],
    calendars: tuple[str, ...],
    from_: str | None,
    lasting: float,
) -> int:
    """Say what would run where and when, by the rules that the cluster itself goes by; nothing is run."""
    from peercron.core import simulation
    from peercron.times import parse_instant_ms

    if (file is None) is not cluster:
        raise click.UsageError("give a FILE of jobs, or --cluster")
    if cluster and (nodes or calendars):
        raise click.UsageError("--node and --calendar go with a FILE; --cluster has its own")
    options = options_of()
    from_ms = parse_instant_ms(from_) if from_ else _now_ms()
    state = _state_of_cluster(options) if cluster else _state_of_file(file or "", nodes, calendars, from_ms)
    for node in without:
        if not simulation.without(state, node):
            known = ", ".join(member.info.name for member in state.members.values())
            cure = "" if cluster else "; --node NAME gives them their names, --cluster takes those of the cluster"
            raise ConfigError([Problem("--without", f"there is no node {node}, only {known}{cure}")])
    through_ms = from_ms + int(days * DAY_MS)
    found = simulation.simulate(state, from_ms=from_ms, through_ms=through_ms, lasting_ms=max(1, int(lasting * 1_000)))
    happenings = list(islice(found, HAPPENINGS_MAX + 1))
    _print(options, happenings[:HAPPENINGS_MAX])
    if len(happenings) > HAPPENINGS_MAX:
        click.echo(f"peercron: only the first {HAPPENINGS_MAX} lines are shown; --days says how far to look", err=True)
        return FAILED
    return OK


def _now_ms() -> int:
    from peercron.clock import SystemClock

    return SystemClock().wall_ms()


def _state_of_file(file: str, nodes: tuple[str, ...], calendars: tuple[str, ...], now_ms: int) -> Any:
    from peercron.core.simulation import cluster_of
    from peercron.jobfile import read_jobs_file
    from peercron.jobspec import read_document

    definitions = read_document(read_jobs_file(file)).definitions
    named = {name: None for definition in definitions for name in definition.nodes}
    days = dict(map(_calendar, calendars))
    try:
        return cluster_of(definitions, nodes or tuple(dict.fromkeys((*DEFAULT_NODES, *named))), now_ms, days)
    except ValueError as error:
        cure = "; to simulate it give --calendar NAME=FILE" if str(error).startswith("calendar: there is no") else ""
        raise ConfigError([Problem(file, f"{error}{cure}")]) from None


def _calendar(given: str) -> tuple[str, tuple[str, ...]]:
    """A calendar and its rules, from NAME=FILE."""
    from peercron.cli.calendar import rules_of

    name, is_there, path = given.partition("=")
    if not is_there:
        raise click.UsageError(f"--calendar wants NAME=FILE, not {given}")
    try:
        with open(path, encoding="utf-8") as file:
            return name, tuple(rules_of(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError([Problem("--calendar", f"{path}: {why}")]) from None


def _state_of_cluster(options: Options) -> Any:
    """A copy of the cluster's state as of now, over HTTP."""
    from peercron.wire.archive import ArchiveReader, inflate
    from peercron.wire.snapshot import Thawing

    reader, thawing = ArchiveReader(), Thawing()
    wanted = {"consistency": "stale"} if options.stale else {}
    for piece in options.connection().stream("/v1/snapshot", params=wanted):
        for chunk in reader.feed(piece):
            thawing.feed(inflate(chunk))
    reader.finish()
    try:
        return thawing.finish()
    except ValueError as error:
        raise PeercronError(f"the cluster's snapshot cannot be read: {error}") from None


def _print(options: Options, happenings: list[Any]) -> None:
    from peercron.core.views import instant

    rows = [
        {
            "at": instant(row.at_ms), "job": row.job, "scheduled_for": instant(row.slot_ms), "what": row.what,
            "node": row.node or None, "reason": row.reason,
        }
        for row in happenings
    ]  # fmt: skip
    columns = (
        Column("AT", lambda row: str(row["at"])),
        Column("JOB", lambda row: row["job"].removeprefix("default/")),
        Column("WHAT", lambda row: str(row["what"])),
        Column("NODE", lambda row: row["node"] or "–"),
        Column("SLOT", lambda row: str(row["scheduled_for"]), wide=True),
        Column("REASON", lambda row: row["reason"] or "–"),
    )
    listing(options, rows, columns, name="job")
    starts = Counter(row.node for row in happenings if row.node)
    unmade = sum(row.what != "starts" for row in happenings)
    shares = ", ".join(f"{node} {count}" for node, count in sorted(starts.items())) or "nothing"
    say(options, f"starts: {shares}" + (f"; {unmade} slots come to nothing" if unmade else ""))
