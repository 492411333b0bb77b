"""peercron job add: a job from flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from peercron.cli.failures import Taken
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Row, record, say, when
from peercron.errors import Refused

#: Of a new job, to find the first one that will run.
SLOTS_LOOKED_AT = 20


def path_of(name: str, rest: str = "") -> str:
    """The route of a job; its name may be namespace/name."""
    from peercron.client.words import path

    return path("jobs", name, rest)


@click.command(
    epilog="""\b
Examples:
  peercron job add backup --schedule '15 1 * * *' --tz Europe/Berlin --timeout 30m -- /usr/local/bin/backup.sh --full
  peercron job add hello --every 5s --shell 'echo "hello from $PEERCRON_NODE"'
  peercron job add report --after ingest,clean --require all_done -- /srv/report.sh
  peercron job add ping --every 30s --http-url https://partner.example/hook""",
)
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]")
@click.option("--schedule", metavar="CRON", help="Five fields, or six with seconds first.")
@click.option("--every", metavar="DURATION", help="Elapsed time between slots: 30s, 1h30m.")
@click.option("--at", metavar="INSTANT", help="Once: 2026-12-01T10:00:00Z.")
@click.option(
    "--after", metavar="NAME[,NAME…]", help="Run when these jobs have ended, as --require says; it has no other slots."
)
@click.option("--require", metavar="WORD", help="With --after: all_succeeded, any_succeeded or all_done.")
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
    coming = options.get(path_of(view["key"], "/next"), n=SLOTS_LOOKED_AT)["next"]
    upcoming = _upcoming(coming, options) or _bygone(view, new=not replace)
    alone = view.get("mode") == "slice" and view.get("on_absent", "skip") == "skip"
    now, turn = f"Try it now:  peercron job run {name} --follow", f"Whose turn is when:  peercron job next {name}"
    say(options, f"{upcoming}{turn if alone else now}")


def _upcoming(coming: Sequence[Row], options: Options) -> str:
    """When it runs next, of the slots to come; or why none of them is run."""
    runs = next((slot["scheduled_for"] for slot in coming if "left_out" not in slot), None)
    if runs is not None:
        return f"next run {when(runs, options)}.   "
    if coming:
        return f"none of its next {len(coming)} slots will run: of the first, {coming[0]['left_out']}.   "
    return ""


def _bygone(view: Row, *, new: bool) -> str:
    """Of a job at a time that has passed: what comes of it; empty: it has none."""
    from peercron.core.policy import WINDOW_DEFAULT_MS
    from peercron.times import format_duration, parse_instant_ms

    if "at" not in view:
        return ""
    window, late_ms = (
        format_duration(WINDOW_DEFAULT_MS),
        parse_instant_ms(view["updated_at"]) - parse_instant_ms(view["at"]),
    )
    if not new:
        comes = f"peercron job explain {view['name']} says what came of it"
    elif late_ms > WINDOW_DEFAULT_MS:
        comes = f"longer ago than the misfire window ({window}), so it is skipped and never runs by itself"
    else:
        comes = f"within the misfire window ({window}), so it runs at once"
    return f"its time, {view['at']}, has passed: {comes}.   "


def _table(name: str, words: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The job as jobs.toml would write it; what is wrong with it is said by the server, as for every other way in."""
    namespace, slash, bare = name.partition("/")
    table: dict[str, Any] = {"name": bare, "namespace": namespace} if slash else {"name": name}
    env = dict(pair(text, "--env") for text in given.pop("env"))
    url, retry = given.pop("http_url"), given.pop("retry")
    table |= {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    table |= {"after": [each.strip() for each in given["after"].split(",")]} if given["after"] else {}
    table |= {"at": _whole_instant(given["at"])} if given["at"] else {}
    table |= {"command": list(words)} if words else {}
    table |= {"http": {"url": url}} if url else {}
    table |= {"retry": {"max": retry}} if retry else {}
    return table | ({"env": env} if env else {})


def _whole_instant(text: str) -> str:
    """With the seconds that ISO 8601 lets people leave out, and RFC 3339 does not; what is none as it is."""
    from peercron.times import format_instant, parse_instant_ms

    try:
        return format_instant(parse_instant_ms(text))
    except ValueError:
        return text


def pair(text: str, flag: str) -> tuple[str, str]:
    """NAME=VALUE in two."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=flag)
    return name, value
