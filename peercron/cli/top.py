"""peercron top: a live screen of what goes on, which goes on at another node when the one that it asks goes away."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import click

from peercron.cli.failures import OK
from peercron.cli.options import Options, common, duration, options_of
from peercron.cli.output import is_terminal, record
from peercron.errors import Busy, NoLeader, PeercronError, Unreachable

PATH = "/v1/overview"
#: A node that hangs is left for the next after so long.
ASK_S = 2.0
#: Rows of each table that are asked for; a small screen shows less.
ROWS = 20
ROWS_ONCE = 10
#: How soon a key is seen.
KEY_S = 0.1
KEYS_MAX = 1_024
#: Of a screen that is printed and not drawn: where COLUMNS does not say.
WIDTH = 120


@click.command()
@click.option("--once", is_flag=True, help="Print one screen and end, as it does where nobody looks.")
@duration("--every", default="1s", help="How often it is drawn anew.  [default: 1s]")
@common()
def top(once: bool, every: float) -> int:
    """What goes on now: members, runs, next slots, queues, locks, events. `q` or Ctrl-C ends it.

    It is read as the asked node sees it, and needs no leader. When that one goes away it goes on at the next of --addr,
    or at another member. -o json prints what the screen is made of.
    """
    options = options_of()
    source = Source(options)
    if not options.for_people:
        record(options, source.ask(ROWS_ONCE)[1], ())
    elif once or not (sys.stdout.isatty() and is_terminal(options)):
        _print(options, *source.ask(ROWS_ONCE))
    else:
        _watch(source, every)
    return OK


class Source:
    """Asks one node for what goes on; when it does not answer, the next of those named, then of those that the cluster
    has told of.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        #: The one that answered last in front.
        self.addresses = list(options.addresses)

    def ask(self, rows: int) -> tuple[str, dict[str, Any]]:
        """(the address that answered, what goes on). Unreachable, NoLeader, Busy: none of all did."""
        last: PeercronError = Unreachable()
        for _ in range(len(self.addresses)):
            try:
                seen = self._ask(self.addresses[0], rows)
            except (Unreachable, NoLeader, Busy) as error:
                last = error
                self.addresses.append(self.addresses.pop(0))
            else:
                self._learn(seen["status"]["members"])
                return self.addresses[0], seen
        raise last

    def _ask(self, address: str, rows: int) -> dict[str, Any]:
        from peercron.client import Connection

        like = self._options.connection()
        connection = Connection((address,), min(ASK_S, like.timeout_s), like.token, like.ca_file)
        seen: dict[str, Any] = connection.request("GET", PATH, params={"limit": rows, "consistency": "stale"}).json
        return seen

    def _learn(self, members: list[dict[str, Any]]) -> None:
        scheme = self.addresses[0].partition("://")[0]
        found = [f"{scheme}://{row['http']}" for row in members if row.get("http")]
        self.addresses += [address for address in found if address not in self.addresses]


def _print(options: Options, address: str, seen: dict[str, Any]) -> None:
    from rich.console import Console

    from peercron.cli.screen import frame

    colors = is_terminal(options)
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or WIDTH)
    Console(width=width, force_terminal=colors or None, no_color=not colors, highlight=False).print(
        frame(address, seen, rows=ROWS_ONCE)
    )


class _Poller(Thread):
    """Keeps what goes on at hand, so that keys need not wait for a node."""

    def __init__(self, source: Source, every_s: float) -> None:
        super().__init__(name="top", daemon=True)
        self._source, self._every_s = source, every_s
        self.seen: tuple[str, dict[str, Any]] | None = None
        #: Why nobody answers; empty: somebody does.
        self.wrong = ""
        #: There is something new.
        self.fresh = Event()
        self.over = Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.seen, self.wrong = self._source.ask(ROWS), ""
            except PeercronError as error:
                self.wrong = error.message
            self.fresh.set()
            self.over.wait(self._every_s)


def _watch(source: Source, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from peercron.cli.screen import fitting

    poller, console = _Poller(source, every_s), Console(highlight=False)
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        poller.start()
        try:
            while not _asked_to_end():
                if poller.fresh.is_set():
                    poller.fresh.clear()
                    live.update(fitting(poller.seen, poller.wrong, *console.size), refresh=True)
        except KeyboardInterrupt:
            pass
        finally:
            poller.over.set()


def _asked_to_end() -> bool:
    """Whether `q` was pressed, or is within KEY_S."""
    if not sys.stdin.isatty():
        Event().wait(KEY_S)
        return False
    if not select.select([sys.stdin], [], [], KEY_S)[0]:
        return False
    # All that was pressed meanwhile; nothing: the terminal is gone.
    pressed = os.read(sys.stdin.fileno(), KEYS_MAX)
    return not pressed or b"q" in pressed.lower()


@contextmanager
def _keys() -> Iterator[None]:
    """Keys come one by one, and are not shown."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
