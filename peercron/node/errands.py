"""Errands: questions that only the leader can answer, put to whoever leads, until there is an answer.

Questions and answers are mail and may be lost, so a question is put again, to the next leader too: what is asked must
be the same when it is done twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from peercron.clock import Clock
from peercron.consensus.driver import Driver
from peercron.errors import NoLeader, OutcomeUnknown, ProposalError, Refused

log = logging.getLogger(__name__)

#: Without an answer the question is put again after this long.
AGAIN_S: Final = 2.0
#: Between two looks for a leader.
PAUSE_S: Final = 0.05
#: Questions of others that are under way here; more are left to be asked again.
SERVED_MAX: Final = 64

#: (who asks, what, about what) -> the answer; raises NoLeader or Refused.
Serve = Callable[[str, str, Any], Awaitable[Any]]


class Errands:
    """Both ends of such questions."""

    def __init__(self, driver: Driver, clock: Clock, serve: Serve) -> None:
        self._driver, self._clock, self._serve = driver, clock, serve
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, errand: str, body: Any, seconds: float) -> Any:
        """The leader's answer.

        Raises:
            Refused: it is no.
            NoLeader: nobody could be asked.
            OutcomeUnknown: the leader did not answer in time.
        """
        until_s = self._clock.monotonic() + seconds
        problem: ProposalError = NoLeader()
        while (left_s := until_s - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left_s, AGAIN_S)):
                    return await self._ask_once(errand, body)
            except NoLeader as error:
                problem = problem if isinstance(problem, OutcomeUnknown) else error
            except TimeoutError:
                problem = OutcomeUnknown()
            await asyncio.sleep(PAUSE_S)
        raise problem

    def on_mail(self, peer: str, kind: str, body: Any) -> None:
        """`ask`: somebody takes us for the leader; `told`: an answer to us."""
        if kind == "ask":
            number, errand, about = body
            if len(self._tasks) < SERVED_MAX:
                task = asyncio.get_running_loop().create_task(self._answer(peer, number, errand, about))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return
        number, code, detail, value = body
        future = self._asked.get(number)
        if future is None or future.done():
            return
        if code is None:
            future.set_result(value)
        else:
            future.set_exception(NoLeader(detail) if code == NoLeader.code else Refused(code, detail))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _ask_once(self, errand: str, body: Any) -> Any:
        replica = self._driver.replica
        leader = replica.kernel.leader
        if leader is None or self._driver.halt_reason is not None:
            raise NoLeader
        if leader == replica.me:
            return await self._serve(replica.me, errand, body)
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._mail(leader, "ask", (number, errand, body))
            return await future
        finally:
            del self._asked[number]

    async def _answer(self, peer: str, number: int, errand: str, about: Any) -> None:
        answer: tuple[int, str | None, str, Any]
        try:
            answer = (number, None, "", await self._serve(peer, errand, about))
        except ProposalError as error:
            answer = (number, error.code, str(error), None)
        except Exception as error:
            log.exception("errand_failed", extra={"errand": errand, "peer": peer})
            answer = (number, "internal", type(error).__name__, None)
        self._mail(peer, "told", answer)

    def _mail(self, peer: str, kind: str, body: Any) -> None:
        self._driver.replica.mail(peer, kind, body)
        self._driver.kick()
