"""The shared state, for programs: values that tasks and servers read, write, count and watch."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from peercron.client.events import RETRY_S, rows
from peercron.client.link import Link
from peercron.client.tenure import PASSING
from peercron.client.words import DEFAULT_NAMESPACE, Duration, as_json, key_path, written
from peercron.errors import Refused

#: Keys asked for at once by `list`.
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. `value` is what JSON says, or the bytes where they are no JSON; `revision` grows with each write."""

    key: str
    value: Any
    revision: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Keys as they were at `index`, from which a watch goes on with nothing lost.

    >>> listing = await client.state.list("stock/")                             # doctest: +SKIP
    >>> async for change in client.state.watch("stock/", after=listing.index):  # doctest: +SKIP
    ...     ...
    """

    entries: tuple[Entry, ...]
    index: int

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a key, or with `deleted` its end. No revision comes twice, and they come in order."""

    key: str
    revision: int
    value: Any = None
    deleted: bool = False


class State:
    """Keys and values. A key is in the namespace "default", or written namespace:key.

    >>> await client.state.put("stock", {"apples": 7})          # doctest: +SKIP
    >>> (await client.state.get("stock"))["apples"]             # doctest: +SKIP
    7

    Every method raises NoLeader, Busy or Unreachable where nothing happened, and OutcomeUnknown where nobody knows.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, key: str, default: Any = None, *, stale: bool = False) -> Any:
        """The value, or `default` where there is none. `stale`: as the asked node knows it, also without a leader."""
        entry = await self.entry(key, stale=stale)
        return default if entry is None else entry.value

    async def entry(self, key: str, *, stale: bool = False) -> Entry | None:
        """The value with its revision, for `cas`; None: there is none."""
        try:
            answer = await self._link.ask("GET", key_path(key), params={"consistency": "stale"} if stale else None)
        except Refused as error:
            if error.code == "not_found":
                return None
            raise
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return Entry(key, answer.json if is_json else answer.body, int(answer.headers["etag"].strip('"')))

    async def put(self, key: str, value: Any, *, ttl: Duration | None = None, if_revision: int | None = None) -> int:
        """Write the value (bytes as they are, anything else as JSON); answers the revision.

        Args:
            key: which one.
            value: what it shall be.
            ttl: the key is gone after that time, unless it is written again.
            if_revision: only over that revision; 0: only where there is none.

        Raises:
            Refused: code "conflict": it is at another revision.
        """
        content = value if isinstance(value, bytes) else as_json(value, "value")
        params = {} if ttl is None else {"ttl": written(ttl)}
        headers = _precondition(if_revision)
        answer = await self._link.ask("PUT", key_path(key), content, params=params, headers=headers)
        return int(answer.json["revision"])

    async def cas(self, key: str, value: Any, if_revision: int, *, ttl: Duration | None = None) -> int:
        """Compare and set: `put` over that revision alone.

        >>> entry = await client.state.entry("stock")                                   # doctest: +SKIP
        >>> await client.state.cas("stock", entry.value | {"pears": 1}, entry.revision)  # doctest: +SKIP
        """
        return await self.put(key, value, ttl=ttl, if_revision=if_revision)

    async def incr(self, key: str, by: int = 1, *, ttl: Duration | None = None) -> int:
        """Add to the whole number under the key, 0 where there is none; answers the sum. `ttl`: of one that begins."""
        body = {"by": by} | ({} if ttl is None else {"ttl": written(ttl)})
        answer = await self._link.ask("POST", key_path(key, ":incr"), body)
        return int(answer.json["value"])

    async def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        """Whether there was one to delete. Raises Refused (conflict) when it is at another revision."""
        try:
            await self._link.ask("DELETE", key_path(key), headers=_precondition(if_revision))
        except Refused as error:
            if error.code == "not_found":
                return False
            raise
        return True

    async def list(self, prefix: str = "", *, namespace: str = DEFAULT_NAMESPACE, stale: bool = False) -> Listing:
        """All keys that begin so, with their values, in order of name."""
        entries: list[Entry] = []
        index, after, rows = -1, "", [None] * PAGE
        while len(rows) == PAGE:
            params = {"prefix": prefix, "after": after, "values": "1", "limit": str(PAGE)}
            params |= {"consistency": "stale"} if stale else {}
            answer = await self._link.ask("GET", _namespace_path(namespace), params=params)
            # What changes between two pages is news to who watches from the first.
            index = int(answer.headers["peercron-index"]) if index < 0 else index
            rows = answer.json["keys"]
            entries += [Entry(row["key"], _value(row), row["revision"]) for row in rows]
            after = entries[-1].key if rows else ""
        return Listing(tuple(entries), index)

    async def watch(
        self, prefix: str = "", *, after: int | None = None, namespace: str = DEFAULT_NAMESPACE
    ) -> AsyncGenerator[Change, None]:
        """Every change of keys that begin so, in order, each once, for ever; it goes on at another node when one fails.

        Args:
            prefix: which keys.
            after: only what came after this index (of a `list`, or a revision that was seen); None: after now.
            namespace: of the keys.

        Raises:
            Compacted: it is so far behind that not all of it is kept: `list`, and watch from its index.
        """
        wanted = {"watch": "1", "prefix": prefix}
        while True:
            asked = wanted | ({} if after is None else {"from": str(after)})
            try:
                async with aclosing(rows(self._link, _namespace_path(namespace), asked)) as told:
                    async for row in told:
                        after = row.get("index", row.get("revision"))
                        if "key" in row:
                            yield Change(row["key"], row["revision"], _value(row), row.get("deleted", False))
            except PASSING:
                await asyncio.sleep(RETRY_S)


def _namespace_path(namespace: str) -> str:
    return f"/v1/state/{quote(namespace, safe='')}/"


def _precondition(if_revision: int | None) -> dict[str, str]:
    if if_revision is None:
        return {}
    return {"If-Match": f'"{if_revision}"'} if if_revision else {"If-None-Match": "*"}


def _value(row: dict[str, Any]) -> Any:
    return base64.b64decode(row["base64"]) if "base64" in row else row.get("value")
