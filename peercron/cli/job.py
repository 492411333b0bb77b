"""peercron job: the commands of jobs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import click

from peercron.cli.adding import add, pair, path_of
from peercron.cli.backfill import backfill
from peercron.cli.files import apply, export, plan
from peercron.cli.foresight import explain, simulate
from peercron.cli.health import by_node
from peercron.cli.options import Options, common, duration, options_of
from peercron.cli.output import Column, Row, listing, record, say, when
from peercron.cli.run import run_columns
from peercron.cli.slices import slices
from peercron.cli.starts import started_by


@click.group()
def job() -> None:
    """Jobs. A NAME is in the namespace "default", or written namespace/name."""


for command in (add, apply, plan, export, slices, backfill, explain, simulate):
    job.add_command(command)


def _kind(row: Row) -> str:
    return next((kind for kind in ("command", "shell", "http", "tcp", "class") if kind in row), "–")


def _state(row: Row) -> str:
    return "paused" if row["paused"] else "running" if row["running"] else "active"


def _last(row: Row, options: Options) -> str:
    last = row.get("last")
    return f"{last['outcome']} {when(last['decided_at'], options)}" if last else "–"


@job.command("list")
@common()
def list_jobs() -> None:
    """Every job, with its next slot and the outcome of its last."""
    options = options_of()
    columns = (
        Column("NAME", _name),
        Column("KIND", _kind),
        Column("SCHEDULE", started_by),
        Column("NEXT", lambda row: when(row["next"], options)),
        Column("LAST", lambda row: _last(row, options)),
        Column("STATE", _state),
        Column("MODE", lambda row: row["mode"]),
        Column("NODES", lambda row: ",".join(row.get("nodes", ())) or "any", wide=True),
        Column("OVERLAP", lambda row: row.get("overlap", "forbid"), wide=True),
        Column("OWNER", lambda row: row.get("owner") or "–", wide=True),
        Column("REVISION", lambda row: str(row["revision"]), wide=True),
    )
    listing(options, _all_jobs(options), columns)


def _name(row: Row) -> str:
    return str(row["name"] if row["namespace"] == "default" else row["key"])


def _all_jobs(options: Options) -> list[Row]:
    rows: list[Row] = []
    while page := options.get("/v1/jobs", offset=len(rows), limit=1_000):
        rows += page["jobs"]
        if not page["jobs"] or len(rows) >= page["total"]:
            break
    return rows


@job.command()
@click.argument("name")
@common()
def show(name: str) -> None:
    """Everything about one job."""
    options = options_of()
    row = options.get(path_of(name))
    hidden = ("last", "next", "name", "namespace", "key")
    lines = [("job", row["key"]), *((key, _text(value)) for key, value in row.items() if key not in hidden)]
    if options.for_people and row.get("checks"):
        verdicts = by_node(options.get("/v1/health", job=row["key"])["health"], of_one_job=True)
        lines += [(f"health of {node}", told) for node, told in verdicts.items()]
    record(options, row, [*lines, ("next", when(row["next"], options)), ("last", _last(row, options))])


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@job.command("run")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Show its output, and end with its status.")
@duration("--wait", help="With --follow: give up after this long (exit 124); the run goes on.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="For this run; repeatable.")
@common()
def run_now(name: str, follow: bool, wait: float | None, params: tuple[str, ...]) -> int:
    """Run the job now, beside its schedule; it meets the overlap policy like any slot.

    A --param is seen by the run as PEERCRON_PARAM_<NAME>. Everybody who may read the cluster may read it: no secrets.
    """
    options = options_of()
    given = dict(pair(text, "--param") for text in params)
    row = options.post(path_of(name, ":run"), {"params": given} if given else None)
    if not follow:
        record(
            options, row, [("run", row["id"]), ("state", row["state"]), ("reason", row.get("reason", ""))], name="id"
        )
        return 0
    from peercron.cli.following import follow_run

    return follow_run(options, row["id"], wait)


def _each(names: Sequence[str], verb: str, done: str) -> None:
    options = options_of()
    for name in names:
        options.post(path_of(name, f":{verb}"))
        say(options, f'job "{name}" {done}')


@job.command()
@click.argument("names", nargs=-1, required=True)
@common()
def pause(names: tuple[str, ...]) -> None:
    """Let jobs wait: their slots are skipped, with the reason, until resume."""
    _each(names, "pause", "paused")


@job.command()
@click.argument("names", nargs=-1, required=True)
@common()
def resume(names: tuple[str, ...]) -> None:
    """Let paused jobs go on, with a slot to come; what the pause skipped stays skipped."""
    _each(names, "resume", "goes on")


@job.command()
@click.argument("name")
@common()
def failback(name: str) -> None:
    """Let a standby job's next run go to the first of its nodes that is well, without waiting any longer."""
    options = options_of()
    row = options.post(path_of(name, ":failback"))
    say(options, f'job "{name}" goes back to {row["incumbent"]} with its next run')


@job.command()
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common()
def rm(names: tuple[str, ...], yes: bool) -> None:
    """Delete jobs; what runs of theirs is cancelled."""
    options = options_of()
    if not yes and sys.stdin.isatty():
        click.confirm(f"delete {', '.join(names)}?", abort=True, err=True)
    for name in names:
        options.connection().request("DELETE", path_of(name))
        say(options, f'job "{name}" deleted')


@job.command("next")
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 100), default=5, help="How many.  [default: 5]")
@common()
def next_slots(name: str, count: int) -> None:
    """The coming slots, in the job's time zone."""
    options = options_of()
    answer = options.get(path_of(name, "/next"), n=count)
    columns = (
        Column("LOCAL", lambda row: f"{row['local']}  {answer['timezone']}"),
        Column("WHEN", lambda row: when(row["scheduled_for"], options)),
        *([Column("NODE", lambda row: row["node"] or "–")] if any("node" in row for row in answer["next"]) else []),
        *([Column("", _left_out)] if any("left_out" in row for row in answer["next"]) else []),
    )
    listing(options, answer["next"], columns, name="scheduled_for")
    if answer["paused"]:
        say(options, "the job is paused: these slots will be skipped until it goes on")


def _left_out(row: Row) -> str:
    return f"will not run: {row['left_out']}" if "left_out" in row else ""


@job.command()
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 1_000), default=20, help="How many.  [default: 20]")
@common()
def runs(name: str, count: int) -> None:
    """Its runs, the newest first."""
    options = options_of()
    listing(options, options.get(path_of(name, "/runs"), limit=count)["runs"], run_columns(options), name="id")


@job.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with this run and all that come, until Ctrl-C.")
@common()
def logs(name: str, follow: bool) -> None:
    """The output of the job's newest run."""
    from peercron.cli.following import follow_job, print_log

    options = options_of()
    if follow:
        follow_job(options, path_of(name, "/runs"))
    newest = options.get(path_of(name, "/runs"), limit=1)["runs"]
    if newest:
        print_log(options, newest[0]["id"])
    else:
        click.echo(f'job "{name}" has not run yet', err=True)
