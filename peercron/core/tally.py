"""Tally: how often what has happened, as apply tells it: for people and their monitors, never for control.

Like the chronicle it is not replicated. Each member counts what it applies; all apply the same, so all count the same,
from wherever they began. What costs more than a look to find in the state is kept here beside it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from peercron.core.histogram import Histogram
from peercron.core.limits import TALLIED_JOBS_MAX
from peercron.core.run import Attempt, Run

if TYPE_CHECKING:
    from peercron.core.lease import Lease
    from peercron.core.state import ClusterState

#: What stands for all jobs that have no name of their own here.
OTHER: Final = ("", "other")
#: What ends a run, and what takes the place of one.
ENDS: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
UNMADE: Final = frozenset({"skipped", "missed"})

#: What the reason of a slot without a run says -> the word for it, the first that fits.
REASONS: Final[tuple[tuple[str, str], ...]] = (
    ("the job was paused", "job_paused"),
    ("the cluster was paused", "cluster_paused"),
    ("no leader with a quorum decided it in time", "no_leader"),
    ("(overlap ", "overlap"),
    (" day of calendar ", "calendar"),
    ("misfire", "misfire"),
    ("an earlier slot was made up for", "misfire"),
    (" slots were due", "misfire"),
    ("(require ", "upstream"),
    ("of its slice", "slice"),
    ("refused its slices", "slice"),
    ("was held up until its slice", "slice"),
    ("was down", "node_down"),
    ("there is no node", "node_down"),
)
REASON_OTHER: Final = "other"
#: All words for reasons.
WORDS: Final = (*dict.fromkeys(word for _, word in REASONS), REASON_OTHER)

LATENESS_MS: Final = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
DURATION_MS: Final = (50, 250, 1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000)


class Tally:
    """Counts that only grow, from the member's start on; and stocks, which `take_stock` counts anew."""

    def __init__(self) -> None:
        #: (namespace, job) -> outcome -> runs, of the first TALLIED_JOBS_MAX jobs that had one; OTHER: of all others.
        self.runs: dict[tuple[str, str], Counter[str]] = {}
        #: The same -> when a run last succeeded; of no more than those that are counted by name.
        self.succeeded_ms: dict[tuple[str, str], int] = {}
        #: What made runs: schedule, hand or event.
        self.created: Counter[str] = Counter()
        #: (skipped or missed, word for the reason) -> slots.
        self.unmade: Counter[tuple[str, str]] = Counter()
        #: How an attempt ended -> how many did, and after how many of them another one is to follow.
        self.attempts: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        #: (kind, what) of `chronicle.KINDS`.
        self.events: Counter[tuple[str, str]] = Counter()
        #: From when a slot was due to when its first attempt had started.
        self.lateness_ms = Histogram(LATENESS_MS)
        self.duration_ms = Histogram(DURATION_MS)
        #: Keys of paused jobs, and leases by kind.
        self.paused: dict[str, None] = {}
        self.leases: Counter[str] = Counter()

    def take_stock(self, state: ClusterState) -> None:
        """Another state is counted on from here."""
        self.paused = {job.key: None for job in state.jobs.values() if job.paused}
        self.leases = Counter(lease.kind.value for lease in state.leases.values())

    def happened(self, at_ms: int, kind: str, what: str, name: str, facts: dict[str, Any]) -> None:
        """See `ClusterState.happened`."""
        self.events[kind, what] += 1
        if kind == "run":
            self._run(at_ms, what, name, facts)
        elif kind == "job":
            self._job(what, name)

    def started(self, run: Run, attempt: Attempt, due_ms: int) -> None:
        """An attempt says that it has started. Only the first one of what had an instant can be late for it."""
        if attempt.n == 1 and attempt.started_ms is not None and has_instant(run):
            self.lateness_ms.observe(max(0, attempt.started_ms - due_ms))

    def ended(self, attempt: Attempt) -> None:
        self.attempts[attempt.state.value] += 1
        if attempt.started_ms is not None and attempt.finished_ms is not None:
            self.duration_ms.observe(max(0, attempt.finished_ms - attempt.started_ms))

    def leased(self, lease: Lease, more: int) -> None:
        """There is one more, or one less (-1)."""
        self.leases[lease.kind.value] += more

    def _run(self, at_ms: int, what: str, name: str, facts: dict[str, Any]) -> None:
        if what == "retrying":
            self.retries[facts["reason"].partition(":")[0]] += 1
        elif "#" in facts["run"]:
            return  # a shard is a part of a run
        elif what in UNMADE:
            self.unmade[what, word_for(facts["reason"])] += 1
        elif what in ENDS:
            job = self._place(name)
            self.runs.setdefault(job, Counter())[what] += 1
            if what == "succeeded" and job != OTHER:
                self.succeeded_ms[job] = at_ms
        elif what == "created":
            self.created[facts["by"] if facts["by"] in ("hand", "schedule") else "event"] += 1

    def _job(self, what: str, name: str) -> None:
        if what == "paused":
            self.paused[name] = None
        elif what in ("resumed", "deleted"):
            self.paused.pop(name, None)
        if what == "deleted":
            self.runs.pop(_split(name), None)  # another job may have its place
            self.succeeded_ms.pop(_split(name), None)

    def _place(self, name: str) -> tuple[str, str]:
        """Under what the job is counted."""
        key = _split(name)
        return key if key in self.runs or len(self.runs) < TALLIED_JOBS_MAX else OTHER


def has_instant(run: Run) -> bool:
    """Whether its time had come, and nothing else made it: its name is that of an instant (see `apply.ledger`)."""
    return not run.manual and run.id.rpartition("/")[2][:1].isdigit()


def word_for(reason: str) -> str:
    """One of the few words by which reasons are counted.

    >>> word_for("run a/1 was still running (overlap forbid, 1 alive)")
    'overlap'
    """
    return next((word for part, word in REASONS if part in reason), REASON_OTHER)


def _split(key: str) -> tuple[str, str]:
    namespace, _, name = key.partition("/")
    return namespace, name
