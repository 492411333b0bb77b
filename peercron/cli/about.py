"""peercron version and peercron completion."""

from __future__ import annotations

import platform

import click

from peercron import __version__
from peercron.cli.options import common, options_of
from peercron.cli.output import record


@click.command()
@common()
def version() -> None:
    """The version of peercron and of the Python under it."""
    told = {"version": __version__, "python": platform.python_version(), "platform": platform.system().lower()}
    text = f"{__version__} (Python {told['python']}, {told['platform']})"
    record(options_of(), told, [("peercron", text)], name="version")


@click.command(
    epilog="""\b
Examples:
  bash:  eval "$(peercron completion bash)"     in ~/.bashrc
  zsh:   eval "$(peercron completion zsh)"      in ~/.zshrc
  fish:  peercron completion fish > ~/.config/fish/completions/peercron.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from peercron.cli.root import PROGRAM, cli

    complete = get_completion_class(shell)
    assert complete is not None, "click knows the shells of the choice above"
    click.echo(complete(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
