"""Locks, for programs: mutual exclusion between all servers, renewed in the background, given up in time."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from peercron.client.link import Link
from peercron.client.words import Duration, name_path, seconds, written
from peercron.clock import SystemClock
from peercron.errors import Busy, LeaseLost, NoLeader, OutcomeUnknown, PeercronError, Refused, Unreachable

#: The longest wait that a node takes; who waits longer asks again, at the end of the line.
WAIT_S_MAX: Final = 600.0
#: A node that has been silent for so long while we stand in line may hang: another is asked, which keeps our place.
ASK_AGAIN_S: Final = 15.0
#: Between two tries where nothing happened.
PAUSE_S: Final = 0.1
#: A grant is renewed when this share of its time is over, and again after this share of it where that failed.
RENEW_SHARE: Final = 1 / 3
RETRY_SHARE: Final = 1 / 20

_PASSING: Final = (Unreachable, NoLeader, Busy, OutcomeUnknown)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a lock; see `Client.lock`."""

    name: str
    ttl: Duration = "30s"
    wait: Duration | None = None
    kind: str | None = None
    permits: int = 1
    shared: bool = False

    def body(self, owner: str, request: str, wait_s: float) -> dict[str, object]:
        told = {"owner": owner, "ttl": written(self.ttl), "wait": written(wait_s), "request": request}
        more = {"kind": self.kind} if self.kind is not None else {}
        return told | more | {"permits": self.permits, "shared": self.shared}


class Lock:
    """One lock, held inside the block. When it is lost (by our own clock, before anybody else can have it), what runs
    in the block is cancelled and LeaseLost raised.

    >>> async with client.lock("reports/db", ttl="30s", wait="10s") as lock:   # doctest: +SKIP
    ...     await write_report(fencing_token=lock.token)

    Give `token` along with what you write, so that the receiver can refuse what comes from a holder before you.
    """

    def __init__(self, link: Link, wanted: Wanted, owner: str) -> None:
        self._link, self._wanted, self._owner = link, wanted, owner
        #: Grows with every grant of every lock, for ever; 0 until it is held.
        self.token = 0
        self._clock = SystemClock()
        self._until_s = 0.0
        self._lost = ""
        self._renewal: asyncio.Task[None] | None = None
        self._block: asyncio.Task[object] | None = None
        #: How often the block had been asked to end when it began, by others; None: we did not ask it to.
        self._cancelling: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return bool(self.token) and not self._lost and self._clock.monotonic() < self._until_s

    @property
    def lost(self) -> str:
        """Why it was lost; empty: it was not."""
        return self._lost

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        if not self.held:
            raise LeaseLost(self._lost or f"lock {self._wanted.name} is not held")

    async def acquire(self) -> int:
        """Hold it; the token.

        Raises:
            Refused: "locked" (not within `wait`), "deadlock" (whoever holds it waits for what we hold), "conflict" (it
                is in use as another kind), "limit".
            Unreachable, NoLeader, Busy, OutcomeUnknown: nobody could be asked within `wait`; it is not held.
        """
        assert not self.token, "a Lock is acquired once"
        clock, request = self._clock, secrets.token_hex(8)
        until_s = None if self._wanted.wait is None else clock.monotonic() + seconds(self._wanted.wait)
        while True:
            sent_s = clock.monotonic()
            left_s = WAIT_S_MAX if until_s is None else max(0.0, until_s - sent_s)
            body = self._wanted.body(self._owner, request, min(left_s, WAIT_S_MAX))
            try:
                answer = await self._link.ask("POST", self._path("acquire"), body, answer_s=min(left_s, ASK_AGAIN_S))
            except _PASSING:
                if until_s is not None and clock.monotonic() >= until_s:
                    raise
                await asyncio.sleep(PAUSE_S)
            except Refused as error:
                if error.code != "locked" or (until_s is not None and left_s <= WAIT_S_MAX):
                    raise
            else:
                self._hold(int(answer.json["token"]), sent_s, answer.json["expires_in"])
                return self.token

    async def release(self) -> None:
        """Give it back; the next in line has it. Where nobody can be asked it comes free when its time is up."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
            self._renewal = None
        token, self._until_s = self.token, 0.0
        if not token or self._lost:
            return
        try:
            await self._link.ask("POST", self._path("release"), {"token": token})
        except _PASSING:
            return
        except Refused as error:
            if error.code != "stale_token":
                raise
            self._lost = f"lock {self._wanted.name} was lost before it was given back"

    async def __aenter__(self) -> Lock:
        await self.acquire()
        self._block = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block, self._block = self._block, None
        await self.release()
        if self._cancelling is not None and block is not None:
            # As `asyncio.timeout` does: what we asked for becomes LeaseLost, what others asked for stays theirs.
            ours = block.uncancel() <= self._cancelling
            if kind is not None and issubclass(kind, asyncio.CancelledError) and ours:
                raise LeaseLost(self._lost) from error
        if self._lost and kind is None:
            raise LeaseLost(self._lost)

    def _path(self, deed: str) -> str:
        return name_path("locks", self._wanted.name, f":{deed}")

    def _hold(self, token: int, sent_s: float, expires_in_s: float) -> None:
        self.token, self._until_s = token, sent_s + expires_in_s
        self._renewal = asyncio.get_running_loop().create_task(self._renew_for_ever())

    async def _renew_for_ever(self) -> None:
        clock, ttl_s = self._clock, seconds(self._wanted.ttl)
        pause_s = ttl_s * RENEW_SHARE
        while (left_s := self._until_s - clock.monotonic()) > 0:
            await asyncio.sleep(min(left_s, pause_s))
            sent_s = clock.monotonic()
            if sent_s >= self._until_s:
                break
            try:
                async with asyncio.timeout(self._until_s - sent_s):
                    answer = await self._link.ask("POST", self._path("renew"), {"token": self.token})
                self._until_s = sent_s + answer.json["expires_in"]
                pause_s = ttl_s * RENEW_SHARE
            except (*_PASSING, TimeoutError):
                pause_s = ttl_s * RETRY_SHARE
            except PeercronError as error:
                self._lose(f"lock {self._wanted.name} was lost: {error}")
                return
        self._lose(f"lock {self._wanted.name} could not be renewed in time")

    def _lose(self, why: str) -> None:
        self._lost = why
        if self._block is not None and not self._block.done():
            self._cancelling = self._block.cancelling()
            self._block.cancel(why)
