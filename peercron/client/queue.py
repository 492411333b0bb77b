"""Queues, for programs: items that are worked on by one program at a time, in order, until one has done them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterator
from types import TracebackType
from typing import Any, Final

from peercron.client.link import Link
from peercron.client.session import Session
from peercron.client.tenure import PASSING, Hold, Tenure
from peercron.client.words import Duration, name_path, seconds, written
from peercron.clock import SystemClock
from peercron.errors import Refused

#: The longest that one request waits for an item; who waits longer asks again.
WAIT_S: Final = 20.0
#: Between two tries where nobody could be asked.
PAUSE_S: Final = 0.2
#: A delivery of which this share may be over since it was asked for has its time anew before it is used.
WORN_SHARE: Final = 0.2
REASON_LENGTH_MAX: Final = 200


class Queue:
    """One queue.

    >>> mail = client.queue("mail")                                             # doctest: +SKIP
    >>> await mail.put({"to": "a@b.example"}, key="welcome-17")                 # doctest: +SKIP
    >>> async for item in mail.items():                                         # doctest: +SKIP
    ...     async with item:            # acked at its end, given back where it fails
    ...         await send(item.payload, fencing_token=item.token)
    """

    def __init__(self, link: Link, session: Session, name: str, owner: str) -> None:
        self._link, self._session, self._name, self._owner = link, session, name, owner

    async def put(
        self,
        payload: Any,
        *,
        key: str | None = None,
        priority: int = 0,
        delay: Duration | None = None,
        group: str | None = None,
    ) -> int:
        """Put an item; its id.

        Args:
            payload: bytes, or anything that JSON can say.
            key: while an item with it is there, and a while after that was acked, nothing is put: its id is answered.
            priority: larger ones come first.
            delay: nobody gets it before.
            group: its items come one at a time, strictly in order.
        """
        content = (
            {"payload_base64": base64.b64encode(payload).decode()}
            if isinstance(payload, bytes)
            else {"payload": payload}
        )
        more = {"key": key, "group": group, "delay": None if delay is None else written(delay)}
        said = {name: value for name, value in more.items() if value is not None}
        answer = await self._link.ask("POST", self._path("/items"), content | said | {"priority": priority})
        return int(answer.json["id"])

    async def receive(
        self,
        most: int = 1,
        *,
        visibility: Duration | None = None,
        wait: Duration | None = None,
    ) -> Delivery:
        """Take up to `most` items, and wait for the first of them. An empty delivery: there was none within `wait`.

        They are given to others when `visibility` is over and they were not acked or extended; without one, when the
        queue's is over, and when this client is closed or its session is lost.
        """
        clock = SystemClock()
        until_s = clock.monotonic() + (0.0 if wait is None else seconds(wait))
        while True:
            delivery = await self._take(most, visibility, max(0.0, min(WAIT_S, until_s - clock.monotonic())))
            if delivery is not None and (delivery.token is not None or clock.monotonic() >= until_s):
                return delivery

    async def _take(self, most: int, visibility: Duration | None, wait_s: float) -> Delivery | None:
        """None: it was over before it came here."""
        sitting = await self._session.sit() if visibility is None else None
        bound = {"client": sitting.id} if sitting is not None else {"visibility": written(visibility or 0)}
        body = {"max": most, "owner": self._owner, "wait": written(wait_s)} | bound
        sent_s = SystemClock().monotonic()
        try:
            told = (await self._link.ask("POST", self._path(":receive"), body, answer_s=wait_s)).json
        except Refused as error:
            if sitting is None or error.code != "stale_token":
                raise
            self._session.ended(sitting)
            return None
        delivery = Delivery(self._link, self._name, told, sent_s, sitting)
        return delivery if await delivery.freshen() else None

    async def items(self, *, visibility: Duration | None = None) -> AsyncGenerator[Item, None]:
        """Items one by one, for ever: each is taken when it is asked for, and has to be entered or acked."""
        while True:
            try:
                delivery = await self.receive(visibility=visibility, wait=WAIT_S)
            except PASSING:
                await asyncio.sleep(PAUSE_S)
                continue
            for item in delivery:
                yield item

    async def status(self) -> dict[str, Any]:
        """How many items are where."""
        found: dict[str, Any] = (await self._link.ask("GET", self._path())).json
        return found

    def _path(self, deed: str = "") -> str:
        return name_path("queues", self._name, deed)


class Delivery:
    """Items that were taken together, under one token, which grows with every grant of anything in the cluster."""

    def __init__(self, link: Link, queue: str, told: dict[str, Any], sent_s: float, sitting: Hold | None) -> None:
        self._link, self.queue = link, queue
        #: The session that it ends with; None: with none.
        self.sitting = sitting
        self.token: int | None = told["token"]
        self.sent_s, self.expires_in_s = sent_s, float(told.get("expires_in") or 0.0)
        self.items = tuple(Item(self, row) for row in told["items"])

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    async def freshen(self) -> bool:
        """An answer that was long in coming may have been given long ago: its time begins anew. False: it is over."""
        sent_s = SystemClock().monotonic()
        if self.token is not None and sent_s - self.sent_s > self.expires_in_s * WORN_SHARE:
            try:
                self.sent_s, self.expires_in_s = sent_s, await self.extend()
            except Refused as error:
                if error.code != "stale_token":
                    raise
                return False
        return True

    async def ack(self) -> None:
        """All of them are done. Refused (stale_token): the time was over, others have them."""
        await self.ask(":ack")

    async def nack(self, *, delay: Duration | None = None, reason: str = "") -> None:
        """All of them go back to their places, or are dead letters where that was often enough."""
        await self.ask(":nack", _given_back(delay, reason))

    async def extend(self) -> float:
        """Their time begins anew; how many seconds it is. Refused (stale_token): it was over."""
        return float((await self.ask(":extend"))["expires_in"])

    async def ask(self, deed: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
        told: dict[str, Any] = (
            await self._link.ask("POST", name_path("queues", self.queue, deed), {"token": self.token} | (more or {}))
        ).json
        return told


class Item:
    """One item. As a context manager: extended while the block runs, acked at its end, given back where it fails; when
    it is lost the block is cancelled and LeaseLost raised.
    """

    def __init__(self, delivery: Delivery, row: dict[str, Any]) -> None:
        self._delivery = delivery
        self._tenure: Tenure | None = None
        self.id: int = row["id"]
        self.payload: Any = base64.b64decode(row["payload_base64"]) if "payload_base64" in row else row["payload"]
        self.key: str = row["key"]
        self.group: str = row["group"]
        #: How often it was given out, this time included.
        self.attempts: int = row["attempts"]

    @property
    def token(self) -> int:
        """Give it along with what you write, so that the receiver can refuse what comes from a worker before you."""
        return self._delivery.token or 0

    async def ack(self) -> None:
        """It is done. Refused (stale_token): the time was over, somebody else has it."""
        await self._delivery.ask(f"/items/{self.id}:ack")

    async def nack(self, *, delay: Duration | None = None, reason: str = "") -> None:
        """It goes back to its place, or is a dead letter where that was often enough."""
        await self._delivery.ask(f"/items/{self.id}:nack", _given_back(delay, reason))

    async def extend(self) -> float:
        """Its time begins anew, and that of all that were taken with it; how many seconds it is."""
        return await self._delivery.extend()

    def check(self) -> None:
        """Raises LeaseLost where it is not ours any more, within the block."""
        if self._tenure is not None:
            self._tenure.check()

    async def begin(self) -> Tenure:
        """Extend it until `end`."""
        delivery = self._delivery
        self._tenure = Tenure(
            f"item {self.id}", delivery.expires_in_s, delivery.sent_s, delivery.extend, on=delivery.sitting
        )
        return self._tenure

    async def end(self, error: BaseException | None) -> None:
        """Ack it, or with an error give it back; whether it was lost before is settled."""
        tenure = self._tenure
        assert tenure is not None, "it has begun"
        await tenure.stop()
        if not tenure.lost:
            try:
                await (self.ack() if error is None else self.nack(reason=repr(error)[:REASON_LENGTH_MAX]))
            except Refused as refused:
                if refused.code != "stale_token":
                    raise
                tenure.lost = f"item {self.id} was lost before it was done"

    def settle(self, error: BaseException | None) -> None:
        """Raises LeaseLost where it was lost and the block ended for that reason, or for none."""
        if self._tenure is not None:
            self._tenure.end_block(error)

    async def __aenter__(self) -> Item:
        (await self.begin()).guard()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end(error)
        self.settle(error)


def _given_back(delay: Duration | None, reason: str) -> dict[str, Any]:
    return {"reason": reason} | ({} if delay is None else {"delay": written(delay)})
