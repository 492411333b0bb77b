"""What was seen of a cluster on which jobs of all modes ran while nodes were lost: all that `modes_judge` knows.

All times are milliseconds of UTC, of the one host on which everything ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.system.checker import Line

Row = Mapping[str, Any]
WRONG_CLOCK = "wrong clock"


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which one thing was wrong, or nothing. `name` is the column of the table."""

    name: str
    from_ms: int
    to_ms: int
    #: From here on the cluster has had the time that it asks for to get over what happened at `from_ms`.
    settled_ms: int
    #: The node that something is done to in it, and what: killed, hung, cut off, wrong clock.
    lost: str = ""
    how: str = ""
    #: When the node that was lost before it opened a new session, and stood in line again.
    joined_ms: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was made: a slot at every whole multiple of `every_ms`; see `checker.Asked`."""

    name: str
    mode: str
    every_ms: int
    made_ms: int = 0
    from_ms: int = 0
    to_ms: int = 0
    paused_ms: int = 0
    #: How long its runs may take from slot to end while all is well.
    takes_ms: int = 800
    misfire: str = "latest"
    #: How many shards have to succeed: all, majority, any.
    quorum: str = "all"
    #: The order of its nodes, where that has a meaning.
    order: tuple[str, ...] = ()
    failback_ms: int = 0
    slice_ms: int = 0
    #: When its process hangs: after so long it is timed out, and after so much more it is dead.
    timeout_ms: int = 2_000
    grace_ms: int = 500


@dataclass(frozen=True, slots=True)
class Hung:
    """A job's process that was stopped, and when it was found dead; None: never."""

    job: str
    run: str
    token: int
    died_ms: float | None


@dataclass(slots=True)
class Life:
    """One attempt as its process wrote it down."""

    #: The run's id, without the number of a shard.
    run: str
    #: Number of the shard; -1: it is none.
    shard: int
    attempt: int
    token: int
    node: str
    start_ms: float
    #: Its last sign of life.
    last_ms: float
    #: It came to its end.
    ended: bool = False
    #: It found another one alive.
    met: bool = False

    @property
    def slot_ms(self) -> int:
        return int(self.run.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything."""

    #: In the order in which slices are dealt out.
    nodes: tuple[str, ...]
    lease_ms: int
    phases: Sequence[Phase]
    jobs: Sequence[Job]
    #: Job -> its uid, and its ledger.
    uids: Mapping[str, str]
    ledgers: Mapping[str, Sequence[Row]]
    lives: Sequence[Life]
    #: Run -> how many shards its processes were told of.
    shards: Mapping[str, int] = field(default_factory=dict)
    hung: Sequence[Hung] = ()
    #: From when to when the machine itself stood still, or left all this without a core.
    stalls: Sequence[tuple[float, float]] = ()

    def stood_still(self, from_ms: float, to_ms: float) -> bool:
        return any(begun < to_ms and from_ms < ended for begun, ended in self.stalls)

    def phase_at(self, at_ms: float) -> Phase | None:
        return next((phase for phase in self.phases if phase.from_ms <= at_ms < phase.to_ms), None)

    def living(self, phase: Phase) -> tuple[str, ...]:
        """Who takes part: also whose clock is wrong, in all but slices."""
        return tuple(node for node in self.nodes if node != phase.lost or phase.how == WRONG_CLOCK)

    def has_quorum(self, phase: Phase) -> bool:
        return 2 * len(self.living(phase)) > len(self.nodes)

    def of(self, job: Job) -> list[Life]:
        """The job's attempts in order of their starts."""
        own = [life for life in self.lives if life.run.startswith(f"{self.uids[job.name]}/")]
        return sorted(own, key=lambda life: life.start_ms)


def lives_of(lines: Iterable[Line], offset_ms: float) -> list[Life]:
    """Attempts from the lines of their witness; `offset_ms`: wall clock minus the witness's clock."""
    lives: list[Life] = []
    latest: dict[tuple[str, int, str], Life] = {}
    met: set[tuple[str, int, str]] = set()
    for line in lines:
        which, at_ms = (line.run_id, line.token, line.node), line.at_ns / 1e6 + offset_ms
        if line.word == "overlap":
            met.add(which)
        elif line.word == "start":
            run, _, shard = line.run_id.partition("#")
            number = int(shard) if shard else -1
            life = Life(run, number, line.attempt, line.token, line.node, at_ms, at_ms, met=which in met)
            latest[which] = life
            lives.append(life)
        elif which in latest:
            latest[which].last_ms = max(latest[which].last_ms, at_ms)
            latest[which].ended |= line.word == "end"
    return lives
