"""Following a stream from one node to the next, with nothing lost in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from peercron.errors import Compacted, NoLeader, PeercronError, Unreachable

if TYPE_CHECKING:
    from peercron.client import Connection

#: Between two tries to go on.
PAUSE_S = 0.3
#: A stream says every five seconds that it lives; one that says nothing for so long does not.
SILENCE_S = 15.0

Row = dict[str, Any]


def changes(connection: Connection, namespace: str, prefix: str, after: int | None) -> Iterator[Row]:
    """Every change after this index (None: after now), for ever; raises as `follow` does."""
    path, wanted = f"/v1/state/{quote(namespace, safe='')}/", {"watch": "1", "prefix": prefix}
    begin = {} if after is None else {"from": str(after)}
    rows = follow(connection, path, wanted, begin, lambda row: row.get("index", row.get("revision")))
    return (row for row in rows if "key" in row)


def follow(
    connection: Connection,
    path: str,
    wanted: Mapping[str, str],
    begin: Mapping[str, str],
    place_of: Callable[[Row], object],
) -> Iterator[Row]:
    """Every row of a stream, for ever. `begin`: what is asked for in the beginning, until `place_of` a row (None: it
    has none) says from where to go on.

    Raises:
        Unreachable, NoLeader, Busy: nobody could be asked to begin with; later on it is tried again.
        Compacted: not all that came after the place is kept.
    """
    begun = False
    while True:
        try:
            for row in rows_of(connection, path, {**wanted, **begin}):
                begun = True
                place = place_of(row)
                begin = begin if place is None else {"from": str(place)}
                yield row
        except (Unreachable, NoLeader):
            if not begun:
                raise
        connection.addresses = (*connection.addresses[1:], connection.addresses[0])
        Event().wait(PAUSE_S)


def rows_of(connection: Connection, path: str, params: Mapping[str, str]) -> Iterator[Row]:
    """The rows of one answer, which is lines of JSON or server-sent events. Raises what an error among them says."""
    rest = b""
    for piece in connection.stream(path, params=params, silence_s=SILENCE_S):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            text = line.removeprefix(b"data: ")
            if not text.startswith(b"{"):
                continue  # the other lines of an event
            row: Row = json.loads(text)
            if "error" in row:
                raise _error_of(row["error"])
            yield row


def _error_of(told: Mapping[str, Any]) -> PeercronError:
    return Compacted(told["index"], told["detail"]) if told["code"] == "compacted" else NoLeader(told["detail"])
