"""The commands that every catalog has: what a table of named things is listed with, set with and cleared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, Row, listing, record, say


def catalog(word: str, about: str, columns: Sequence[Column]) -> click.Group:
    """A group with `list` and `rm`; its `set` is its own. `about`: what such a thing is, for the help."""
    group = click.Group(word, help=about)
    name = Column(word.upper(), lambda row: str(row["name"]))

    @group.command("list", help=f"Every {word}.")
    @common()
    def list_rows() -> None:
        options = options_of()
        listing(options, options.get(f"/v1/{word}s")[f"{word}s"], (name, *columns))

    @group.command("rm", help=f"Delete {word}s that no job goes by.")
    @click.argument("names", nargs=-1, required=True)
    @common()
    def rm(names: tuple[str, ...]) -> None:
        options = options_of()
        for each in names:
            options.connection().request("DELETE", _path(word, each))
            say(options, f'{word} "{each}" deleted')

    return group


def set_row(word: str, name: str, body: dict[str, Any], told: Callable[[Row], str]) -> None:
    """Make the row or change it, and say in a few words what it is now."""
    options = options_of()
    row = options.connection().request("PUT", _path(word, name), body).json
    record(options, row, [(word, f"{row['name']}: {told(row)}")])


def _path(word: str, name: str) -> str:
    from peercron.client.words import path

    return path(f"{word}s", name)
