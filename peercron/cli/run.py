"""peercron run: the commands of runs."""

from __future__ import annotations

import click

from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Column, Row, listing, record, say, when


@click.group()
def run() -> None:
    """Runs: the work for one slot each. A RUN is named by its id, as the lists print it."""


def path_of(run_id: str, rest: str = "") -> str:
    """The route of a run."""
    from peercron.client.words import path

    return path("runs", run_id, rest)


def _node(row: Row) -> str:
    if row.get("shards"):
        return ",".join(shard["node"] for shard in row["shards"])
    return str(row["attempts"][-1]["node"]) if row["attempts"] else "–"


def _exit_code(row: Row) -> str:
    code = row["attempts"][-1]["exit_code"] if row["attempts"] else None
    return "–" if code is None else str(code)


def run_columns(options: Options) -> tuple[Column, ...]:
    """Columns of every list of runs."""
    return (
        Column("RUN", lambda row: row["id"]),
        Column("JOB", lambda row: row["job"].removeprefix("default/")),
        Column("SLOT", lambda row: when(row["scheduled_for"], options)),
        Column("STATE", lambda row: row["state"]),
        Column("NODE", _node),
        Column("ATTEMPTS", lambda row: str(len(row["attempts"]))),
        Column("EXIT", _exit_code),
        Column("FINISHED", lambda row: when(row["finished_at"], options), wide=True),
        Column("REASON", lambda row: row["reason"] or "–", wide=True),
    )


@run.command("list")
@click.option("--job", "job_name", metavar="NAME", help="Only runs of this job.")
@click.option("--state", metavar="STATE", help="Only runs in this state.")
@click.option("-n", "count", type=click.IntRange(1, 1_000), default=50, help="How many.  [default: 50]")
@common()
def list_runs(job_name: str | None, state: str | None, count: int) -> None:
    """Runs of all jobs, the newest first."""
    options = options_of()
    wanted = {key: value for key, value in (("job", job_name), ("state", state)) if value}
    listing(options, options.get("/v1/runs", limit=count, **wanted)["runs"], run_columns(options), name="id")


@run.command()
@click.argument("run_id", metavar="RUN")
@common()
def show(run_id: str) -> None:
    """One run with all its attempts."""
    options = options_of()
    row = options.get(path_of(run_id))
    lines = [
        ("run", row["id"]),
        ("job", row["job"]),
        ("slot", row["scheduled_for"]),
        ("params", ", ".join(f"{name}={value}" for name, value in row["params"].items())),
        ("state", row["state"]),
        ("mode", row["mode"] or ""),
        ("reason", row["reason"]),
        ("item", f"{row['item'] or 'no longer one'} of queue {row['queue']}" if "queue" in row else ""),
        ("not before", row["not_before"] or ""),
        ("finished", row["finished_at"] or ""),
        ("checkpoint", f"{row['checkpoint_bytes']} bytes" if row.get("checkpoint_bytes") else ""),
        *((f"attempt {attempt['n']}", _attempt(attempt)) for attempt in row["attempts"]),
        *((f"shard {shard['n']}", _shard(shard)) for shard in row.get("shards", ())),
        ("asked", ", ".join(row.get("asked", ()))),
        ("output", row["output_tail"].rstrip()),
    ]
    record(options, row, lines, name="id")


def _shard(shard: Row) -> str:
    """Where it is and how it stands; its own id shows it whole."""
    if shard["attempt"] is None:
        return f"{shard['state']} for {shard['node']}" + (f"  ({shard['reason']})" if shard["reason"] else "")
    return _attempt(shard["attempt"])


def _attempt(attempt: Row) -> str:
    code = f", exit {attempt['exit_code']}" if attempt["exit_code"] is not None else ""
    times = " – ".join(filter(None, (attempt["started_at"], attempt["finished_at"])))
    text = f"{attempt['state']} on {attempt['node']}{code}, token {attempt['token']}  {times}"
    text += f"  ({attempt['reason']})" if attempt["reason"] else ""
    return f"{text}  why there: {attempt['why']}" if attempt["why"] else text


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--attempt", type=int, metavar="N", help="Of this attempt.  [default: the newest]")
@common()
def logs(run_id: str, follow: bool, attempt: int | None) -> None:
    """The output of a run, from whichever node has it."""
    from peercron.cli.following import print_log

    print_log(options_of(), run_id, follow=follow, attempt=attempt)


@run.command()
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN…")
@common()
def cancel(run_ids: tuple[str, ...]) -> None:
    """End runs; their processes get TERM, and KILL when they do not go."""
    options = options_of()
    for run_id in run_ids:
        row = options.post(path_of(run_id, ":cancel"))
        say(options, f"run {run_id}: {'asked to end' if row['state'] == 'running' else row['state']}")


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Show its output, and end with its status.")
@common()
def retry(run_id: str, follow: bool) -> int:
    """Do the work of a run that has ended once more, for the same slot and with the same params.

    It is a run of its own, and meets the overlap policy like any; the outcome of the first one stays in the ledger.
    """
    options = options_of()
    row = options.post(path_of(run_id, ":retry"))
    if not follow:
        lines = [("run", row["id"]), ("state", row["state"]), ("reason", row.get("reason", ""))]
        record(options, row, lines, name="id")
        return 0
    from peercron.cli.following import follow_run

    return follow_run(options, row["id"], None)
