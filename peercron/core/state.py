"""ClusterState: the plain data that every member holds, equal at the same index."""

from __future__ import annotations

from dataclasses import dataclass, field

from peercron.core.change import Change
from peercron.core.chronicle import Chronicle
from peercron.core.health import Opinion
from peercron.core.job import Cursor, Job
from peercron.core.lease import Lease
from peercron.core.lock import Grant, Lock, Waiter
from peercron.core.member import Invitation, Member, Seat
from peercron.core.once import Answered
from peercron.core.order import Heard
from peercron.core.queue import Delivery, Item, Line, Queue
from peercron.core.restore import Stage
from peercron.core.run import Run
from peercron.core.slices import Slices
from peercron.core.standing import Incumbent, Place, Wellness
from peercron.core.table import Table
from peercron.core.tally import Tally
from peercron.core.token import Token
from peercron.core.verdict import Verdict

#: Kind, namespace and name of something that programs wait for a change of.
Resource = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the shared state. `revision` is the index of its last write."""

    value: bytes
    revision: int
    created: int
    #: Id of the lease that it ends with; 0: it stays.
    lease: int = 0


@dataclass(slots=True)
class ClusterState:
    """Tables of frozen rows. `apply` changes the tables; nobody changes a row.

    `index` numbers the commands applied (each has its own, so that each grant has a token of its own, also when many
    commands travel in one log entry). Dicts keep insertion order, which is the same on all members. No inner table is
    empty: where nothing is left, the outer key goes too. What may have a hundred thousand rows is a `Table`, so that a
    snapshot keeps nobody waiting.
    """

    index: int = 0
    #: The largest now_ms seen; time in the state never goes back.
    now_ms: int = 0
    #: Job uid -> job.
    jobs: dict[str, Job] = field(default_factory=Table)
    #: "namespace/name" -> uid.
    job_uids: dict[str, str] = field(default_factory=Table)
    #: Job uid -> cursor.
    cursors: dict[str, Cursor] = field(default_factory=Table)
    #: Run id -> run: the live ones, in order of creation. `history.find_run` finds those that have ended too.
    runs: dict[str, Run] = field(default_factory=Table)
    #: Job uid -> run ids of live runs in order of creation (absent: none).
    live_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Job uid -> its last ended runs (at most RUNS_KEPT_PER_JOB), packed (see `history`), in order of their end.
    ended_runs: dict[str, tuple[bytes, ...]] = field(default_factory=Table)
    #: Job uid -> its last ledger entries (at most LEDGER_KEPT_PER_JOB), packed, oldest first. Outlives the job's
    #: deletion until purged.
    ledger: dict[str, tuple[bytes, ...]] = field(default_factory=Table)
    #: Runs that were ever created, and the ids of the last of them: run number n stands at n % RECENT_RUNS_KEPT.
    run_count: int = 0
    recent_runs: dict[int, str] = field(default_factory=Table)
    #: Member id -> member.
    members: dict[str, Member] = field(default_factory=dict)
    #: Member id -> its place, as of the last configuration in the log; empty: nobody was told of any.
    seats: dict[str, Seat] = field(default_factory=dict)
    #: Member id -> index of its removal, of the last REMOVED_KEPT that were removed; oldest first.
    removed: dict[str, int] = field(default_factory=dict)
    #: Address -> invitation, until somebody has a seat at that address; with the seats at most MEMBERS_MAX.
    invitations: dict[str, Invitation] = field(default_factory=dict)
    #: Member id -> index since when it is given nothing more, by an operator's word.
    drained: dict[str, int] = field(default_factory=dict)
    #: Grows when the cluster is recovered by force or takes over a snapshot: `index` then leaps to
    #: `(generation - 1) << GENERATION_SHIFT`, beyond every token and revision that the cluster before it gave out.
    generation: int = 1
    #: Of the configuration last told.
    recoveries: int = 0
    #: The replicated language in force: what all members were seen to speak; see `core.level`. It never falls.
    level: int = 1
    #: Index of the last change of the member table or of the seats.
    roster_revision: int = 0
    #: Member id -> seq -> verdict, for retries of the member's last session (also after it was expired).
    results: dict[str, dict[int, Verdict]] = field(default_factory=dict)
    #: Member id -> the floor its session last named: smaller seqs are answered and forgotten.
    floors: dict[str, int] = field(default_factory=dict)
    #: The last fencing token granted. A command grants at most once, so that a token names one attempt for ever.
    last_token: int = 0
    #: Member id -> run id -> token of its live attempts, in order of grant (absent: none).
    live_attempts: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Run id -> index since when it waits for a node: queued, and its turn has come.
    unplaced: dict[str, int] = field(default_factory=dict)
    #: Uid -> key of the last DELETED_JOBS_KEPT deleted jobs, whose runs and ledger are still kept; oldest first.
    deleted_jobs: dict[str, str] = field(default_factory=dict)
    #: Namespace -> key -> entry.
    keys: dict[str, dict[str, Key]] = field(default_factory=dict)
    #: Entries of `keys` over all namespaces.
    key_count: int = 0

    #: The restore under way; None: there is none.
    stage: Stage | None = None
    #: Number -> part of its snapshot, as far as they have come.
    staged: dict[int, bytes] = field(default_factory=dict)
    #: Restore id of the snapshot that was adopted last, so that who asks again is told that it is done; empty: none.
    adopted: str = ""
    #: Lease id -> lease: everything that ends by itself.
    leases: dict[int, Lease] = field(default_factory=Table)
    #: Client session -> ids of the leases that end with it (absent: none); each stands for itself.
    client_leases: dict[int, dict[int, int]] = field(default_factory=dict)
    #: Job uid -> whose its time is when, for jobs whose nodes fire by themselves. Outlives the job like its ledger.
    slices: dict[str, Slices] = field(default_factory=dict)
    #: Job uid -> node name -> the instant up to which that node's slots have their entries (absent: none has).
    slices_through: dict[str, dict[str, int]] = field(default_factory=dict)
    #: The last changes of keys by their number: the newest has `change_count - 1`, and none is missing in between.
    changes: dict[int, Change] = field(default_factory=dict)
    change_count: int = 0
    #: What `changes` count for.
    changes_bytes: int = 0
    #: All changes after this index are among `changes`.
    changes_floor: int = 0
    #: Idempotency key -> answer, and the same keys by number, as with `changes`; at most ANSWERS_KEPT.
    answers: dict[str, Answered] = field(default_factory=dict)
    answer_keys: dict[int, str] = field(default_factory=dict)
    answer_count: int = 0
    #: Job uid -> (check, member id of the node it is about, member id of the observer) -> what that one says. Only of
    #: observers whose session is open.
    health: dict[str, dict[tuple[str, str, str], Opinion]] = field(default_factory=dict)
    #: Topic -> job uid -> revision of the job that listens to it; see `listening`.
    listening: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Index of the last change in what the members have to look at.
    watch_revision: int = 0
    #: Job uid -> its line of members, the next one first (mode turns; absent: nobody had a turn yet).
    turns: dict[str, tuple[Place, ...]] = field(default_factory=dict)
    #: Job uid -> the member that does its work (mode standby; absent: nobody has yet).
    incumbents: dict[str, Incumbent] = field(default_factory=dict)
    #: Member id -> how it has been, since the first thing that was noted.
    wellness: dict[str, Wellness] = field(default_factory=dict)
    #: Job key -> uids of the jobs that come after it (absent: none), and job uid -> key of an upstream job -> what it
    #: has heard of it, while it has not heard of all (absent: of none). See `core.order`.
    followers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    joins: dict[str, dict[str, Heard]] = field(default_factory=dict)
    #: Pool -> how many attempts of its jobs may be alive, and pool -> run id -> index since when it waits for a place
    #: (absent: nobody does). See `core.capacity`.
    pools: dict[str, int] = field(default_factory=dict)
    pool_lines: dict[str, dict[str, int]] = field(default_factory=dict)
    #: An operator stopped all schedules; slots at or before the other instant fell into such a pause.
    paused: bool = False
    paused_through_ms: int = 0
    #: Calendar -> its rules; see `core.calendar`.
    calendars: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Run id -> members that are asked whether they contend for it and have not answered (absent: nobody is).
    contests: dict[str, tuple[str, ...]] = field(default_factory=dict)

    #: "namespace/name" -> queue.
    queues: dict[str, Queue] = field(default_factory=dict)
    #: "namespace/name" -> item id -> item, in order of their places.
    items: dict[str, dict[int, Item]] = field(default_factory=dict)
    #: Items of `items` over all queues, and the bytes of their payloads.
    item_count: int = 0
    item_bytes: int = 0
    #: The last number given to an item or to a place of one; they grow for ever.
    last_place: int = 0
    #: Token -> what a receiver has in its hands; each has a lease of the same id, or a run.
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    #: "namespace/name" -> unique key -> id of the item that had it and is gone; the last of each queue, oldest first.
    done_keys: dict[str, dict[str, int]] = field(default_factory=dict)

    #: "namespace/name" -> lock: those that somebody holds, waits for, or has just lost.
    locks: dict[str, Lock] = field(default_factory=dict)
    #: Lock -> token -> grant.
    lock_grants: dict[str, dict[int, Grant]] = field(default_factory=dict)
    #: Lock -> id -> waiter, the first in line first.
    lock_waiters: dict[str, dict[int, Waiter]] = field(default_factory=dict)
    #: Lock -> request -> its grant in force or its waiter.
    lock_requests: dict[str, dict[str, int]] = field(default_factory=dict)
    #: `Claim.who` -> grant in force or waiter -> lock.
    lock_owners: dict[str, dict[int, str]] = field(default_factory=dict)
    #: Waiters of all locks.
    lock_waiting: int = 0
    #: Job uid -> what the probe of its trigger last said: 1 well, 0 bad; under the id of the member where it is each
    #: member's own, else under "".
    edges: dict[str, dict[str, int]] = field(default_factory=dict)

    #: Member id -> job classes that it has said, in its open session, not to have (absent: none). See `lacking`.
    lacking: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Index of the last answer that was forgotten: all that were given after it are among `answers`.
    answers_floor: int = 0
    #: SHA-256 of an access token -> who holds it may do what; empty: whoever reaches a node may do everything.
    tokens: dict[bytes, Token] = field(default_factory=dict)

    #: Not replicated: queues whose items changed since the planner here last looked; None: there is none.
    changed_queues: dict[str, None] | None = field(
        default=None, compare=False, repr=False, metadata={"transient": True}
    )
    #: Not replicated: "namespace/name" -> what the rows of its items say, in order; see `apply.queue.line_of`.
    lines: dict[str, Line] = field(default_factory=dict, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: what the staged parts hold. The machine, which reads bytes, puts it here for AdoptSnapshot and
    #: takes it away again; None: they hold no state.
    staged_state: ClusterState | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: how many attempts are alive of what, from `live_attempts`; None: to be counted when asked for.
    occupied: dict[str, int] | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: client session -> id of a waiter in its name -> lock; None: to be looked up when asked for.
    client_waiters: dict[int, dict[int, str]] | None = field(
        default=None, compare=False, repr=False, metadata={"transient": True}
    )
    #: Not replicated: (job key, how it ended) of what a command has ended, until its last deed: those that come after
    #: are told.
    ended: list[tuple[str, Heard]] = field(
        default_factory=list, compare=False, repr=False, metadata={"transient": True}
    )
    #: Not replicated: uids of jobs that changed since the planner here last looked, in order; None: there is none.
    changed_jobs: dict[str, None] | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: ids of leases that began or ended since the leader here last looked; None: nobody counts.
    changed_leases: dict[int, None] | None = field(
        default=None, compare=False, repr=False, metadata={"transient": True}
    )
    #: Not replicated: locks that changed since the planner here last looked; None: there is none.
    changed_locks: dict[str, None] | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: resources that changed since this member last woke who waits for them; None: nobody listens.
    news: dict[Resource, None] | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: what has happened, as far as this member keeps it; None: it keeps nothing.
    chronicle: Chronicle | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: how often what has happened since this member began to count; None: it does not.
    tally: Tally | None = field(default=None, compare=False, repr=False, metadata={"transient": True})
    #: Not replicated: uids of jobs in slices that changed since this member last looked at its own; None: it does not.
    changed_slices: dict[str, None] | None = field(
        default=None, compare=False, repr=False, metadata={"transient": True}
    )

    def happened(self, kind: str, what: str, name: str, **facts: str | int) -> None:
        """Tell people and watchers; see `chronicle.KINDS`. Nothing is decided by it."""
        if self.chronicle is not None:
            self.chronicle.add(self.index, self.now_ms, kind, what, name, facts)
            self.tell("event", "", "")
        if self.tally is not None:
            self.tally.happened(self.now_ms, kind, what, name, facts)

    def touch(self, job_uid: str) -> None:
        """Note, for who looks only at what has changed, that the job, its cursor, its slices or its runs did."""
        if self.changed_jobs is not None:
            self.changed_jobs[job_uid] = None
        if self.changed_slices is not None and job_uid in self.slices:
            self.changed_slices[job_uid] = None

    def touch_lease(self, lease_id: int) -> None:
        """Note for who counts that the lease began or ended."""
        if self.changed_leases is not None:
            self.changed_leases[lease_id] = None

    def touch_lock(self, key: str) -> None:
        """Note for the planner, and for who waits, that the lock changed."""
        if self.changed_locks is not None:
            self.changed_locks[key] = None
        if self.news is not None:
            namespace, _, name = key.partition("/")
            self.news["lock", namespace, name] = None

    def touch_queue(self, namespace: str, name: str) -> None:
        """Note for the planner and for who waits that the queue or its items changed."""
        if self.changed_queues is not None:
            self.changed_queues[f"{namespace}/{name}"] = None
        self.tell("queue", namespace, name)

    def tell(self, kind: str, namespace: str, name: str) -> None:
        """Note for who waits that this resource changed: a "lock", "queue", "key", "job", "run" or "client"; a "waiter"
        when it is none any more; "event" when anything has happened.
        """
        if self.news is not None:
            self.news[kind, namespace, name] = None
