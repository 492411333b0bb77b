"""Commands: everything that can be asked of the state machine, as plain data. `apply` has one case for each.

A command is refused or done as a whole; a refusal changes nothing. Times are the proposer's (`now_ms` comes with the
batch, stamped by the leader and never going back).
"""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.commands.calendar import DeleteCalendar, SetCalendar
from peercron.core.commands.cluster import PauseCluster, ResumeCluster
from peercron.core.commands.event import CallHook, EmitEvent
from peercron.core.commands.health import ReportHealth
from peercron.core.commands.job import ApplyJobs, DeleteJob, FailBack, Fire, PauseJob, PutJob, ResumeJob
from peercron.core.commands.key import DeleteKey, IncrKey, PutKey
from peercron.core.commands.lease import CloseClient, ExpireLease, OpenClient
from peercron.core.commands.lock import AcquireLock, ForsakeLock, GrantLock, ReleaseLock
from peercron.core.commands.member import DrainMember, ExpireSession, Invite, OpenSession, Uninvite
from peercron.core.commands.pool import DeletePool, SetPool
from peercron.core.commands.queue import (
    AckItems,
    DeleteQueue,
    ExtendDelivery,
    NackItems,
    PurgeQueue,
    PutItem,
    PutQueue,
    ReceiveItems,
    ReplayItems,
    TakeItem,
)
from peercron.core.commands.restore import AbandonRestore, AdoptSnapshot, BeginRestore, EndRuns, StageSnapshot
from peercron.core.commands.run import (
    AttemptFinished,
    AttemptReady,
    AttemptStarted,
    Backfill,
    CancelRun,
    Checkpoint,
    Contend,
    PlaceRun,
    RunJob,
)
from peercron.core.commands.slices import ArrangeSlices, RecordSlices
from peercron.core.commands.token import CreateToken, RevokeToken
from peercron.core.once import Once

__all__ = [
    "AbandonRestore",
    "AckItems",
    "AcquireLock",
    "AdoptSnapshot",
    "ApplyJobs",
    "ArrangeSlices",
    "AttemptFinished",
    "AttemptReady",
    "AttemptStarted",
    "Backfill",
    "BeginRestore",
    "CallHook",
    "CancelRun",
    "Checkpoint",
    "CloseClient",
    "Command",
    "Contend",
    "CreateToken",
    "DeleteCalendar",
    "DeleteJob",
    "DeleteKey",
    "DeletePool",
    "DeleteQueue",
    "DrainMember",
    "EmitEvent",
    "EndRuns",
    "ExpireLease",
    "ExpireSession",
    "ExtendDelivery",
    "FailBack",
    "Fire",
    "ForsakeLock",
    "GrantLock",
    "IncrKey",
    "Invite",
    "NackItems",
    "Once",
    "OpenClient",
    "OpenSession",
    "PauseCluster",
    "PauseJob",
    "PlaceRun",
    "Proposal",
    "PurgeQueue",
    "PutItem",
    "PutJob",
    "PutKey",
    "PutQueue",
    "ReceiveItems",
    "RecordSlices",
    "ReleaseLock",
    "ReplayItems",
    "ReportHealth",
    "ResumeCluster",
    "ResumeJob",
    "RevokeToken",
    "RunJob",
    "SetCalendar",
    "SetPool",
    "StageSnapshot",
    "TakeItem",
    "Uninvite",
]

Command = (
    OpenSession
    | ExpireSession
    | Invite
    | Uninvite
    | DrainMember
    | PutJob
    | ApplyJobs
    | DeleteJob
    | PauseJob
    | ResumeJob
    | RunJob
    | CancelRun
    | Fire
    | PlaceRun
    | AttemptStarted
    | AttemptFinished
    | PutKey
    | DeleteKey
    | BeginRestore
    | StageSnapshot
    | EndRuns
    | AdoptSnapshot
    | AbandonRestore
    | SetPool
    | SetCalendar
    | DeleteCalendar
    | PauseCluster
    | ResumeCluster
    | Backfill
    | DeletePool
    | OpenClient
    | CloseClient
    | ExpireLease
    | RecordSlices
    | ArrangeSlices
    | IncrKey
    | ReportHealth
    | PutQueue
    | DeleteQueue
    | PutItem
    | ReceiveItems
    | AckItems
    | NackItems
    | ExtendDelivery
    | PurgeQueue
    | ReplayItems
    | TakeItem
    | FailBack
    | AcquireLock
    | GrantLock
    | ReleaseLock
    | ForsakeLock
    | Checkpoint
    | CallHook
    | EmitEvent
    | AttemptReady
    | Contend
    | CreateToken
    | RevokeToken
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A command with its sender's name on it, so that a retry is answered and not applied again.

    `member` and `session` name the sender; `seq` grows by one per proposal of the session; all seqs below `floor` are
    answered and may be forgotten. `once` goes further: it holds whoever proposes it, in whatever session.
    """

    member: str
    session: int
    seq: int
    floor: int
    command: Command
    once: Once | None = None
