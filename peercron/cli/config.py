"""peercron config: what a node would be told, and where each value is from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from peercron.cli.node import node_options
from peercron.cli.options import common, options_of
from peercron.cli.output import Column, listing
from peercron.errors import ConfigError


@click.group()
def config() -> None:
    """What a node would be told, and by whom."""


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value is from.")
@common()
@node_options
def show(origin: bool, **flags: Any) -> None:
    """Every setting of a node started with these flags, this environment and this file.

    Values of secrets are never shown.
    """
    from peercron.settings import load
    from peercron.sources import FIELDS, gather

    values, _ = gather(flags, os.environ)
    shown = {spec.key: values[spec.key].value for spec in FIELDS}
    wrong: ConfigError | None = None
    try:
        settings = load(flags, os.environ)
        shown |= {"self": settings.self_address, "name": settings.name, "http": settings.http}
        shown["data_dir"] = settings.data_dir
    except ConfigError as error:
        wrong = error
    rows = [{"key": key, "value": _plain(value), "origin": values[key].origin} for key, value in shown.items()]
    columns = [Column("KEY", lambda row: row["key"]), Column("VALUE", lambda row: _text(row["value"]))]
    listing(options_of(), rows, [*columns, Column("ORIGIN", lambda row: row["origin"], wide=not origin)], name="key")
    if wrong is not None:
        raise wrong


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _text(value: object) -> str:
    match value:
        case dict():
            return ",".join(f"{key}={each}" for key, each in value.items()) or "–"
        case list():
            return ",".join(map(str, value)) or "–"
        case bool():
            return str(value).lower()
        case _:
            return "–" if value in (None, "") else str(value)
