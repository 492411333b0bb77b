"""peercron crontab: what a crontab would be here, line by line, and its import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from peercron.cli.failures import FAILED, OK
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import Column, listing, say
from peercron.errors import ConfigError, Problem

Command = TypeVar("Command", bound=Callable[..., Any])
FILE_BYTES_MAX = 1024 * 1024


@click.group()
def crontab() -> None:
    """Files of cron: those of users (crontab -l) and of the system (/etc/crontab, /etc/cron.d)."""


def _about_the_file(command: Command) -> Command:
    """What a crontab does not say of itself."""
    for add in (
        click.argument("file", metavar="FILE"),
        click.option(
            "--system/--of-user",
            "system",
            default=None,
            help="Whether the sixth field is the user.  [default: by path]",
        ),
        click.option(
            "--tz", "timezone", metavar="ZONE", help="Of the machine it comes from.  [default: this machine's]"
        ),
        click.option("--user", default="", metavar="NAME", help="Whose crontab it is; its jobs run as that user."),
        click.option("--namespace", default="default", metavar="NAME", help="Of the jobs."),
        click.option(
            "--node", "nodes", multiple=True, metavar="NAME", help="Only on this node, as under cron; repeatable."
        ),
    ):
        command = add(command)
    return command


@crontab.command()
@_about_the_file
@common()
def check(file: str, **about: Any) -> int:
    """Say what each line of FILE would be here; changes nothing. Exit 1 where a line cannot be taken."""
    options, report = options_of(), _report(file, about)
    _print(options, report)
    return FAILED if report.cannot else OK


@crontab.command("import", epilog="Run it again after the file has changed: names stay while a line says the same.")
@_about_the_file
@click.option(
    "--apply", "really", is_flag=True, help="Apply the jobs to the cluster, and delete those of lines that are gone."
)
@click.option("--owner", metavar="NAME", help="Owner of the jobs.  [default: crontab:FILE]")
@click.option("--skip", is_flag=True, help="Leave out lines that cannot be taken, instead of stopping there.")
@common()
def import_(file: str, really: bool, owner: str | None, skip: bool, **about: Any) -> int:
    """Print FILE as a jobs.toml, or apply it; the report goes to stderr."""
    from peercron.jobfile import to_toml

    options, report = options_of(), _report(file, about)
    for line in report.lines:
        if line.notes:
            click.echo(f"{file}:{line.number}: {line.result.value}: {'; '.join(line.notes)}", err=True)
    if report.cannot and not skip:
        click.echo(f"peercron: {report.cannot} lines cannot be taken; --skip leaves them out", err=True)
        return FAILED
    document = {"version": 1, "owner": owner or f"crontab:{file}", "jobs": list(report.jobs)}
    if not really:
        click.echo(to_toml(document), nl=False)
        return OK
    answer = options.connection().request("POST", "/v1/apply", document, params={"prune": 1})
    say(options, f"{len(report.jobs)} jobs of {file}, {answer.json['changed']} changed")
    return OK


def _report(file: str, about: dict[str, Any]) -> Any:
    from peercron.crontab import Options as About
    from peercron.crontab import convert

    system = about["system"] if about["system"] is not None else file.startswith(("/etc/crontab", "/etc/cron.d/"))
    wanted = about | {"system": system, "timezone": about["timezone"] or _own_timezone()}
    return convert(_text(file), About(**wanted))


def _text(file: str) -> str:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([Problem(file, f"cannot be read: {error.strerror}")]) from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError([Problem(file, f"is longer than {FILE_BYTES_MAX} bytes")])
    return data.decode("utf-8", "replace")


def _own_timezone() -> str:
    """Of this machine, by the name that /etc/localtime links to."""
    _, found, zone = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")
    return zone if found and zone not in ("Etc/UTC", "UCT") else "UTC"


def _print(options: Options, report: Any) -> None:
    rows = [
        {"line": line.number, "result": line.result.value, "job": line.job, "notes": list(line.notes)}
        for line in report.lines
    ]
    columns = (
        Column("LINE", lambda row: str(row["line"])),
        Column("RESULT", lambda row: str(row["result"])),
        Column("JOB", lambda row: row["job"] or "–"),
        Column("NOTES", lambda row: "; ".join(row["notes"])),
    )
    listing(options, rows, columns, name="job")
    say(options, f"{len(report.jobs)} jobs; {report.cannot} lines cannot be taken")
