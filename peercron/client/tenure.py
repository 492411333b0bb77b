"""Tenure: a right that is renewed, or lives with one that is, and that the block which uses it does not outlive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from peercron.clock import Clock, SystemClock
from peercron.errors import Busy, LeaseLost, NoLeader, OutcomeUnknown, PeercronError, Unreachable

#: Nothing happened, or nobody knows: worth another try while there is time.
PASSING: Final = (Unreachable, NoLeader, Busy, OutcomeUnknown)
#: It is renewed when this share of its time is over, and again after this share of it where that failed.
RENEW_SHARE: Final = 1 / 3
RETRY_SHARE: Final = 1 / 20

#: Asks for the right once more; how many seconds it lives from when it was asked for.
Renew = Callable[[], Awaitable[float]]
#: Is told why a right was lost, within the event loop: it must not block.
OnLost = Callable[[str], object]


class Hold:
    """A right that nobody renews by itself: it lives as long as another one, or as this program does.

    Args:
        what: for people, like "lock reports/db".
        on: what it ends with; None: with nothing that we would live to see.
        on_lost: is called once, if it is lost.
    """

    def __init__(self, what: str, *, on: Hold | None = None, on_lost: OnLost | None = None) -> None:
        self.what, self._on, self._on_lost = what, on, on_lost
        #: Why it was lost; empty: it was not.
        self.lost = ""
        #: It was given back, or settled otherwise.
        self.over = False
        #: What ends with this one.
        self.hung: dict[Hold, None] = {}
        self._block: asyncio.Task[object] | None = None
        #: How often others had asked the block to end when we did; None: we did not.
        self._cancelling: int | None = None
        if on is not None:
            on.hung[self] = None

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return not self.over and not self.lost and (self._on is None or self._on.held)

    @property
    def lives_s(self) -> float:
        """How long it lives without a renewal; 0: nobody counts."""
        return self._on.lives_s if self._on is not None else 0.0

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        if not self.held:
            raise LeaseLost(self.lost or f"{self.what} is not held")

    def guard(self) -> None:
        """From now on the task that calls this is cancelled when the right is lost."""
        self._block = asyncio.current_task()

    async def stop(self) -> None:
        """It is not renewed any more; whether it was lost until now is settled."""
        if not self.held and not self.lost:
            self.lost = f"{self.what} could not be renewed in time"
        self.over = True
        if self._on is not None:
            self._on.hung.pop(self, None)

    def end_block(self, error: BaseException | None) -> None:
        """The guarded block is over. Raises LeaseLost where the right was lost before, and the block ended for that
        reason or for none. As `asyncio.timeout` does: what others asked of the block stays theirs.
        """
        block, self._block = self._block, None
        if self._cancelling is not None and block is not None:
            ours = block.uncancel() <= self._cancelling
            if ours and isinstance(error, asyncio.CancelledError):
                raise LeaseLost(self.lost) from error
        if self.lost and error is None:
            raise LeaseLost(self.lost)

    def lose(self, why: str) -> None:
        """It is gone, with all that hangs on it: whoever uses it is told."""
        if self.lost or self.over:
            return
        self.lost = why
        if self._block is not None and not self._block.done():
            self._cancelling = self._block.cancelling()
            self._block.cancel(why)
        if self._on_lost is not None:
            asyncio.get_running_loop().call_soon(self._on_lost, why)
        self.drop(why)

    def drop(self, why: str) -> None:
        """All that hangs on it is gone."""
        for hold in tuple(self.hung):
            hold.lose(f"{hold.what} was lost: {why}")


class Tenure(Hold):
    """A right with a time, renewed in the background. It counts on our own monotonic clock from when a renewal was
    sent, so that it is lost here before it is given away.

    Args:
        what: for people, like "lock reports/db".
        expires_in_s: how long it lives, from `sent_s`.
        sent_s: when it was asked for.
        renew: asks once more; an error that is not PASSING means that it is lost.
        clock: monotonic time, the event loop's.
        on: what it ends with, if that comes first.
        on_lost: is called once, if it is lost.
    """

    def __init__(
        self,
        what: str,
        expires_in_s: float,
        sent_s: float,
        renew: Renew,
        clock: Clock | None = None,
        *,
        on: Hold | None = None,
        on_lost: OnLost | None = None,
    ) -> None:
        super().__init__(what, on=on, on_lost=on_lost)
        self._ttl_s, self._renew = expires_in_s, renew
        self._clock = clock or SystemClock()
        self._until_s = sent_s + expires_in_s
        self._renewal = asyncio.get_running_loop().create_task(self._renew_for_ever())

    @property
    def held(self) -> bool:
        return super().held and self._clock.monotonic() < self._until_s

    @property
    def lives_s(self) -> float:
        return self._ttl_s

    async def stop(self) -> None:
        self._renewal.cancel()
        try:
            await asyncio.gather(self._renewal, return_exceptions=True)
        finally:
            await super().stop()

    async def _renew_for_ever(self) -> None:
        pause_s = self._ttl_s * RENEW_SHARE
        while (left_s := self._until_s - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(left_s, pause_s))
            sent_s = self._clock.monotonic()
            if sent_s >= self._until_s:
                break
            try:
                async with asyncio.timeout(self._until_s - sent_s):
                    self._until_s = sent_s + await self._renew()
                pause_s = self._ttl_s * RENEW_SHARE
            except (*PASSING, TimeoutError):
                pause_s = self._ttl_s * RETRY_SHARE
            except PeercronError as error:
                self.lose(f"{self.what} was lost: {error}")
                return
        self.lose(f"{self.what} could not be renewed in time")
