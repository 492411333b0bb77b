"""Locks, for programs: mutual exclusion between all servers, kept in the background, given up in time."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from peercron.client.chores import Chores
from peercron.client.link import Link
from peercron.client.session import CLOSED, Session, Sitting
from peercron.client.tenure import PASSING, Hold, OnLost, Tenure
from peercron.client.words import Duration, name_path, seconds, written
from peercron.clock import SystemClock
from peercron.errors import LeaseLost, NoLeader, Refused

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
    ttl: Duration | None = None
    wait: Duration | None = None
    kind: str | None = None
    permits: int = 1
    shared: bool = False
    #: Run id and fencing token of the attempt that it ends with; empty, 0: of none.
    run: str = ""
    attempt: int = 0
    on_lost: OnLost | None = None

    @property
    def of_session(self) -> bool:
        """Whether it lives as long as the client's session: it has no time of its own, and no attempt."""
        return self.ttl is None and not self.run

    def body(self, owner: str, request: str, wait_s: float, client: int) -> dict[str, object]:
        """A request for it; `client` is the session that it ends with, 0: with none."""
        told = {"owner": owner, "wait": written(wait_s), "request": request}
        more: dict[str, object] = {"kind": self.kind} if self.kind is not None else {}
        more |= {} if self.ttl is None else {"ttl": written(self.ttl)}
        more |= {"run": self.run, "attempt": self.attempt} if self.run else {}
        more |= {"client": client} if client else {}
        return told | more | {"permits": self.permits, "shared": self.shared}


class Lock:
    """One lock, held inside the block. When it is lost (by our own clock, before anybody else can have it), what runs
    in the block is cancelled and LeaseLost raised.

    >>> async with client.lock("reports/db", wait="10s") as lock:   # doctest: +SKIP
    ...     await write_report(fencing_token=lock.token)

    Give `token` along with what you write, so that the receiver can refuse what comes from a holder before you.
    """

    def __init__(self, link: Link, session: Session, chores: Chores, wanted: Wanted, owner: str) -> None:
        self._link, self._session, self._chores = link, session, chores
        self._wanted, self._owner = wanted, owner
        self._clock = SystemClock()
        self._request = secrets.token_hex(8)
        #: Grows with every grant of every lock, for ever; 0 until it is held.
        self.token = 0
        self._hold: Hold | None = None
        self._sitting: Sitting | None = None
        #: The last request; empty: there was none.
        self._asked: dict[str, object] = {}

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return self._hold is not None and self._hold.held

    @property
    def lost(self) -> str:
        """Why it was lost; empty: it was not."""
        return self._hold.lost if self._hold is not None else ""

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        if not self.held:
            raise LeaseLost(self.lost or f"{self._what} is not held")

    async def acquire(self) -> int:
        """Hold it; the token.

        Raises:
            Refused: "locked" (not within `wait`), "deadlock" (whoever holds it waits for what we hold), "conflict" (it
                is in use as another kind), "limit".
            Unreachable, NoLeader, Busy, OutcomeUnknown: nobody could be asked within `wait`; it is not held.
        """
        assert self._hold is None, "a Lock is acquired once"
        until_s = None if self._wanted.wait is None else self._clock.monotonic() + seconds(self._wanted.wait)
        try:
            return await self._acquire(until_s)
        except (*PASSING, asyncio.CancelledError):
            self._chores.add(self._abandon)
            raise

    async def _acquire(self, until_s: float | None) -> int:
        while True:
            try:
                return await self._ask(until_s)
            except PASSING:
                if until_s is not None and self._clock.monotonic() >= until_s:
                    raise
                await asyncio.sleep(PAUSE_S)
            except Refused as error:
                if not self._may_ask_again(error, until_s):
                    raise
                await asyncio.sleep(PAUSE_S if error.code == "deadlock" else 0)

    async def _ask(self, until_s: float | None) -> int:
        sitting = await self._session.sit() if self._wanted.of_session else None
        client = sitting.id if sitting is not None else 0
        sent_s = self._clock.monotonic()
        left_s = WAIT_S_MAX if until_s is None else max(0.0, min(WAIT_S_MAX, until_s - sent_s))
        # The same claim keeps its place, at whatever node; in the name of another session it is another claim.
        body = self._wanted.body(self._owner, f"{self._request}.{client}", left_s, client)
        self._sitting, self._asked = sitting, body
        answer = await self._link.ask("POST", self._path("acquire"), body, answer_s=min(left_s, ASK_AGAIN_S))
        if sitting is not None and not sitting.held:
            self._session.ghosts.add(self._owner, sitting.lives_s)
            raise NoLeader(f"{sitting.what} ended before {self._what} could be used")
        self.token = int(answer.json["token"])
        self._hold = self._begin(answer.json["expires_in"], sent_s)
        self._chores.at_close(self, self._close)
        return self.token

    def _begin(self, expires_in_s: float | None, sent_s: float) -> Hold:
        if self._wanted.ttl is not None and expires_in_s is not None:
            on_lost = self._wanted.on_lost
            return Tenure(self._what, float(expires_in_s), sent_s, self._renew, self._clock, on_lost=on_lost)
        hold = Hold(self._what, on=self._sitting, on_lost=self._wanted.on_lost)
        if self._sitting is not None:
            self._sitting.granted(self.token, hold)
        return hold

    def _may_ask_again(self, error: Refused, until_s: float | None) -> bool:
        if error.code == "stale_token" and self._sitting is not None:
            self._session.ended(self._sitting)
            return True
        # What is still taken by what we ourselves have lost comes free: it is no deadlock.
        passes = error.code == "locked" or (error.code == "deadlock" and self._session.ghosts.has(self._owner))
        return passes and (until_s is None or self._clock.monotonic() < until_s - PAUSE_S)

    async def _abandon(self) -> None:
        """It was asked for, and nobody waits for the answer any more, which may have been a grant."""
        if self._asked:
            answer = await self._link.ask("POST", self._path("acquire"), self._asked | {"wait": "0s"})
            await self._link.ask("POST", self._path("release"), {"token": answer.json["token"]})

    async def release(self) -> None:
        """Give it back; the next in line has it. Where nobody can be asked, it is said again in the background until
        somebody is heard; in any case it comes free when its time is up, or what it lives with is over.
        """
        hold, sitting = self._hold, self._sitting
        if hold is None or hold.over:
            return
        self._chores.done(self)
        if sitting is not None:
            sitting.settled(self.token)
        try:
            await hold.stop()
            if hold.lost:
                self._session.ghosts.add(self._owner, hold.lives_s)
                return
            await self._release()
        except PASSING:
            self._chores.add(self._release)
        except asyncio.CancelledError:  # nobody waits to see it, and it would be ours as long as the session lives
            self._chores.add(self._release)
            raise
        except Refused as error:
            if error.code != "stale_token":
                raise
            hold.lost = f"{self._what} was lost before it was given back"

    async def __aenter__(self) -> Lock:
        await self.acquire()
        assert self._hold is not None
        self._hold.guard()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
        assert self._hold is not None
        self._hold.end_block(error)

    async def _close(self) -> None:
        """The client is closed while it is held."""
        assert self._hold is not None
        self._hold.lose(f"{self._what} was lost: {CLOSED}")
        await self._hold.stop()
        await self._release()

    async def _release(self) -> None:
        await self._link.ask("POST", self._path("release"), {"token": self.token})

    async def _renew(self) -> float:
        answer = await self._link.ask("POST", self._path("renew"), {"token": self.token})
        return float(answer.json["expires_in"])

    @property
    def _what(self) -> str:
        return f"lock {self._wanted.name}"

    def _path(self, deed: str) -> str:
        return name_path("locks", self._wanted.name, f":{deed}")
