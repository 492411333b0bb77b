"""Overview: what goes on now, for a screen."""

from __future__ import annotations

from typing import Final

from peercron.core.run import AttemptState
from peercron.http.openapi.cluster import Status
from peercron.http.openapi.locks import LockView
from peercron.http.openapi.operation import Operation
from peercron.http.openapi.parameters import whole
from peercron.http.openapi.queues import QueueView
from peercron.http.openapi.shape import Count, Instant, Key, Number, Shape
from peercron.http.overview import ROWS, ROWS_MAX


class Counts(Shape):
    """How many there are of what only the first rows are shown of.

    runs: alive, shards among them
    waiting: runs whose turn has come and that have no node yet
    waiters: those who stand in line for a lock
    """

    jobs: Count
    runs: Count
    waiting: Count
    queues: Count
    items: Count
    locks: Count
    waiters: Count


class LiveAttempt(Shape):
    """An attempt that has not ended.

    id: of its run
    attempt: its number
    since: when it started, or was given to its node
    """

    id: str
    job: Key
    node: str
    attempt: Number
    state: AttemptState
    scheduled_for: Instant
    since: Instant


class ComingSlot(Shape):
    """A slot to come."""

    job: Key
    at: Instant


class Overview(Shape):
    """What goes on now.

    at: the node's clock
    runs: the oldest first
    coming: the soonest first
    queues: the fullest first
    locks: those with the longest lines first; the lines themselves are left out
    events: what has happened last, the newest at the end: as the lines of /v1/events
    """

    at: Instant
    status: Status
    counts: Counts
    runs: list[LiveAttempt]
    coming: list[ComingSlot]
    queues: list[QueueView]
    locks: list[LockView]
    events: list[dict[str, str | int | None]]


OPERATIONS: Final = {
    "GET /v1/overview": Operation(
        "getOverview",
        {200: Overview},
        parameters={"limit": whole("rows of each", low=1, high=ROWS_MAX, usual=ROWS)},
    ),
}
