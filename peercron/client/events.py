"""Streams of the cluster, for programs: their rows, and what happens in the cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from peercron.client.link import Link
from peercron.client.tenure import PASSING
from peercron.errors import Compacted, Unreachable

#: Between two tries to go on.
RETRY_S: Final = 0.2

Row = dict[str, Any]


async def rows(link: Link, path: str, params: Mapping[str, str]) -> AsyncGenerator[Row, None]:
    """The rows of one answer that goes on, lines of JSON or server-sent events, until it breaks off.

    Raises:
        Compacted: not all that was asked for is kept any more.
        Unreachable, NoLeader, Busy: it has broken off, or nobody gives one.
    """
    async with aclosing(link.follow(path, params)) as lines:
        async for line in lines:
            if not line.endswith(b"\n"):
                raise Unreachable("the stream broke off in the middle of a line")
            text = line.removeprefix(b"data: ")
            if not text.startswith(b"{"):
                continue  # the other lines of an event
            row: Row = json.loads(text)
            error = row.get("error")
            if error is not None and error["code"] == "compacted":
                raise Compacted(error["index"], error["detail"])
            if error is not None:
                link.pass_over()  # it has nothing more to tell; another may
                raise Unreachable(error["detail"])
            yield row


async def events(link: Link, after: str | None, kinds: Sequence[str], name: str) -> AsyncGenerator[Row, None]:
    """See `Client.events`."""
    wanted = {"kind": ",".join(kinds), "name": name}
    while True:
        try:
            async with aclosing(rows(link, "/v1/events", wanted | ({} if after is None else {"from": after}))) as told:
                async for row in told:
                    after = row["id"] or after
                    if "kind" in row:
                        yield row
        except PASSING:
            await asyncio.sleep(RETRY_S)
