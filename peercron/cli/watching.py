"""Following a stream of changes from one node to the next, with nothing lost in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from peercron.errors import Compacted, NoLeader, Unreachable

if TYPE_CHECKING:
    from peercron.client import Connection

#: Between two tries to go on.
PAUSE_S = 0.3
#: A stream says every five seconds that it lives; one that says nothing for so long does not.
SILENCE_S = 15.0


def changes(connection: Connection, namespace: str, prefix: str, after: int | None) -> Iterator[dict[str, Any]]:
    """Every change after this index (None: after now), for ever.

    Raises:
        Unreachable, NoLeader, Busy: nobody could be asked to begin with; later on it is tried again.
        Compacted: changes after the index are not all kept any more.
    """
    begun = False
    while True:
        params = {"watch": "1", "prefix": prefix} | ({} if after is None else {"from": str(after)})
        try:
            for row in _rows(connection, f"/v1/state/{quote(namespace, safe='')}/", params):
                begun = True
                after = row.get("index", row.get("revision"))
                if "key" in row:
                    yield row
        except (Unreachable, NoLeader):
            if not begun:
                raise
        connection.addresses = (*connection.addresses[1:], connection.addresses[0])
        Event().wait(PAUSE_S)


def _rows(connection: Connection, path: str, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    rest = b""
    for piece in connection.stream(path, params=params, silence_s=SILENCE_S):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            row: dict[str, Any] = json.loads(line)
            if "error" in row:
                raise Compacted(row["error"]["index"]) if row["error"]["code"] == "compacted" else NoLeader()
            yield row
