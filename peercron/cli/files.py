"""peercron apply, plan and export: whole job files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from peercron.cli.failures import CHANGES, OK
from peercron.cli.options import Options, common, options_of
from peercron.cli.output import listing, record, say

_SIGNS = {"create": "+", "update": "~", "delete": "-"}
_file = click.option("-f", "--file", required=True, metavar="FILE", help="jobs.toml or JSON; - is standard input.")
_prune = click.option("--prune", is_flag=True, help="Also delete the other jobs of the file's owner.")


def _document(path: str) -> dict[str, Any]:
    from peercron.jobfile import read_jobs_file

    return read_jobs_file(path)


@click.command()
@_file
@_prune
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@common()
def apply(file: str, prune: bool, dry_run: bool) -> None:
    """Make the jobs of a file the jobs of the cluster: all of them, or none."""
    options = options_of()
    document = _document(file)
    params = {"prune": 1} if prune else {}
    answer = options.connection().request("POST", "/v1/plan" if dry_run else "/v1/apply", document, params=params)
    _print_changes(options, answer.json["changes"])
    changed = _counts(answer.json["changes"]) if dry_run else _counts(answer.json["changes"], "{}d")
    if not changed and (done := answer.json.get("changed")):  # it came twice, and the answer of the first time was lost
        changed = f"{done} job{'s' if done != 1 else ''}, at the first try"
    say(options, f"{'would change' if dry_run else 'applied'}: {changed or 'nothing to do'}")


@click.command()
@_file
@_prune
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 where something would change.")
@common()
def plan(file: str, prune: bool, detailed_exitcode: bool) -> int:
    """Say what `apply` of the file would change; changes nothing."""
    options = options_of()
    changes = options.post("/v1/plan", _document(file), **({"prune": 1} if prune else {}))["changes"]
    _print_changes(options, changes)
    counts = _counts(changes)
    say(
        options,
        f"plan: {counts}.   Apply with: peercron apply -f {file}{' --prune' * prune}" if counts else "no change",
    )
    return CHANGES if counts and detailed_exitcode else OK


def _print_changes(options: Options, changes: Sequence[dict[str, Any]]) -> None:
    if not options.for_people:
        listing(options, changes, (), name="job")
        return
    for change in changes:
        if change["action"] in _SIGNS:
            name = change["job"].removeprefix("default/")
            fields = change.get("fields", {}).items()
            click.echo(f"{_SIGNS[change['action']]} {name}{'' if fields else '  ' + change['action']}")
            for key, (before, after) in fields:
                click.echo(f"    {key}: {_shown(before)} → {_shown(after)}")


def _shown(value: object) -> str:
    return "–" if value is None else str(value)


def _counts(changes: Sequence[dict[str, Any]], form: str = "to {}") -> str:
    counts = ((action, sum(change["action"] == action for change in changes)) for action in _SIGNS)
    return ", ".join(f"{count} {form.format(action)}" for action, count in counts if count)


@click.command()
@click.option("--owner", metavar="NAME", help="Only jobs of this owner.")
@click.option("--namespace", metavar="NAME", help="Only jobs of this namespace.")
@common()
def export(**wanted: str | None) -> None:
    """Print every job as a jobs.toml that `apply` calls no change; with -o json as JSON."""
    options = options_of()
    chosen = {key: value for key, value in wanted.items() if value}
    if options.output in ("table", "wide"):
        answer = options.connection().request("GET", "/v1/export", params=chosen | {"format": "toml"})
        click.echo(answer.body.decode(), nl=False)
    else:
        record(options, options.get("/v1/export", **chosen), (), name="owner")
