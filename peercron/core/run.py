"""Run and attempt: the work for a slot, and one try at it on one node under one fencing token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from peercron.core.job import Definition


class RunState(StrEnum):
    """Live states first; the rest are outcomes, written to the ledger once."""

    QUEUED = "queued"  # waits for an earlier run of its job (overlap), or for a node that may run it
    RUNNING = "running"  # has a live attempt
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"


LIVE_RUN_STATES = frozenset({RunState.QUEUED, RunState.RUNNING})


class AttemptState(StrEnum):
    ASSIGNED = "assigned"  # granted in the log; the node has not said that it started
    READY = "ready"  # its process stands at the barrier of a parallel run
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"  # its node's session ended first
    REFUSED = "refused"  # its node does not have the class of the job; see `lacking`


LIVE_ATTEMPT_STATES = frozenset({AttemptState.ASSIGNED, AttemptState.READY, AttemptState.STARTED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `token` is state.index at the grant: it grows for ever, over all runs of all jobs."""

    n: int
    member: str
    session: int
    token: int
    state: AttemptState
    assigned_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    exit_code: int | None = None
    #: One sentence for people: why it ended as it did.
    reason: str = ""
    output_tail: str = ""
    #: What its node said after the attempt had been given up: it changed nothing, and is kept for people.
    note: str = ""
    #: Why this node, in one sentence for people.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that has ended, as its run keeps it."""

    n: int
    member: str
    state: RunState
    attempts: tuple[Attempt, ...]
    finished_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """The work for one slot. `id` is "job-uid/slot_ms": planned twice, it is once.

    What has no instant is named by the command that brought it: "job-uid/m<index>" by hand, "job-uid/e<index>" by an
    event.
    """

    id: str
    job_uid: str
    job_key: str
    #: The nominal instant; for a manual run the instant of the request.
    slot_ms: int
    manual: bool
    state: RunState
    created_ms: int
    attempts: tuple[Attempt, ...] = ()
    finished_ms: int | None = None
    reason: str = ""
    #: Somebody asked for its end; the node stops the attempt and reports cancelled.
    cancel_requested: bool = False
    #: What the run does, pinned at its first grant: all its attempts do the same under the same idempotency key, with
    #: the guarantee they began with. Edits and the deletion of the job do not reach it (`nodes` excepted, for the next
    #: attempt's place). None: no attempt was made, or the run has ended.
    definition: Definition | None = None
    #: (name, value) of what whoever asked for the run gave it on its way.
    params: tuple[tuple[str, str], ...] = ()
    #: Its next attempt begins no sooner; 0: as soon as may be. Of no meaning while it runs.
    not_before_ms: int = 0
    #: What a job class last said of how far it is (JSON), for the next attempt; empty: nothing, or the run has ended.
    checkpoint: bytes = b""
    #: What happened that started it, for people; empty: its time had come, or somebody asked for it by hand.
    cause: str = ""
    #: The delivery of the queue's item that it works on; 0: none, or the run has ended.
    delivery: int = 0
    #: Of a shard: the run that it is a part of, its number there from 0, and the member that it is for. See `shards`.
    #: `member` of a run that is no shard: what started it happened on that member, and it goes nowhere else.
    parent: str = ""
    shard: int = 0
    member: str = ""
    #: How many shards the run has; of a shard: how many there were when it was made. 0: the run has none.
    shards: int = 0
    #: Its shards that have ended, in the order of their ends.
    ended: tuple[Shard, ...] = ()
    #: Until when the barrier of its shards waits (0: there is none; -1: it never opens), and when it was opened (0: not
    #: yet).
    barrier_by_ms: int = 0
    opened_ms: int = 0
    #: Mode queue: key of the queue into which it was put; there an item that has the run's id as its key stands for it,
    #: until it is done or given up. Empty: into none. See `posting`.
    posted: str = ""

    @property
    def tries(self) -> tuple[Attempt, ...]:
        """Its attempts, or those of its shards that have ended, in the order of their tokens."""
        ended = [attempt for shard in self.ended for attempt in shard.attempts]
        return (*self.attempts, *sorted(ended, key=lambda attempt: attempt.token))

    @property
    def live_attempt(self) -> Attempt | None:
        if self.attempts and self.attempts[-1].state in LIVE_ATTEMPT_STATES:
            return self.attempts[-1]
        return None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The outcome of one slot, written once."""

    run_id: str
    slot_ms: int
    manual: bool
    outcome: RunState
    reason: str
    attempts: int
    #: Member of the last attempt; empty: none was made.
    member: str
    #: Token of the last attempt; 0: none was made.
    token: int
    decided_ms: int
