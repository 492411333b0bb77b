"""ClusterState: the plain data that every member holds, equal at the same index."""

from __future__ import annotations

from dataclasses import dataclass, field

from peercron.core.job import Cursor, Job
from peercron.core.member import Member
from peercron.core.run import LedgerEntry, Run
from peercron.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the shared state. `revision` is the index of its last write."""

    value: bytes
    revision: int
    created: int


@dataclass(slots=True)
class ClusterState:
    """Tables of frozen rows. `apply` changes the tables; nobody changes a row.

    `index` numbers the commands applied (each has its own, so that each grant has a token of its own, also when many
    commands travel in one log entry). Dicts keep insertion order, which is the same on all members.
    """

    index: int = 0
    #: The largest now_ms seen; time in the state never goes back.
    now_ms: int = 0
    #: Job uid -> job.
    jobs: dict[str, Job] = field(default_factory=dict)
    #: "namespace/name" -> uid.
    job_uids: dict[str, str] = field(default_factory=dict)
    #: Job uid -> cursor.
    cursors: dict[str, Cursor] = field(default_factory=dict)
    #: Run id -> run: the live ones and the last RUNS_KEPT_PER_JOB finished ones of each job.
    runs: dict[str, Run] = field(default_factory=dict)
    #: Job uid -> run ids of live runs in order of creation (absent: none).
    live_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Job uid -> run ids of finished runs still in `runs`, oldest first.
    finished_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Job uid -> run id -> entry, oldest first, at most LEDGER_KEPT_PER_JOB. Outlives the job's deletion until purged.
    ledger: dict[str, dict[str, LedgerEntry]] = field(default_factory=dict)
    #: Member id -> member.
    members: dict[str, Member] = field(default_factory=dict)
    #: Member id -> seq -> verdict, for retries of the member's current session.
    results: dict[str, dict[int, Verdict]] = field(default_factory=dict)
    #: Namespace -> key -> entry.
    keys: dict[str, dict[str, Key]] = field(default_factory=dict)
