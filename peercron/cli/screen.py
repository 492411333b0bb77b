"""Screen: what goes on, as tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from peercron.cli.member import COLUMNS
from peercron.cli.output import about, style_of
from peercron.times import parse_instant_ms

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]

#: Narrower screens have their tables one below the other.
WIDE = 100
#: What there is beside rows: the head and its blank line, titles and blank lines of the tables.
LINES_OF_HEAD = 4
LINES_OF_TABLE = 2
#: Facts of an event that say little to who looks on.
_HEAD = ("id", "at", "kind", "what", "name", "run", "token")


def fitting(seen: tuple[str, Row] | None, wrong: str, width: int, height: int) -> RenderableType:
    """The screen of a terminal of this size. `wrong`: why it is not what goes on now; empty: it is."""
    lost = Text(f"no node answers: {wrong}; it is tried again", style="bold red") if wrong else None
    if seen is None:
        return lost or Text("asking …")
    address, now = seen
    members = len(now["status"]["members"])
    blocks = 3 if width >= WIDE else 5
    room = height - LINES_OF_HEAD - (LINES_OF_TABLE + members) - bool(wrong) - blocks * LINES_OF_TABLE
    drawn = frame(address, now, rows=max(1, room // blocks), width=width)
    return Group(lost, drawn) if lost is not None else drawn


def frame(address: str, now: Row, *, rows: int, width: int = 0) -> RenderableType:
    """Head and tables, with so many rows of each; beside each other where `width` says that there is room."""
    at_ms, counts = parse_instant_ms(now["at"]), now["counts"]
    tables = [
        _table(
            f"running  {len(now['runs'])} of {counts['runs']} runs, {counts['waiting']} wait",
            _runs(at_ms),
            now["runs"],
            rows,
        ),
        _table(f"next of {counts['jobs']} jobs", _coming(at_ms), now["coming"], rows),
        _table(f"queues  {counts['queues']}, {counts['items']} items", _QUEUES, now["queues"], rows),
        _table(f"locks  {counts['locks']}, {counts['waiters']} wait", _locks(at_ms), now["locks"], rows),
        _table("events", _EVENTS, now["events"][::-1], rows),
    ]
    if width >= WIDE:
        tables = [_beside(tables[0], tables[1]), _beside(tables[2], tables[3]), tables[4]]
    parts: list[RenderableType] = [*_head(address, now), _members(now["status"]["members"])]
    for table in tables:
        parts += [Text(), table]
    return Group(*parts)


def _head(address: str, now: Row) -> list[RenderableType]:
    seen = now["status"]
    health = "healthy" if seen.get("healthy") else "degraded" if seen["leader"] else "no leader"
    line = Text.assemble(
        (f"{seen['cluster']}  ", "bold"),
        (health, style_of(health)),
        f"   leader {seen['leader'] or '–'}   term {seen.get('term', '–')}   quorum {seen.get('quorum', '–')}"
        f" of {seen.get('voters', '–')}   survives {seen.get('survives', '–')}",
    )
    if seen.get("paused"):
        line.append("   paused", "yellow")
    told = [Text(f"note: {each}", style="yellow", no_wrap=True, overflow="ellipsis") for each in seen.get("notes", ())]
    return [line, Text(f"as {address} sees it at {now['at']}", style="dim"), *told, Text()]


def _members(members: Sequence[Row]) -> Table:
    shown = ("NODE", "DC", "ROLE", "STATE", "BEHIND", "RTT", "CLOCK", "RUNNING", "VERSION")
    columns = [(column.title, column.text) for column in COLUMNS if column.title in shown]
    return _table("", columns, members, len(members))


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row], most: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for place, (name, _) in enumerate(columns):
        # The first column says what the table is of, and its last one takes what is left.
        table.add_column(
            Text(title or name, "bold") if place == 0 else name,
            no_wrap=True,
            overflow="ellipsis",
            min_width=len(title) if place == 0 else None,
        )
    for row in rows[:most]:
        table.add_row(*(Text(text, style=style_of(text)) for text in (text_of(row) for _, text_of in columns)))
    return table


def _beside(left: Table, right: Table) -> Table:
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=3)
    grid.add_column(ratio=2)
    grid.add_row(left, right)
    return grid


def _name(key: str) -> str:
    return key.removeprefix("default/")


def _runs(at_ms: int) -> Sequence[Column]:
    return (
        ("JOB", lambda row: _name(row["job"])),
        ("NODE", lambda row: row["node"]),
        ("STATE", lambda row: row["state"]),
        ("FOR", lambda row: about(max(0, at_ms - parse_instant_ms(row["since"])))),
        ("TRY", lambda row: str(row["attempt"])),
    )


def _coming(at_ms: int) -> Sequence[Column]:
    def when(row: Row) -> str:
        left_ms = parse_instant_ms(row["at"]) - at_ms
        return f"in {about(left_ms)}" if left_ms >= 0 else f"{about(-left_ms)} ago"

    return ("JOB", lambda row: _name(row["job"])), ("WHEN", when)


_QUEUES: Sequence[Column] = (
    ("QUEUE", lambda row: _name(f"{row['namespace']}/{row['name']}")),
    ("ITEMS", lambda row: str(row["items"])),
    ("READY", lambda row: str(row["ready"])),
    ("IN FLIGHT", lambda row: str(row["in_flight"])),
    ("DEAD", lambda row: str(row["dead"])),
)


def _locks(at_ms: int) -> Sequence[Column]:
    def held(row: Row) -> str:
        since = [parse_instant_ms(holder["since"]) for holder in row["holders"] if holder["since"]]
        return about(max(0, at_ms - min(since))) if since else "–"

    return (
        ("LOCK", lambda row: _name(f"{row['namespace']}/{row['name']}")),
        ("HOLDER", lambda row: ", ".join(holder["owner"] for holder in row["holders"]) or "–"),
        ("FOR", held),
        ("WAIT", lambda row: str(row["waiting"])),
    )


def _more(row: Row) -> str:
    return "  ".join(f"{key}={value}" for key, value in row.items() if key not in _HEAD and value != "")


_EVENTS: Sequence[Column] = (
    ("AT", lambda row: (row["at"] or "–")[11:19]),
    ("KIND", lambda row: row["kind"]),
    ("WHAT", lambda row: row["what"]),
    ("NAME", lambda row: _name(row["name"])),
    ("MORE", _more),
)
