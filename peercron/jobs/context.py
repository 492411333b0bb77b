"""context: what a run knows of itself and can say to its cluster: the `ctx` of `Job.run`."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from peercron.core.limits import CHECKPOINT_BYTES_MAX

if TYPE_CHECKING:
    from peercron.client import Client, Lock, SyncClient, SyncLock, SyncQueue
    from peercron.client.queue import Queue
    from peercron.client.state import State
    from peercron.client.sync import SyncState

T = TypeVar("T")


class Reach(Protocol):
    """How a run reaches its cluster: over HTTP, or in the test kit by a call."""

    async def checkpoint(self, data: str) -> None:
        """Keep this JSON for the next attempt. Raises LeaseLost, Refused or NoLeader."""
        ...

    @property
    def client(self) -> Client:
        """Made when it is first asked for: most runs need none."""
        ...

    @property
    def plain_client(self) -> SyncClient:
        """The same for threads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What does not change while a run runs."""

    #: "namespace/name" of the job.
    job: str
    #: The same for all attempts of the run: the idempotency key of what it does.
    run_id: str
    #: The nominal instant, in UTC.
    slot: datetime
    #: 1 for the first.
    attempt: int
    #: The fencing token: grows with every attempt; a resource refuses a smaller one than it has seen.
    token: int
    #: Name of the node that it runs on.
    node: str
    #: What whoever asked for the run gave it on its way.
    params: Mapping[str, str] = field(default_factory=dict)
    #: Which of how many runs of the same slot this is (mode parallel).
    shard_index: int = 0
    shard_count: int = 1
    #: When the job's timeout ends it, in UTC; None: never.
    deadline: datetime | None = None
    #: What an earlier attempt of this run last gave to `checkpoint`; None: nothing.
    last_checkpoint: Any = None
    #: The payload of the queue's item that this run works on: JSON, or bytes; None: it works through no
    #: queue, or the payload is longer than 100 KiB and is to be asked for by `item_id`.
    item: Any = None
    item_id: int = 0


class _Knowing:
    """The facts as attributes, and a log."""

    job: str
    run_id: str
    slot: datetime
    attempt: int
    token: int
    node: str
    params: Mapping[str, str]
    shard_index: int
    shard_count: int
    deadline: datetime | None
    last_checkpoint: Any
    item: Any
    item_id: int
    #: Goes to the output of the attempt.
    log: logging.Logger

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.log = logging.getLogger(f"peercron.job.{facts.job}")

    def __getattr__(self, name: str) -> Any:
        if name == "facts" or name not in Facts.__dataclass_fields__:
            raise AttributeError(f"a run's ctx has no {name!r}")
        return getattr(self.facts, name)


class RunContext(_Knowing):
    """The `ctx` of an `async def run`.

    `cancelled` is set when the run is to end: it was cancelled, timed out, or its node lost the right to run it. The
    coroutine gets CancelledError at the same moment; the process is killed when the job's `kill_grace` is over.
    """

    def __init__(self, facts: Facts, reach: Reach) -> None:
        super().__init__(facts)
        self.cancelled = asyncio.Event()
        self.reach = reach

    async def checkpoint(self, value: Any) -> None:
        """Keep this JSON value: an attempt that goes on after this one finds it as `ctx.last_checkpoint`.

        Returns when it is safe on a majority, so do not call it a thousand times a second.

        Raises:
            LeaseLost: the run belongs to another attempt by now; stop.
            ValueError, TypeError: it is no JSON, or longer than CHECKPOINT_BYTES_MAX.
            NoLeader, Unreachable: the cluster did not take it, for long.
        """
        await self.reach.checkpoint(_encoded(value))

    @property
    def client(self) -> Client:
        """The cluster that this run is of, for all that has no name of its own here; see `peercron.Client`."""
        return self.reach.client

    @property
    def state(self) -> State:
        """The shared state: `await ctx.state.incr("search/generation")`; see `peercron.client.State`."""
        return self.reach.client.state

    def lock(self, name: str, **how: Any) -> Lock:
        """A lock, to be held in an `async with` block; arguments as of `peercron.Client.lock`."""
        return self.reach.client.lock(name, **how)

    def queue(self, name: str) -> Queue:
        """A queue: `await ctx.queue("mail").put({…}, key=ctx.run_id)`; see `peercron.Client.queue`."""
        return self.reach.client.queue(name)

    def cancel(self) -> None:
        self.cancelled.set()


class PlainRunContext(_Knowing):
    """The `ctx` of a plain `def run`, which has a thread to itself: the same as `RunContext`, and every call waits."""

    def __init__(self, context: RunContext, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(context.facts)
        self.cancelled = threading.Event()
        self._context, self._loop = context, loop

    def checkpoint(self, value: Any) -> None:
        """See `RunContext.checkpoint`."""
        self._wait(self._context.checkpoint(value))

    @property
    def client(self) -> SyncClient:
        """See `RunContext.client`, and `peercron.SyncClient`."""
        return self._context.reach.plain_client

    @property
    def state(self) -> SyncState:
        """The shared state: `ctx.state.incr("search/generation")`."""
        return self.client.state

    def lock(self, name: str, **how: Any) -> SyncLock:
        """A lock, to be held in a `with` block; arguments as of `peercron.SyncClient.lock`."""
        return self.client.lock(name, **how)

    def queue(self, name: str) -> SyncQueue:
        """A queue: `ctx.queue("mail").put({…}, key=ctx.run_id)`; see `peercron.SyncClient.queue`."""
        return self.client.queue(name)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _encoded(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if (size := len(text.encode())) > CHECKPOINT_BYTES_MAX:
        raise ValueError(f"a checkpoint of {size} bytes; at most {CHECKPOINT_BYTES_MAX} are kept")
    return text
