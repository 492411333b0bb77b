"""Commands: everything that can be asked of the state machine, as plain data. `apply` has one case for each.

A command is refused or done as a whole; a refusal changes nothing. Times are the proposer's (`now_ms` comes with the
batch, stamped by the leader and never going back).
"""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.job import Definition
from peercron.core.member import MemberInfo, Role
from peercron.core.run import AttemptState


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A node (re)joins with a session number larger than any before: what its older sessions held is certified dead."""

    info: MemberInfo
    session: int


@dataclass(frozen=True, slots=True)
class ExpireSession:
    """The leader saw no renewal for a lease: what the session held is given up; its runs get new attempts elsewhere."""

    member: str  # MemberInfo.id
    session: int


@dataclass(frozen=True, slots=True)
class Invite:
    """Whoever joins at this address is taken as this. Again for the same address: the last word counts."""

    address: str
    role: Role = Role.VOTER
    name: str = ""


@dataclass(frozen=True, slots=True)
class Uninvite:
    address: str


@dataclass(frozen=True, slots=True)
class DrainMember:
    """With `drained` it is given nothing more, and what runs there goes on; without, it is given work again."""

    member: str  # Seat.id
    drained: bool = True


@dataclass(frozen=True, slots=True)
class PutJob:
    """Create or replace a job; unchanged changes nothing. `if_revision`: None any, 0 only create, n only replace n."""

    definition: Definition
    if_revision: int | None = None
    #: Also set `paused`; None leaves it as it is.
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class ApplyJobs:
    """All or nothing: put these; with `prune_owner`, delete that owner's other jobs; `only_if_empty` is for seeds."""

    definitions: tuple[Definition, ...]
    prune_owner: str | None = None
    only_if_empty: bool = False
    #: Keys of jobs that shall be paused or not; the others stay as they are, since a pause is an operator's word.
    paused: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Remove a job; its queued runs are cancelled at once, its running ones by their nodes."""

    key: str
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class PauseJob:
    key: str


@dataclass(frozen=True, slots=True)
class ResumeJob:
    """Slots of the pause are skipped with the reason; the next is a future one."""

    key: str


@dataclass(frozen=True, slots=True)
class RunJob:
    """A manual run, now; passes through the overlap policy like any slot."""

    key: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    run_id: str


@dataclass(frozen=True, slots=True)
class Fire:
    """The leader's step of one job's cursor: these slots came due, in order; the next is `next_ms` (-1: none).

    Refused unless the job's revision and cursor are the ones named: a deposed leader's plan changes nothing. With no
    slots it only says when the next one is. `through_ms` is the new cursor: all slots at or before it are in `slots`,
    but for those of a gap too long to list (`unlisted_through_ms`).
    """

    job_uid: str
    revision: int
    after_ms: int
    slots: tuple[int, ...]
    through_ms: int
    next_ms: int
    #: The job's period around here in ms (0: none), for the default misfire window.
    period_ms: int = 0
    #: Slots of the same gap that are due too and follow in further commands: the misfire policy chooses among all.
    later: int = 0
    #: Last slot of a gap's older part that is not listed one by one (0: none): it is missed as one ledger entry.
    unlisted_through_ms: int = 0
    #: Slots at or before this instant were due before this leader led (0: none): there was no quorum to decide them, so
    #: those that are not made up for are skipped and not missed.
    leaderless_through_ms: int = 0


@dataclass(frozen=True, slots=True)
class PlaceRun:
    """The leader found a queued run that can go now (a node is there, or the run it waited for has ended)."""

    run_id: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    run_id: str
    token: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """The result of an attempt. A superseded token is refused (stale_token) and kept as a note on its attempt."""

    run_id: str
    token: int
    outcome: AttemptState
    finished_ms: int
    exit_code: int | None = None
    reason: str = ""
    output_tail: str = ""


@dataclass(frozen=True, slots=True)
class PutKey:
    """Write shared state. `if_revision`: None any, 0 only create, n only if the key's revision is n."""

    namespace: str
    key: str
    value: bytes
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteKey:
    namespace: str
    key: str
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class BeginRestore:
    """A snapshot of so many parts and bytes will come; a restore under way with another id is given up.

    The same once more changes nothing, so that a restore that broke off goes on. Refused (conflict) where the cluster
    has something that the snapshot would replace, unless `force`.
    """

    restore_id: str
    parts: int
    size: int
    force: bool = False
    #: Of the language that it is written in (`core.level`).
    level: int = 1


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """One part of it, in any order; a part that is there already changes nothing."""

    restore_id: str
    part: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EndRuns:
    """Before a restore by force: cancel every run, and grant nothing until the restore is over."""

    restore_id: str


@dataclass(frozen=True, slots=True)
class AdoptSnapshot:
    """Put what was staged in the place of what the cluster has. Refused while a part is missing or an attempt lives.

    `digest`: BLAKE2b (32 bytes) of all parts in their order.
    """

    restore_id: str
    parts: int
    digest: bytes
    force: bool = False


@dataclass(frozen=True, slots=True)
class AbandonRestore:
    """Give the restore up; but for runs that were ended for it, nothing has changed.

    `if_touched_ms`: only if nobody has added to it since then.
    """

    restore_id: str
    if_touched_ms: int | None = None


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
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A command with its sender's name on it, so that a retry is answered and not applied again.

    `member` and `session` name the sender; `seq` grows by one per proposal of the session; all seqs below `floor` are
    answered and may be forgotten.
    """

    member: str
    session: int
    seq: int
    floor: int
    command: Command
