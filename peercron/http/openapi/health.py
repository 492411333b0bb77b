"""Health: what the checks of jobs say of nodes, and what a node knows of its own slices."""

from __future__ import annotations

from typing import Final

from peercron.core.run import RunState
from peercron.http.openapi.operation import Operation
from peercron.http.openapi.shape import Instant, Key, Shape


class Observation(Shape):
    """What one observer says of one check on one node."""

    node: str
    well: bool
    since: Instant
    detail: str


class Health(Shape):
    """One check of one job on one node.

    well: null: nobody has said anything yet
    reason: why it is not
    """

    job: Key
    check: str
    node: str
    well: bool | None
    reason: str
    since: Instant | None
    observers: list[Observation]


class HealthList(Shape):
    """Every check of every job on every node that the job is for."""

    health: list[Health]


class SliceSlot(Shape):
    """A slot that runs here now."""

    slot: int
    scheduled_for: Instant


class SliceEntry(Shape):
    """The outcome of a slot that the ledger has not been told yet."""

    slot: int
    scheduled_for: Instant
    outcome: RunState
    reason: str
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None


class SliceJob(Shape):
    """What the asked node knows of its own slots of a job.

    nodes: whose turn it is, in their order
    next: the next slot of the asked node
    """

    job: Key
    nodes: list[str]
    next: Instant | None
    running: list[SliceSlot]
    untold: list[SliceEntry]


class Slices(Shape):
    """Slices that need no quorum, as the asked node knows them.

    doubt: why it starts nothing in them; null: it does
    """

    node: str
    doubt: str | None
    jobs: list[SliceJob]


OPERATIONS: Final = {
    "GET /v1/health": Operation("listHealth", {200: HealthList}, refuses=frozenset({404})),
    "GET /v1/slices": Operation("listSlices", {200: Slices}, spares=frozenset({503})),
}
