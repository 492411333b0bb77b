"""Level: which language the replicated data is written in.

The language is all that members must understand alike: commands, rows and their fields, choices, tables of the state,
and what `apply` makes of them, down to the words of a refusal, which is remembered. A build speaks every level up to
LEVEL. A cluster speaks the highest one that all its members speak (`ClusterState.level`), and never goes back.

To extend the language, a release raises LEVEL by one, names itself in RELEASES, and notes in SINCE what is new:

    a command, or a row where one of several may be     Touch: 2
    a field, at the end of its row and with a default   (Definition, "priority"): 2
    a choice                                            (Overlap, "newest"): 2
    a table of the state, or a number in it             (ClusterState, "locks"): 2

What is new and has its default is not written, so that members of the older release read what the newer one writes as
long as nobody may use it; a member says no more of itself than they understand (`spoken`), and so must whoever writes
a configuration. Where `apply` shall act otherwise than before, it asks for `state.level` and keeps the old way beside
the new. Types and order of fields never change, and no name is used twice; `tests/wire` holds them fast.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Final

from peercron.core.commands import (
    AckItems,
    AcquireLock,
    ArrangeSlices,
    AttemptReady,
    Backfill,
    CallHook,
    Checkpoint,
    CloseClient,
    Command,
    Contend,
    DeleteCalendar,
    DeletePool,
    DeleteQueue,
    EmitEvent,
    ExpireLease,
    ExtendDelivery,
    FailBack,
    Fire,
    ForsakeLock,
    GrantLock,
    IncrKey,
    NackItems,
    OpenClient,
    PauseCluster,
    Proposal,
    PurgeQueue,
    PutItem,
    PutKey,
    PutQueue,
    ReceiveItems,
    RecordSlices,
    ReleaseLock,
    ReplayItems,
    ReportHealth,
    ResumeCluster,
    RunJob,
    SetCalendar,
    SetPool,
    TakeItem,
)
from peercron.core.job import ClassTask, Definition, Mode, TcpTask
from peercron.core.member import MemberInfo
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.core.run import Attempt, AttemptState, Run
from peercron.core.state import ClusterState, Key
from peercron.core.verdict import Refusal

#: What this build speaks.
LEVEL: Final = 2
#: The release in which each level began.
RELEASES: Final[dict[int, str]] = {1: "0.1.0", 2: "0.2.0"}
#: What came with a level above 1. Never changed once it is released.
SINCE: Final[dict[Any, int]] = {
    # Leases: what ends by itself.
    OpenClient: 2,
    CloseClient: 2,
    ExpireLease: 2,
    (ClusterState, "leases"): 2,
    (ClusterState, "client_leases"): 2,
    # Keys that count, that end, and that are watched.
    IncrKey: 2,
    (PutKey, "ttl_ms"): 2,
    (Key, "lease"): 2,
    (ClusterState, "changes"): 2,
    (ClusterState, "change_count"): 2,
    (ClusterState, "changes_bytes"): 2,
    (ClusterState, "changes_floor"): 2,
    # Requests that may come twice.
    (Proposal, "once"): 2,
    (ClusterState, "answers"): 2,
    (ClusterState, "answer_keys"): 2,
    (ClusterState, "answer_count"): 2,
    # Params of a run.
    (RunJob, "params"): 2,
    (Run, "params"): 2,
    # Retries and pauses.
    (Definition, "retry"): 2,
    (Run, "not_before_ms"): 2,
    # Slices that need no quorum.
    (Mode, "slice"): 2,
    (Definition, "slice_ms"): 2,
    (Definition, "on_absent"): 2,
    RecordSlices: 2,
    ArrangeSlices: 2,
    (ClusterState, "slices"): 2,
    (ClusterState, "slices_through"): 2,
    (Definition, "jitter_ms"): 2,
    # Health.
    (Definition, "checks"): 2,
    ReportHealth: 2,
    (ClusterState, "health"): 2,
    (ClusterState, "listening"): 2,
    (ClusterState, "watch_revision"): 2,
    # Queues.
    PutQueue: 2,
    DeleteQueue: 2,
    PutItem: 2,
    ReceiveItems: 2,
    AckItems: 2,
    NackItems: 2,
    ExtendDelivery: 2,
    PurgeQueue: 2,
    ReplayItems: 2,
    # Jobs that work through a queue.
    TakeItem: 2,
    (Definition, "queue"): 2,
    (Run, "delivery"): 2,
    (ClusterState, "queues"): 2,
    (ClusterState, "items"): 2,
    (ClusterState, "item_count"): 2,
    (ClusterState, "item_bytes"): 2,
    (ClusterState, "last_place"): 2,
    (ClusterState, "deliveries"): 2,
    (ClusterState, "done_keys"): 2,
    # Modes: how the nodes share a job, and why an attempt is where it is.
    (Mode, "standby"): 2,
    (Mode, "turns"): 2,
    (Definition, "failback"): 2,
    (Definition, "failback_after_ms"): 2,
    (Attempt, "why"): 2,
    (ClusterState, "turns"): 2,
    (ClusterState, "incumbents"): 2,
    (ClusterState, "wellness"): 2,
    FailBack: 2,
    # Locks.
    AcquireLock: 2,
    GrantLock: 2,
    ReleaseLock: 2,
    ForsakeLock: 2,
    (Refusal, "locked"): 2,
    (Refusal, "deadlock"): 2,
    (ClusterState, "locks"): 2,
    (ClusterState, "lock_grants"): 2,
    (ClusterState, "lock_waiters"): 2,
    (ClusterState, "lock_requests"): 2,
    (ClusterState, "lock_owners"): 2,
    (ClusterState, "lock_waiting"): 2,
    # Jobs after others.
    (Definition, "after"): 2,
    (Definition, "require"): 2,
    (ClusterState, "followers"): 2,
    (ClusterState, "joins"): 2,
    # The whole cluster's pause, and slots that are made up for.
    PauseCluster: 2,
    ResumeCluster: 2,
    Backfill: 2,
    (ClusterState, "paused"): 2,
    (ClusterState, "paused_through_ms"): 2,
    # Calendars.
    (Definition, "include"): 2,
    (Definition, "exclude"): 2,
    (Fire, "left_out"): 2,
    SetCalendar: 2,
    DeleteCalendar: 2,
    (ClusterState, "calendars"): 2,
    # How many at once.
    (Definition, "concurrency"): 2,
    (Definition, "pool"): 2,
    (Definition, "lock"): 2,
    SetPool: 2,
    DeletePool: 2,
    (ClusterState, "pools"): 2,
    (ClusterState, "pool_lines"): 2,
    # Job classes.
    ClassTask: 2,
    TcpTask: 2,
    Checkpoint: 2,
    (Run, "checkpoint"): 2,
    # Triggers that wait for something to happen.
    ConditionTrigger: 2,
    HookTrigger: 2,
    EventTrigger: 2,
    QueueTrigger: 2,
    ProbeTrigger: 2,
    CallHook: 2,
    EmitEvent: 2,
    (ClusterState, "edges"): 2,
    (Run, "cause"): 2,
    # Runs that several nodes share.
    (Mode, "parallel"): 2,
    (Mode, "contend"): 2,
    (AttemptState, "ready"): 2,
    (Definition, "where"): 2,
    (Definition, "losers"): 2,
    (Definition, "count"): 2,
    (Definition, "order"): 2,
    (Definition, "sync"): 2,
    (Definition, "quorum"): 2,
    (Run, "parent"): 2,
    (Run, "shard"): 2,
    (Run, "member"): 2,
    (Run, "shards"): 2,
    (Run, "ended"): 2,
    (Run, "barrier_by_ms"): 2,
    (Run, "opened_ms"): 2,
    (ClusterState, "contests"): 2,
    AttemptReady: 2,
    Contend: 2,
}

#: How to find the level of a value.
Ask = Callable[[Any], int]


def level_of(value: Any) -> int:
    """The level from which on members understand this command, row or choice."""
    kind: Any = type(value)
    ask = _ask(kind)
    return 1 if ask is None else ask(value)


def late_fields(row: type) -> tuple[Field[Any], ...]:
    """The fields of a row that came after level 1, which are its last ones."""
    return tuple(field for field in fields(row) if (row, field.name) in SINCE)


def spoken(info: MemberInfo, level: int) -> MemberInfo:
    """What a member says of itself, as far as members of this level understand it."""
    late = [field for field in late_fields(type(info)) if SINCE[type(info), field.name] > level]
    return replace(info, **{field.name: default_of(field) for field in late}) if late else info


def default_of(field: Field[Any]) -> Any:
    """What a field is when nothing is said of it."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def objection(state: ClusterState, command: Command) -> str:
    """Why a command cannot be used in this cluster yet; empty: it can."""
    needed = level_of(command)
    if needed <= state.level:
        return ""
    what = type(command).__name__
    return f"{what} needs all members to run peercron {RELEASES[needed]} or newer; {', '.join(behind(state, needed))}"


def behind(state: ClusterState, level: int) -> list[str]:
    """Who keeps the cluster below a level, and what each runs, for people."""
    told = []
    for member_id in state.seats or state.members:
        member, seat = state.members.get(member_id), state.seats.get(member_id)
        if member is None:
            told.append(f"{seat.name if seat else member_id} has not come yet")
        elif member.info.level < level:
            told.append(f"{member.info.name} runs {member.info.version}")
    return told


@cache
def _ask(annotation: Any) -> Ask | None:
    """How to find the level of a value of this type; None: it is 1 for all of them."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _ask_row(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        late = {choice: SINCE[annotation, choice.value] for choice in annotation if (annotation, choice.value) in SINCE}
        return (lambda choice: late.get(choice, 1)) if late else None
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    if typing.get_origin(annotation) is tuple and options[-1] is Ellipsis:
        item = _ask(options[0])
        return None if item is None else lambda items: max(map(item, items), default=1)
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        if len(options) > 1:
            return level_of if any(map(_ask, options)) else None
        one = _ask(options[0])
        return None if one is None else lambda value: 1 if value is None else one(value)
    return None


def _ask_row(row: type) -> Ask | None:
    own = SINCE.get(row, 1)
    hints = typing.get_type_hints(row)
    late = [(field.name, default_of(field), SINCE[row, field.name]) for field in late_fields(row)]
    inner = [(field.name, ask) for field in fields(row) if (ask := _ask(hints[field.name])) is not None]
    if own == 1 and not late and not inner:
        return None

    def ask_row(value: Any) -> int:
        used = [level for name, default, level in late if getattr(value, name) != default]
        return max([own, *used, *[ask(getattr(value, name)) for name, ask in inner]])

    return ask_row
