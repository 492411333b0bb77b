"""The root of the command line: the table of commands, the bare form that starts a node, and the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from peercron.cli.failures import FAILED, INTERRUPTED, OK, USAGE, exit_code, tell
from peercron.cli.lazy import HELP, Lazy, LazyGroup
from peercron.cli.options import Options, common
from peercron.errors import PeercronError

COMMANDS = {
    "node": Lazy("peercron.cli.node:node", "Run a node in the foreground (the same as the bare --peers …)."),
    "demo": Lazy("peercron.cli.demo:demo", "A cluster on this machine with sample jobs, judged by its ledger."),
    "status": Lazy("peercron.cli.status:status", "The cluster on one screen."),
    "top": Lazy("peercron.cli.top:top", "What goes on now, as a live screen."),
    "doctor": Lazy("peercron.cli.doctor:doctor", "What is wrong, how bad that is, and what to do."),
    "job": Lazy("peercron.cli.job:job", "Jobs: add, apply, list, run, pause, …"),
    "run": Lazy("peercron.cli.run:run", "Runs: list, show, logs, cancel."),
    "member": Lazy("peercron.cli.member:member", "The members of the cluster."),
    "queue": Lazy("peercron.cli.queue:queue", "Task queues: list, put, get, ack, peek, purge, replay."),
    "lock": Lazy("peercron.cli.lock:lock", "Locks: list, show, acquire -- CMD, release."),
    "state": Lazy("peercron.cli.state:state", "Shared state: get, set, cas, incr, rm, list, watch."),
    "health": Lazy("peercron.cli.health:health", "What the checks of jobs say of the nodes."),
    "event": Lazy("peercron.cli.event:event", "Tell jobs that something has happened."),
    "events": Lazy("peercron.cli.events:events", "What happens in the cluster, as it happens with -f."),
    "token": Lazy("peercron.cli.token:token", "Who may do what: create, list, revoke access tokens."),
    "snapshot": Lazy("peercron.cli.snapshot:snapshot", "The whole cluster as a file: save, inspect, restore."),
    "pause": Lazy("peercron.cli.cluster:pause", "Stop the schedules of all jobs."),
    "resume": Lazy("peercron.cli.cluster:resume", "Let the schedules of all jobs go on."),
    "calendar": Lazy("peercron.cli.calendar:calendar", "Days that jobs include or exclude: list, set, rm."),
    "pool": Lazy("peercron.cli.pool:pool", "Pools that jobs share: list, set, rm."),
    "crontab": Lazy("peercron.cli.crontab:crontab", "Files of cron: check, import."),
    "apply": Lazy("peercron.cli.files:apply", "Short for job apply."),
    "plan": Lazy("peercron.cli.files:plan", "Short for job plan."),
    "recover": Lazy("peercron.cli.recover:recover", "Make a cluster of one survivor, when a majority is gone."),
    "config": Lazy("peercron.cli.config:config", "What a node would be told, and by whom."),
    "completion": Lazy("peercron.cli.about:completion", "Completion for bash, zsh or fish."),
    "version": Lazy("peercron.cli.about:version", "The version."),
}


PROGRAM = "peercron"


class Root(LazyGroup):
    """Knows the bare form, and turns errors into sentences and exit codes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--peers …` without a command is `node --peers …`: the first option that is not the root's is the node's."""
        at = self._behind_own_options(ctx, args)
        if at < len(args) and args[at].startswith("-") and args[at] != "--":
            args = [*args[:at], "node", *args[at:]]
        return super().parse_args(ctx, args)

    def _behind_own_options(self, ctx: click.Context, args: Sequence[str]) -> int:
        own = {name: param for param in self.get_params(ctx) for name in param.opts}
        at = 0
        while at < len(args) and args[at].startswith("-"):
            name, equals, _ = args[at].partition("=")
            short = not name.startswith("--")
            param = own.get(name[:2] if short else name)
            if not isinstance(param, click.Option):
                return at
            has_value = bool(equals) or param.is_flag or param.count or (short and len(name) > len("-o"))
            at += 1 if has_value else 2
        return at

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run to the end and leave with the exit code: what a command returns, or what its error stands for."""
        options = Options()
        try:
            outcome = super().main(args, PROGRAM, complete_var, standalone_mode=False, obj=options, **extra)
            sys.stdout.flush()
            code = outcome if isinstance(outcome, int) else OK
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        except PeercronError as error:
            tell(error, options)
            code = exit_code(error)
        except UnicodeError as error:
            click.echo(f"peercron: text is wanted, in UTF-8, and {_bytes_of(error)} is none", err=True)
            code = USAGE
        except BrokenPipeError:
            # Whoever read our output has seen enough (`| head`): what is left goes nowhere, and as click does, quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        sys.exit(code)


def _bytes_of(error: UnicodeError) -> str:
    """What could not be read or sent, as far as it is known, for people."""
    given = getattr(error, "object", b"")
    return ascii(given[:40]) if given else "what was given"


@click.group(
    PROGRAM,
    cls=Root,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": HELP},
    epilog="""\b
Examples:
  python -m peercron --peers a:7400,b:7400,c:7400   # on each host
  peercron status
  peercron job add hello --every 30s --shell 'echo hello'
\b
Exit: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 no connection or leader, 5 degraded, 6 conflict,
7 unknown outcome, 124 waited too long.""",
)
@common(root=True)
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Cron that outlives its machines."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return USAGE
    return OK


def main() -> None:
    """Entry point of `peercron` and `python -m peercron`."""
    cli()
