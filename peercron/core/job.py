"""Job: a stored definition; its trigger, its task, its policies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from peercron.core.check import Check
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.core.pace import NO_RETRY, UNLIMITED, Concurrency, Require, Retry
from peercron.core.secret import EnvEntry as EnvEntry
from peercron.core.secret import SecretSource as SecretSource
from peercron.core.task import ClassTask as ClassTask
from peercron.core.task import CommandTask as CommandTask
from peercron.core.task import HttpTask as HttpTask
from peercron.core.task import Task as Task
from peercron.core.task import TcpTask as TcpTask


class Mode(StrEnum):
    """How the nodes share a job."""

    SINGLE = "single"
    SLICE = "slice"
    STANDBY = "standby"
    TURNS = "turns"
    PARALLEL = "parallel"
    CONTEND = "contend"
    QUEUE = "queue"


class OnAbsent(StrEnum):
    """What becomes of the slices of a node that is not there."""

    #: They do not happen: each node fires its own by itself, and asks nobody.
    SKIP = "skip"
    #: Another node takes them over, which takes a quorum.
    FILL = "fill"


class Overlap(StrEnum):
    """What happens to a slot while an earlier run of the job is alive."""

    FORBID = "forbid"
    ALLOW = "allow"
    QUEUE_ONE = "queue_one"
    QUEUE_ALL = "queue_all"
    REPLACE = "replace"


class Guarantee(StrEnum):
    """What is promised about the number of times a slot's work is done."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"
    EFFECTIVELY_ONCE = "effectively_once"


class MisfirePolicy(StrEnum):
    """Which of the slots that went by unseen are made up for."""

    LATEST = "latest"
    EARLIEST = "earliest"
    ALL = "all"
    SKIP = "skip"


class OnDisconnect(StrEnum):
    """What a node that lost its session does with its attempts of this job."""

    KILL = "kill"
    KEEP = "keep"


class Failback(StrEnum):
    """When a standby job goes back to an earlier one of its nodes that is well again."""

    AUTO = "auto"
    MANUAL = "manual"
    NEVER = "never"


class Losers(StrEnum):
    """What those do who contended for a slot and were not first."""

    WAIT = "wait"  # each runs in its turn
    SKIP = "skip"  # the slot is done when one has done it


class Quorum(StrEnum):
    """How many shards of a parallel run must succeed for it to succeed."""

    ALL = "all"
    MAJORITY = "majority"
    ANY = "any"


class DstGap(StrEnum):
    """A fixed-time slot whose local time does not exist on the day of a clock change."""

    RUN_AFTER = "run_after"
    SKIP = "skip"


class DstOverlap(StrEnum):
    """A fixed-time slot whose local time exists twice on the day of a clock change."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class CronTrigger:
    """Slots from a cron expression read in a time zone.

    `dst_gap` and `dst_overlap` are None for the rule of the expression's own shape (fixed-time: run_after and first;
    others: real elapsed time).
    """

    expression: str
    timezone: str = "UTC"
    dst_gap: DstGap | None = None
    dst_overlap: DstOverlap | None = None


@dataclass(frozen=True, slots=True)
class EveryTrigger:
    """Slots at anchor_ms + k * every_ms, elapsed time, for every whole k."""

    every_ms: int
    anchor_ms: int = 0


@dataclass(frozen=True, slots=True)
class AtTrigger:
    """One slot, at one instant."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class ManualTrigger:
    """No slots of its own: runs only when asked to."""


Trigger = (
    CronTrigger
    | EveryTrigger
    | AtTrigger
    | ManualTrigger
    | ConditionTrigger
    | HookTrigger
    | EventTrigger
    | QueueTrigger
    | ProbeTrigger
)
#: Triggers by what the clock says; the others wait for something to happen.
TIMED = (CronTrigger, EveryTrigger, AtTrigger)


@dataclass(frozen=True, slots=True)
class Misfire:
    """Which missed slots are made up for, and how old one may be. `window_ms` 0: one hour, or a period if longer."""

    policy: MisfirePolicy = MisfirePolicy.LATEST
    window_ms: int = 0
    max: int = 20


@dataclass(frozen=True, slots=True)
class Definition:
    """What a user wrote: everything about a job but the cluster's own bookkeeping.

    Two equal definitions are one: applying a job unchanged changes nothing.
    """

    name: str
    trigger: Trigger
    task: Task
    namespace: str = "default"
    owner: str = ""
    mode: Mode = Mode.SINGLE
    #: Names of the members that may run it; empty: any.
    nodes: tuple[str, ...] = ()
    overlap: Overlap = Overlap.FORBID
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    misfire: Misfire = Misfire()
    #: 0: no timeout.
    timeout_ms: int = 0
    kill_grace_ms: int = 10_000
    on_disconnect: OnDisconnect = OnDisconnect.KILL
    retry: Retry = NO_RETRY
    #: Mode slice: how long a slice is; 0 in every other mode.
    slice_ms: int = 0
    on_absent: OnAbsent = OnAbsent.SKIP
    #: Each slot starts up to so much after its instant, by an offset of its own that all members find the same.
    jitter_ms: int = 0
    #: What makes a node unfit for this job.
    checks: tuple[Check, ...] = ()
    #: Mode standby: when it goes back to an earlier node, and how long that must have been well without a break.
    failback: Failback = Failback.AUTO
    failback_after_ms: int = 60_000
    #: Keys of the jobs that it comes after: their ends are its slots, and it has no others.
    after: tuple[str, ...] = ()
    require: Require = Require.ALL_SUCCEEDED
    concurrency: Concurrency = UNLIMITED
    #: Name of the pool whose places it shares; empty: of none.
    pool: str = ""
    #: "namespace/name" of the lock that each of its attempts holds; empty: none.
    lock: str = ""
    #: Key of the queue whose items are its runs, on each node at most `concurrency.per_node` at a time; in mode queue
    #: its slots go into it too. Empty: none.
    queue: str = ""
    #: An expression over the nodes that may run it (see `core.where`); empty: any.
    where: str = ""
    #: Mode contend.
    losers: Losers = Losers.WAIT
    #: Mode parallel: on so many nodes (0: on all), or on these one after another; with `sync` all start together.
    count: int = 0
    order: tuple[str, ...] = ()
    sync: bool = False
    quorum: Quorum = Quorum.ALL

    @property
    def watched(self) -> tuple[Check, ...]:
        """All that is looked at for it: its checks, and what its trigger probes."""
        return (*self.checks, self.trigger.check) if isinstance(self.trigger, ProbeTrigger) else self.checks

    #: Calendars: its slots fire only on days of one of the first (empty: on all), and on no day of the others.
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: How many processes an attempt may have at once; 0: as many as every job may (`execution.limits.PROCESSES_MAX`).
    processes_max: int = 0
    #: What each run is given, unless who asks for it gives it another value.
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cluster keeps it. `key` is "namespace/name", unique while it lives; `uid` is unique for ever."""

    uid: str
    definition: Definition
    #: state.index of the last change of the definition; an HTTP ETag.
    revision: int
    created_ms: int
    updated_ms: int
    paused: bool = False

    @property
    def key(self) -> str:
        return f"{self.definition.namespace}/{self.definition.name}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a job's slots have been decided. Survives edits of the job: its position is never reset."""

    #: Every slot at or before this instant has a ledger entry or a run, or was before the job's time.
    after_ms: int
    #: The next slot as the leader computed it; None: not yet computed for this revision. -1: there is none.
    next_ms: int | None = None
    #: Slots at or before this instant fell into a pause: they are skipped, also when they are decided after its end.
    paused_through_ms: int = 0
    #: A gap that takes several Fires: how many of its slots are decided so far, and how many of these were fired.
    gap_walked: int = 0
    gap_fired: int = 0
