"""peercron job: the commands of jobs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click

from peercron.cli.backfill import backfill
from peercron.cli.failures import Taken
from peercron.cli.files import apply, export, plan
from peercron.cli.foresight import explain, simulate
from peercron.cli.options import Options, common, duration, options_of
from peercron.cli.output import Column, Row, listing, record, say, when
from peercron.cli.run import run_columns
from peercron.cli.slices import slices
from peercron.cli.starts import started_by
from peercron.errors import Refused


@click.group()
def job() -> None:
    """Jobs. A NAME is in the namespace "default", or written namespace/name."""


for command in (apply, plan, export, slices, backfill, explain, simulate):
    job.add_command(command)


def path_of(name: str, rest: str = "") -> str:
    """The route of a job; its name may be namespace/name."""
    return f"/v1/jobs/{quote(name, safe='')}{rest}"


@job.command(
    epilog="""\b
Examples:
  peercron job add backup --schedule '15 1 * * *' --tz Europe/Berlin --timeout 30m -- /usr/local/bin/backup.sh --full
  peercron job add hello --every 5s --shell 'echo "hello from $PEERCRON_NODE"'
  peercron job add ping --every 30s --http-url https://partner.example/hook""",
)
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]")
@click.option("--schedule", metavar="CRON", help="Five fields, or six with seconds first.")
@click.option("--every", metavar="DURATION", help="Elapsed time between slots: 30s, 1h30m.")
@click.option("--at", metavar="INSTANT", help="Once: 2026-12-01T10:00:00Z.")
@click.option(
    "--queue",
    metavar="QUEUE",
    help="A run for each item of this queue, one at a time on each node; with --mode queue its slots are items too.",
)
@click.option("--tz", "timezone", metavar="ZONE", help="Time zone of --schedule.  [default: UTC]")
@click.option("--shell", metavar="TEXT", help="A line for /bin/sh, instead of CMD.")
@click.option("--http-url", metavar="URL", help="Call this URL, instead of CMD.")
@click.option("--class", metavar="MODULE:CLASS", help="A Python class that inherits from Job, instead of CMD.")
@click.option("--timeout", metavar="DURATION", help="End a run that takes longer.")
@click.option("--mode", metavar="MODE", help="single, standby, slice, turns, contend, parallel or queue.")
@click.option("--slice", metavar="DURATION", help="Mode slice: how long a node has its turn.")
@click.option("--on-absent", metavar="WORD", help="Mode slice: skip (needs no quorum) or fill.")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="Only on this node; repeatable.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable of the run; repeatable.")
@click.option("--user", metavar="NAME", help="Run as this user.")
@click.option("--cwd", metavar="DIR", help="Run in this folder.")
@click.option("--overlap", metavar="POLICY", help="forbid, allow, queue_one, queue_all or replace.")
@click.option("--guarantee", metavar="WORD", help="at_least_once, at_most_once or effectively_once.")
@click.option("--retry", type=click.IntRange(0), metavar="N", help="Further attempts after one that failed.")
@click.option("--paused", is_flag=True, default=None, help="Add it, and let it wait for resume.")
@click.option("--replace", is_flag=True, help="Replace the job if there is one of this name.")
@common(without=("timeout",))
def add(name: str, words: tuple[str, ...], replace: bool, **given: Any) -> None:
    """Add a job that runs CMD, a --shell line, an HTTP call or a Python class."""
    options = options_of()
    table = _table(name, words, given)
    method, path = ("PUT", path_of(name)) if replace else ("POST", "/v1/jobs")
    try:
        answer = options.connection().request(method, path, table)
    except Refused as error:
        if error.code != "conflict" or replace:
            raise
        cure = "--replace puts the new one in its place"
        raise Taken(f'there is a job "{name}" already', error.index, cure) from None
    view = answer.json
    if not options.for_people:
        record(options, view, ())
        return
    say(options, f'job "{view["name"]}" added (revision {view["revision"]}, index {answer.headers["peercron-index"]})')
    coming = options.get(path_of(view["key"], "/next"), n=1)["next"]
    upcoming = f"next run {when(coming[0]['scheduled_for'], options)}.   " if coming else ""
    alone = view.get("mode") == "slice" and view.get("on_absent", "skip") == "skip"
    now, turn = f"Try it now:  peercron job run {name} --follow", f"Whose turn is when:  peercron job next {name}"
    say(options, f"{upcoming}{turn if alone else now}")


def _table(name: str, words: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The job as jobs.toml would write it; what is wrong with it is said by the server, as for every other way in."""
    namespace, slash, bare = name.partition("/")
    table: dict[str, Any] = {"name": bare, "namespace": namespace} if slash else {"name": name}
    env = dict(_pair(text, "--env") for text in given.pop("env"))
    url, retry = given.pop("http_url"), given.pop("retry")
    table |= {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    table |= {"command": list(words)} if words else {}
    table |= {"http": {"url": url}} if url else {}
    table |= {"retry": {"max": retry}} if retry else {}
    return table | ({"env": env} if env else {})


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=flag)
    return name, value


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
    given = dict(_pair(text, "--param") for text in params)
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
    )
    listing(options, answer["next"], columns, name="scheduled_for")
    if answer["paused"]:
        say(options, "the job is paused: these slots will be skipped until it goes on")


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
