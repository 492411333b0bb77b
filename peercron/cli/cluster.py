"""peercron pause and resume: the schedules of the whole cluster."""

from __future__ import annotations

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import say


@click.command()
@common()
def pause() -> None:
    """Stop the schedules of all jobs: their slots are skipped, with the reason; what runs goes on."""
    options = options_of()
    options.post("/v1/cluster:pause")
    say(options, "the cluster is paused: slots are skipped until `peercron resume`")


@click.command()
@common()
def resume() -> None:
    """Let the schedules go on, each with a slot to come; what the pause skipped stays skipped."""
    options = options_of()
    options.post("/v1/cluster:resume")
    say(options, "the cluster goes on")
