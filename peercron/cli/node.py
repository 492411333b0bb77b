"""peercron node: the daemon itself; its options are made from the table of settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from peercron.sources import CONFIG_VARIABLE, FIELDS, Field, Kind

Command = Callable[..., Any]


def node_options(command: Command) -> Command:
    """Adds an option for every field of the settings. What was given is judged there, all at once, not by click."""
    for spec in reversed(FIELDS):
        command = _option(spec)(command)
    config = click.option("--config", metavar="FILE", help=f"node.toml.  [env var: {CONFIG_VARIABLE}]")
    return config(command)


def _option(spec: Field) -> Callable[[Command], Command]:
    default = f"; default: {spec.default}" if spec.default else ""
    choices = f"  [{'|'.join(spec.choices)}{default}]" if spec.choices else ""
    text = f"{spec.help}{choices}  [env var: {spec.variable}]"
    if spec.kind is Kind.SWITCH:
        return click.option(spec.flag, spec.key, is_flag=True, default=None, help=text)
    repeated = spec.kind in (Kind.LIST, Kind.TABLE)
    return click.option(spec.flag, spec.key, metavar=spec.form, multiple=repeated, help=text)


@click.command(
    epilog="""\b
Examples:
  peercron node --peers a:7400,b:7400,c:7400 --secret-file /etc/peercron/secret
  peercron node --join a:7400 --self d:7400 --secret-file /etc/peercron/secret
  peercron node --config /etc/peercron/node.toml
\b
Precedence: flag, environment, file, default; `peercron config show --origin` says what came from where.""",
)
@node_options
def node(**flags: Any) -> int:
    """Run a node in the foreground until SIGTERM or Ctrl-C.

    The same command on every host starts the cluster.
    """
    # By name, since the command line must not pull these in for anything else.
    settings = import_module("peercron.settings").load(flags, os.environ)
    if settings.seed is not None:
        import_module("peercron.http.documents").seed_command(settings.seed)
    import_module("peercron.logs").configure(settings)
    code: int = import_module("asyncio").run(import_module("peercron.service").run_node(settings))
    return code
