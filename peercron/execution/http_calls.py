"""http_calls: the attempts that are HTTP calls or TCP exchanges; they run in the node's own loop and end with the node.

A node that is stopped (SIGSTOP) cannot take back a request that is on its way: what must not be done twice is guarded
by the token and the run id that the call carries.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ServerTimeoutError

from peercron.clock import Clock
from peercron.core.job import HttpTask, TcpTask
from peercron.core.run import AttemptState
from peercron.execution.attempt import OVERDUE
from peercron.execution.http_call import call, open_session
from peercron.execution.limits import HTTP_CONNECT_S_MAX, REASON_CHARS_MAX
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.execution.tcp_exchange import exchange

log = logging.getLogger(__name__)

_Verdict = tuple[AttemptState, str, str]


@dataclass(slots=True)
class _Call:
    spec: AttemptSpec
    work: asyncio.Task[_Verdict]
    #: Somebody wanted its end: what it counts as, and why.
    sentence: tuple[AttemptState, str] | None = None


class HttpCalls:
    """`started` and `finished` are called in the loop and must not raise."""

    def __init__(
        self,
        clock: Clock,
        started: Callable[[AttemptSpec, int], None],
        finished: Callable[[AttemptResult], None],
    ) -> None:
        self._clock = clock
        self._started = started
        self._finished = finished
        self._live: dict[tuple[str, int], _Call] = {}
        self._started_ms: dict[tuple[str, int], int] = {}
        self._session: ClientSession | None = None
        self._stop_at = -math.inf
        self._alarm: asyncio.TimerHandle | None = None

    def launch(self, spec: AttemptSpec, task: HttpTask | TcpTask) -> None:
        loop = asyncio.get_running_loop()
        made = self._live[spec.run_id, spec.token] = _Call(spec, loop.create_task(self._make(spec, task)))
        made.work.add_done_callback(lambda _: self._finish(made))
        if spec.until is None and loop.time() >= self._stop_at:
            self._end(made, AttemptState.LOST, "the call was not made: the node has no lease")
        self.set_lease(self._stop_at)

    def stop(self, run_id: str, token: int, reason: str) -> None:
        if found := self._live.get((run_id, token)):
            self._end(found, AttemptState.CANCELLED, reason)

    def set_lease(self, stop_at: float) -> None:
        """`stop_at` in the loop's own time, which is CLOCK_MONOTONIC."""
        self._stop_at = stop_at
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if self._live and math.isfinite(stop_at):
            self._alarm = asyncio.get_running_loop().call_at(stop_at, self.end_all, "the node's lease ended")

    def end_all(self, reason: str) -> None:
        """End all but those that may live without a session."""
        for found in tuple(self._live.values()):
            if not found.spec.outlives_session:
                self._end(found, AttemptState.LOST, reason)

    async def close(self) -> None:
        for found in tuple(self._live.values()):
            self._end(found, AttemptState.LOST, "the node was stopped")
        await asyncio.gather(*(found.work for found in self._live.values()), return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()
        if self._session is not None:
            await self._session.close()

    def _end(self, found: _Call, outcome: AttemptState, reason: str) -> None:
        if found.sentence is None:
            found.sentence = (outcome, reason)
            found.work.cancel()

    async def _make(self, spec: AttemptSpec, task: HttpTask | TcpTask) -> _Verdict:
        self._started_ms[spec.run_id, spec.token] = self._clock.wall_ms()
        self._started(spec, self._started_ms[spec.run_id, spec.token])
        limit_s = spec.timeout_ms / 1_000 if spec.timeout_ms else math.inf
        left_s = spec.until.stop_at_s - asyncio.get_running_loop().time() if spec.until else math.inf
        try:
            async with asyncio.timeout(None if min(limit_s, left_s) == math.inf else min(limit_s, left_s)):
                return await self._done(spec, task)
        except ServerTimeoutError:
            return AttemptState.FAILED, f"no connection within {HTTP_CONNECT_S_MAX:g} s", ""
        except TimeoutError:
            return AttemptState.TIMED_OUT, OVERDUE if left_s < limit_s else f"timed out after {limit_s:g} s", ""
        except (ClientError, OSError, ValueError) as error:
            return AttemptState.FAILED, f"the call failed: {str(error) or type(error).__name__}", ""

    async def _done(self, spec: AttemptSpec, task: HttpTask | TcpTask) -> _Verdict:
        if isinstance(task, TcpTask):
            made = await exchange(task)
            return AttemptState.SUCCEEDED if made.good else AttemptState.FAILED, made.reason, made.tail
        self._session = self._session or open_session()
        answer = await call(self._session, task, spec.env)
        outcome = AttemptState.SUCCEEDED if answer.expected else AttemptState.FAILED
        return outcome, f"HTTP {answer.status} {answer.phrase}".rstrip(), answer.tail

    def _finish(self, found: _Call) -> None:
        spec = found.spec
        key = (spec.run_id, spec.token)
        del self._live[key]
        started_ms = self._started_ms.pop(key, None)
        outcome, reason, tail = self._verdict(found)
        reason = reason[:REASON_CHARS_MAX]
        finished_ms = self._clock.wall_ms()
        self._finished(AttemptResult(*key, outcome, None, started_ms, finished_ms, reason, tail))

    def _verdict(self, found: _Call) -> _Verdict:
        if found.work.cancelled():
            return *(found.sentence or (AttemptState.LOST, "the node was stopped")), ""
        if (error := found.work.exception()) is not None:
            log.error("a call broke", exc_info=error)
            return AttemptState.FAILED, f"peercron broke: {error!r}", ""
        return found.work.result()
