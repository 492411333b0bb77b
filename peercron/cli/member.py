"""peercron member."""

from __future__ import annotations

from typing import Any

import click

from peercron.cli.options import common, options_of
from peercron.cli.output import Column, Row, listing


def _value(key: str, unit: str = "", *, signed: bool = False) -> Any:
    def text(row: Row) -> str:
        value = row.get(key)
        if value is None or value == "":
            return "–"
        if isinstance(value, float):
            return f"{value:.1f}{unit}"
        return f"{value:+}{unit}" if signed else f"{value}{unit}"

    return text


COLUMNS = (
    Column("NODE", _value("name")),
    Column("ADDRESS", _value("address")),
    Column("HTTP", _value("http"), wide=True),
    Column("DC", _value("dc")),
    Column("ROLE", _value("role")),
    Column("STATE", _value("state")),
    Column("APPLIED", _value("applied")),
    Column("BEHIND", _value("behind")),
    Column("RTT", _value("rtt_ms", " ms")),
    Column("CLOCK", _value("clock_ms", " ms", signed=True)),
    Column("RUNNING", _value("running")),
    Column("VERSION", _value("version")),
    Column("LEVEL", _value("level"), wide=True),
)


@click.group()
def member() -> None:
    """The members of the cluster."""


@member.command("list")
@common()
def list_members() -> None:
    """Every member, with what the leader measures of it."""
    options = options_of()
    listing(options, options.get("/v1/members")["members"], COLUMNS)
