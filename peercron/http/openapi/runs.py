"""Runs: the work for a slot, its attempts, and what came of it."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType

from peercron.core.job import Mode
from peercron.core.run import AttemptState, RunState
from peercron.http.openapi.operation import TEXT, Content, Operation
from peercron.http.openapi.parameters import switch, text, whole
from peercron.http.openapi.shape import Count, Instant, Key, Number, Shape


class AttemptView(Shape):
    """One try at a run, on one node.

    n: the first is 1
    token: its fencing token: it grows for ever, over all runs of all jobs, locks and deliveries
    reason: why it ended as it did
    note: what its node said after it had been given up
    why: why this node
    """

    n: Number
    node: str
    token: Number
    state: AttemptState
    assigned_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None
    reason: str
    note: str
    why: str


class ShardView(Shape):
    """What one node makes of a run that several share.

    n: its number, the first is 0
    attempt: the last one
    """

    id: str
    n: Count
    node: str
    state: RunState
    reason: str
    attempt: AttemptView | None


class RunView(Shape):
    """The work for one slot of a job.

    id: job-uid/slot, or of what has no slot a name made of the command that brought it
    slot: milliseconds since 1970; of a run by hand when it was asked for
    manual: somebody or something asked for it, not a schedule
    params: what it was given on its way
    reason: why it waits, or ended as it did
    cause: what happened that started it; empty: its time had come, or somebody asked for it by hand
    not_before: its next attempt begins no sooner
    mode: how nodes share it; null: its job is gone
    output_tail: the end of what the last attempt wrote
    queue: the queue whose item it works on
    parent: the run of which this is a shard
    shards: one for each node that shares it
    asked: nodes that may still take it, where several contend
    barrier_opened_at: when all of them started
    """

    id: str
    job: Key
    slot: int
    scheduled_for: Instant
    manual: bool
    state: RunState
    params: dict[str, str]
    reason: str
    cause: str
    cancel_requested: bool
    created_at: Instant
    not_before: Instant | None
    finished_at: Instant | None
    checkpoint_bytes: Count
    mode: Mode | None
    attempts: list[AttemptView]
    output_tail: str
    queue: Key | UnsetType = UNSET
    item: Number | UnsetType | None = UNSET
    parent: str | UnsetType = UNSET
    shard: Count | UnsetType = UNSET
    shards: list[ShardView] | UnsetType = UNSET
    asked: list[str] | UnsetType = UNSET
    barrier_opened_at: Instant | UnsetType | None = UNSET


class RunId(Shape):
    """A run of which nothing is kept any more."""

    id: str


class RunList(Shape):
    """Runs, the newest first."""

    runs: list[RunView]


class CheckpointBody(Shape):
    """How far a run is.

    token: of the attempt that says so
    data: for the next attempt, as ctx.last_checkpoint
    """

    token: int
    data: Any


class CheckpointTaken(Shape):
    """The run, or that shard of it, whose attempt said so."""

    run: str
    token: Number


#: What was asked to run: its run, or what is left of it.
ASKED: Final = (RunView, RunId)
_RUN = "/v1/runs/{id}"
OPERATIONS: Final = {
    "GET /v1/runs": Operation(
        "listRuns",
        {200: RunList},
        parameters={
            "state": text("only those in this state", enum=[state.value for state in RunState]),
            "limit": whole("at most so many", low=1, high=1_000, usual=100),
        },
    ),
    f"GET {_RUN}": Operation("getRun", {200: RunView}),
    f"GET {_RUN}/log": Operation(
        "readRunLog",
        {200: Content(kinds={"text/plain": TEXT}, headers=("Peercron-Log",))},
        parameters={
            "follow": switch("go on until the attempt ends"),
            "attempt": whole("which one; 0: the newest", usual=0),
            "offset": whole("leave out so many bytes at the beginning", usual=0),
        },
    ),
    f"POST {_RUN}:cancel": Operation("cancelRun", {202: RunView}),
    f"POST {_RUN}:retry": Operation("retryRun", {202: RunView}),
    f"POST {_RUN}:checkpoint": Operation("saveCheckpoint", {200: CheckpointTaken}, body=CheckpointBody, of_run=True),
}
