"""attempt: one attempt of a job class in the test's own process, with the time and the end that it has in a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from peercron.core.commands import Checkpoint
from peercron.core.dispatcher import Start
from peercron.core.job import Definition
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.work import item_facts
from peercron.errors import LeaseLost, Refused
from peercron.jobs import Facts, Job, RunContext, perform
from peercron.testing.client import LocalClient, Place, Plainly


def facts_of(state: ClusterState, start: Start, node: str, now: datetime) -> Facts:
    """What the run sees of itself."""
    run, attempt, timeout_ms = start.run, start.attempt, start.definition.timeout_ms
    return Facts(
        job=run.job_key,
        run_id=run.id,
        slot=datetime.fromtimestamp(run.slot_ms / 1_000, UTC),
        attempt=attempt.n,
        token=attempt.token,
        node=node,
        params=dict(run.params),
        deadline=now + timedelta(milliseconds=timeout_ms) if timeout_ms else None,
        **item_facts(state, run),
    )


@dataclass(frozen=True, slots=True)
class Ended:
    outcome: AttemptState
    reason: str = ""
    error: BaseException | None = None


class LocalAttempt:
    """`place` is the cluster; `checkpointed` and `ended` are told."""

    def __init__(
        self,
        kind: type[Job],
        facts: Facts,
        definition: Definition,
        checkpoint: bytes,
        place: Place,
        checkpointed: Callable[[LocalAttempt], None],
        ended: Callable[[LocalAttempt, Ended], None],
    ) -> None:
        self.facts = replace(facts, last_checkpoint=json.loads(checkpoint) if checkpoint else None)
        self._kind, self._definition = kind, definition
        self._place, self._checkpointed, self._tell = place, checkpointed, ended
        self._loop: asyncio.AbstractEventLoop | None = None
        #: See `jobs.context.Reach`; by their methods these are a Client and a SyncClient.
        self.client: Any = LocalClient(place, facts)
        self.plain_client: Any = Plainly(self.client, self._wait)
        self._sentence: Ended | None = None
        self._task: asyncio.Task[None] | None = None
        self._context: RunContext | None = None

    @property
    def node(self) -> str:
        return self.facts.node

    @property
    def ending(self) -> bool:
        """Somebody wanted its end already."""
        return self._sentence is not None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = RunContext(self.facts, self)
        self._task = loop.create_task(perform(self._kind, self._context))
        self._task.add_done_callback(self._ended)
        if self._definition.timeout_ms:
            seconds = self._definition.timeout_ms / 1_000
            reason = f"timed out after {seconds:g} s"
            alarm = loop.call_later(seconds, self.end, AttemptState.TIMED_OUT, reason)
            self._task.add_done_callback(lambda _: alarm.cancel())

    def end(self, outcome: AttemptState, reason: str) -> None:
        """Cancel it. A class that does not heed that is waited for: nobody can be killed in the test's own process."""
        if self._sentence is None and self._task is not None and self._context is not None:
            self._sentence = Ended(outcome, reason)
            self._context.cancel()
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tell(self, self._sentence or _own_end(task))

    # The job's end of it: see `jobs.context.Reach`.

    async def checkpoint(self, data: str) -> None:
        try:
            self._place.do(Checkpoint(self.facts.run_id, self.facts.token, data.encode()))
        except Refused as refused:
            raise LeaseLost(str(refused)) if refused.code == "stale_token" else refused from None
        self._checkpointed(self)
        await asyncio.sleep(0)  # where the node has crashed at this very moment, it goes no further

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop is not None, "it has begun"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _own_end(task: asyncio.Task[Any]) -> Ended:
    if task.cancelled():
        return Ended(AttemptState.FAILED, "CancelledError", asyncio.CancelledError())
    error = task.exception()
    if error is None:
        return Ended(AttemptState.SUCCEEDED)
    text = str(error).strip().partition("\n")[0]
    return Ended(AttemptState.FAILED, f"{type(error).__name__}: {text}" if text else type(error).__name__, error)
