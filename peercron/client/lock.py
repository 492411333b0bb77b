"""Locks, for programs: mutual exclusion between all servers, renewed in the background, given up in time."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from peercron.client.link import Link
from peercron.client.tenure import PASSING, Tenure
from peercron.client.words import Duration, name_path, seconds, written
from peercron.clock import SystemClock
from peercron.errors import LeaseLost, Refused

#: The longest wait that a node takes; who waits longer asks again, at the end of the line.
WAIT_S_MAX: Final = 600.0
#: A node that has been silent for so long while we stand in line may hang: another is asked, which keeps our place.
ASK_AGAIN_S: Final = 15.0
#: Between two tries where nothing happened.
PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a lock; see `Client.lock`."""

    name: str
    ttl: Duration = "30s"
    wait: Duration | None = None
    kind: str | None = None
    permits: int = 1
    shared: bool = False
    #: Run id and fencing token of the attempt that it ends with, whatever its ttl; empty, 0: of none.
    run: str = ""
    attempt: int = 0

    def body(self, owner: str, request: str, wait_s: float) -> dict[str, object]:
        told = {"owner": owner, "ttl": written(self.ttl), "wait": written(wait_s), "request": request}
        more: dict[str, object] = {"kind": self.kind} if self.kind is not None else {}
        more |= {"run": self.run, "attempt": self.attempt} if self.run else {}
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
        self._clock = SystemClock()
        #: Grows with every grant of every lock, for ever; 0 until it is held.
        self.token = 0
        self._tenure: Tenure | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return self._tenure is not None and self._tenure.held

    @property
    def lost(self) -> str:
        """Why it was lost; empty: it was not."""
        return self._tenure.lost if self._tenure is not None else ""

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        if not self.held:
            raise LeaseLost(self.lost or f"lock {self._wanted.name} is not held")

    async def acquire(self) -> int:
        """Hold it; the token.

        Raises:
            Refused: "locked" (not within `wait`), "deadlock" (whoever holds it waits for what we hold), "conflict" (it
                is in use as another kind), "limit".
            Unreachable, NoLeader, Busy, OutcomeUnknown: nobody could be asked within `wait`; it is not held.
        """
        assert self._tenure is None, "a Lock is acquired once"
        request = secrets.token_hex(8)
        until_s = None if self._wanted.wait is None else self._clock.monotonic() + seconds(self._wanted.wait)
        while True:
            sent_s = self._clock.monotonic()
            left_s = WAIT_S_MAX if until_s is None else max(0.0, min(WAIT_S_MAX, until_s - sent_s))
            body = self._wanted.body(self._owner, request, left_s)
            try:
                answer = await self._link.ask("POST", self._path("acquire"), body, answer_s=min(left_s, ASK_AGAIN_S))
            except PASSING:
                if until_s is not None and self._clock.monotonic() >= until_s:
                    raise
                await asyncio.sleep(PAUSE_S)
            except Refused as error:
                if error.code != "locked" or (until_s is not None and self._clock.monotonic() >= until_s - PAUSE_S):
                    raise
            else:
                break
        self.token, expires_in_s = int(answer.json["token"]), float(answer.json["expires_in"])
        self._tenure = Tenure(f"lock {self._wanted.name}", expires_in_s, sent_s, self._renew, self._clock)
        return self.token

    async def release(self) -> None:
        """Give it back; the next in line has it. Where nobody can be asked it comes free when its time is up."""
        tenure = self._tenure
        if tenure is None or tenure.over:
            return
        await tenure.stop()
        if tenure.lost:
            return
        try:
            await self._link.ask("POST", self._path("release"), {"token": self.token})
        except PASSING:
            return
        except Refused as error:
            if error.code != "stale_token":
                raise
            tenure.lost = f"lock {self._wanted.name} was lost before it was given back"

    async def __aenter__(self) -> Lock:
        await self.acquire()
        assert self._tenure is not None
        self._tenure.guard()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
        assert self._tenure is not None
        self._tenure.end_block(error)

    async def _renew(self) -> float:
        answer = await self._link.ask("POST", self._path("renew"), {"token": self.token})
        return float(answer.json["expires_in"])

    def _path(self, deed: str) -> str:
        return name_path("locks", self._wanted.name, f":{deed}")
