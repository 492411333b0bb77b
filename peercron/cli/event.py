"""peercron event: tell jobs that something has happened."""

from __future__ import annotations

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import record, say


@click.group()
def event() -> None:
    """Events. A NAME is in the namespace "default", or written namespace/name."""


@event.command()
@click.argument("name")
@click.option("--param", "given", multiple=True, metavar="NAME=VALUE", help="What the runs are given; repeatable.")
@common()
def emit(name: str, given: tuple[str, ...]) -> None:
    """Start every job that waits for this event (on = {event = "NAME"})."""
    from peercron.client.words import path

    options = options_of()
    wrong = next((text for text in given if "=" not in text), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not NAME=VALUE", param_hint="--param")
    params = dict(text.split("=", 1) for text in given)
    answer = options.connection().request("POST", path("events", name), {"params": params}).json
    if not options.for_people:
        record(options, answer, (), name="event")
    jobs = answer["jobs"]
    say(options, f"event {answer['event']} reached {jobs} job{'s' if jobs != 1 else ''}")
