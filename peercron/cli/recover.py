"""peercron recover: the way out when the majority of a cluster is gone for good."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from peercron.cli.failures import FAILED, OK, USAGE


@click.command(
    epilog="""\b
Example:
  peercron recover --force-new-cluster --data-dir /var/lib/peercron/a
\b
Run it on one survivor, with its node stopped. Of several survivors take the one whose last log entry is the largest;
the others join the new cluster with empty data directories.""",
)
@click.option("--force-new-cluster", is_flag=True, help="Make this member the only one of a new cluster.")
@click.option("--data-dir", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Of the stopped node.")
@click.option("--confirm", metavar="NAME", help="The cluster's name, for scripts; otherwise it is asked for.")
def recover(*, force_new_cluster: bool, data_dir: Path, confirm: str | None) -> int:
    """Make a cluster of the one member that is left, from what it has on its disk.

    Whatever the others acknowledged that did not reach this member is lost, so this is for when they do not come back.
    Without --force-new-cluster it only says what is there, and changes nothing.
    """
    # By name: the command line is quick because it does not read the consensus for anything else.
    survivor = import_module("peercron.recovery").Survivor(data_dir)
    try:
        found = survivor.findings
        click.echo(f"cluster     {found.cluster}" + (f" (recovered {found.recoveries} times)" * bool(found.recoveries)))
        click.echo(f"member      {found.member} at {found.address}")
        click.echo(f"members     {', '.join(found.members)}")
        click.echo(f"last entry  {found.index} of term {found.term}")
        if not force_new_cluster:
            return OK
        if not _confirmed(found.cluster, confirm):
            return USAGE if confirm is None and not sys.stdin.isatty() else FAILED
        survivor.found_new_cluster()
    finally:
        survivor.close()
    click.echo(f"{found.member} is now the only member of a new cluster {found.cluster}.", err=True)
    click.echo("Start it as before; start the others with empty data directories and --join.", err=True)
    return OK


def _confirmed(cluster: str, given: str | None) -> bool:
    """The operator has to know which cluster this is."""
    if given is None:
        if not sys.stdin.isatty():
            click.echo(f"peercron: this cannot be undone: say --confirm {cluster}", err=True)
            return False
        click.echo("The other members are lost to this cluster, and what only they have is lost.", err=True)
        given = click.prompt("Type the cluster's name to go on", default="", show_default=False, err=True)
    if given != cluster:
        click.echo(f"peercron: {given!r} is not the name of this cluster; nothing was changed", err=True)
        return False
    return True
