"""peercron demo: a cluster on this machine, with sample jobs, that is shown at work and judged by its own ledger."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.options import duration

#: The nodes of a demo are real processes; more than this says nothing new.
NODES_MAX = 9
#: A dead leader is only survived by a majority of the others.
NODES_TO_SURVIVE = 3


@click.command(
    epilog="""\b
Examples:
  peercron demo                                    # until Ctrl-C
  peercron demo --for 30s --kill-leader-at 10s     # a test of its own: exit 0 only if all is well""",
)
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=3, help="How many nodes.  [default: 3]")
@duration("--for", "for_s", help="End after this long.  [default: at Ctrl-C]")
@duration("--kill-leader-at", "kill_at_s", help="kill -9 the leader after this long, and start it again later.")
@click.option("--json", "as_json", is_flag=True, help="A summary as JSON on stdout; what happens goes to stderr.")
@click.option("--keep", is_flag=True, help="Keep the data and the logs of the nodes.")
def demo(nodes: int, for_s: float | None, kill_at_s: float | None, as_json: bool, keep: bool) -> int:
    """Start a cluster on this machine, with sample jobs, and show it at work.

    At the end the ledger is checked: the exit code is 0 only if every slot is there exactly once.
    """
    if kill_at_s is not None and nodes < NODES_TO_SURVIVE:
        raise click.BadParameter(
            f"needs {NODES_TO_SURVIVE} nodes: no majority is left of {nodes}", param_hint="--nodes"
        )
    if kill_at_s is not None and for_s is not None and kill_at_s >= for_s:
        raise click.BadParameter("must come before the end that --for sets", param_hint="--kill-leader-at")
    from peercron.cli.demo.play import Play

    return Play(nodes=nodes, for_s=for_s, kill_at_s=kill_at_s, as_json=as_json, keep=keep).run()


def printer(as_json: bool) -> Any:
    """Prints a line for people, at once; on stderr when stdout is for a program."""

    def line(text: str = "") -> None:
        click.echo(text, err=as_json)

    return line
