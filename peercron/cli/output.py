"""How results are printed: tables for people, JSON and the like for programs; always on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from peercron.cli.options import Options

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and the text of a row in it. `wide`: only with -o wide."""

    title: str
    text: Callable[[Row], str]
    wide: bool = False


def listing(options: Options, rows: Sequence[Row], columns: Sequence[Column], name: str = "name") -> None:
    """Rows in the form that was asked for. `name` is the key that -o name prints."""
    match options.output:
        case "json":
            click.echo(json.dumps(rows, indent=2))
        case "jsonl":
            for row in rows:
                click.echo(json.dumps(row))
        case "yaml":
            click.echo(to_yaml(rows))
        case "name":
            for row in rows:
                click.echo(row[name])
        case form:
            shown = [column for column in columns if form == "wide" or not column.wide]
            table([column.title for column in shown], [[column.text(row) for column in shown] for row in rows], options)


def record(options: Options, row: Row, lines: Sequence[tuple[str, str]], name: str = "name") -> None:
    """One thing: as data, or for people as lines of a label and a text (those without a text are left out)."""
    match options.output:
        case "json":
            click.echo(json.dumps(row, indent=2))
        case "jsonl":
            click.echo(json.dumps(row))
        case "yaml":
            click.echo(to_yaml(row))
        case "name":
            click.echo(row[name])
        case _:
            width = max((len(label) for label, text in lines if text), default=0)
            for label, text in lines:
                if text:
                    click.echo(f"{label:<{width}}  {text}")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], options: Options) -> None:
    """Aligned columns; with colours where somebody looks."""
    if is_terminal(options):
        _rich_table(titles, rows)
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        grid.add_column(title, no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(text, style=style_of(text)) for text in row))
    console = Console(highlight=False)
    # A row is a line, also where the screen is too narrow for it: the terminal wraps it, and `grep` finds it whole.
    console.width = max(console.width, console.measure(grid, options=console.options.update(width=10_000)).maximum)
    console.print(grid)


_GOOD = ("succeeded", "leader", "active", "healthy")
_BAD = ("failed", "lost", "refused", "timed_out", "missed", "unreachable", "halted", "degraded", "no leader")
_DIM = ("paused", "skipped", "cancelled", "unknown", "–")


def style_of(text: str) -> str:
    """The colour of a cell, by its first word; the word itself says the same, for those who see none."""
    for words, style in ((_GOOD, "green"), (_BAD, "red"), (_DIM, "dim")):
        if text.startswith(words):
            return style
    return ""


def is_terminal(options: Options) -> bool:
    """Whether colours are wanted: the flag, then FORCE_COLOR, then NO_COLOR, then what stdout is."""
    if options.color != "auto":
        return options.color == "always"
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(options: Options, text: str) -> None:
    """A sentence for people; programs get none."""
    if options.for_people:
        click.echo(text)


def when(instant: str | None, options: Options) -> str:
    """An instant: relative on a terminal, as it is for everybody else; a dash where there is none."""
    if instant is None:
        return "–"
    if not is_terminal(options):
        return instant
    from peercron.clock import SystemClock
    from peercron.times import parse_instant_ms

    distance_ms = parse_instant_ms(instant) - SystemClock().wall_ms()
    return f"in {about(distance_ms)}" if distance_ms >= 0 else f"{about(-distance_ms)} ago"


def about(duration_ms: int) -> str:
    """A duration by its two largest units.

    >>> about(3_725_000)
    '1h 2m'
    """
    seconds = duration_ms // 1_000
    for unit, size, finer, finer_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // finer_size}{finer}"
    return f"{seconds}s" if seconds else f"{duration_ms}ms"


def to_yaml(value: Any, indent: str = "") -> str:
    """YAML in block style; scalars are written as JSON, which YAML reads the same."""
    if isinstance(value, Mapping) and value:
        return "\n".join(f"{indent}{json.dumps(key)}:{_below(each, indent)}" for key, each in value.items())
    if isinstance(value, list | tuple) and value:
        return "\n".join(f"{indent}-{_below(each, indent)}" for each in value)
    return f"{indent}{json.dumps(value, ensure_ascii=False)}"


def _below(value: Any, indent: str) -> str:
    if isinstance(value, Mapping | list | tuple) and value:
        return "\n" + to_yaml(value, indent + "  ")
    return f" {json.dumps(value, ensure_ascii=False)}"
