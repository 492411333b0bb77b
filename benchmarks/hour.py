"""hour: an hour of a cluster's work in simulated time, and whether what it holds in memory grows.

    python -m benchmarks.hour                          # an hour of 1,000 jobs: some minutes
    python -m benchmarks.hour --jobs 200 --minutes 600

The real planner plans, the real apply applies, three members start and end what they are given; there is no network and
no disk. Jobs come, change and go, members are lost and return, leaders change, answers get lost. Each job begins with
as much of a past as is ever kept. Every minute it looks at every table of the state, at the planner, and at the memory
of the process (with --trace also at all that Python has allocated, which takes three times as long); at the end it
says which of them were larger in the last third than in the third before.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from benchmarks.bigstate import add_past
from peercron.core.apply import apply_proposal
from peercron.core.commands import (
    AttemptFinished,
    AttemptStarted,
    Command,
    DeleteJob,
    DeleteKey,
    ExpireSession,
    OpenSession,
    Proposal,
    PutJob,
    PutKey,
)
from peercron.core.dispatcher import Announce, Forgo, Start, Stop, decide
from peercron.core.job import CommandTask, CronTrigger, Definition, EveryTrigger, Overlap
from peercron.core.limits import LEDGER_KEPT, LEDGER_KEPT_PER_JOB
from peercron.core.member import MemberInfo
from peercron.core.planner import Planner
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict

BEGIN_MS = 1_767_225_600_000
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
MEMBERS = ("a", "b", "c")
OVERLAPS = tuple(Overlap)
#: More than this share larger in the last third than before is growth.
SLACK = 0.05
#: Fewer than this many are no growth, whatever the share.
FEW = 64


@dataclass(slots=True)
class Member:
    """One member's end: its session, its answers, and what runs there until when."""

    name: str
    session: int = 0
    seq: int = 0
    running: dict[tuple[str, int], int] = field(default_factory=dict)


class Hour:
    """A cluster in simulated time. The same seed, the same hour.

    Args:
        jobs: how many there are all the time; the last tenth of them comes and goes.
        seed: of everything that happens.
        past: ledger entries that each job begins with.
    """

    def __init__(self, jobs: int, seed: int = 1, past: int = 0) -> None:
        self.state, self.now_ms, self.jobs = ClusterState(), BEGIN_MS, jobs
        self._dice = random.Random(seed)
        self._members = {name: Member(name) for name in MEMBERS}
        self.planner = Planner(self.state)
        self.applied = 0
        self._born = 0
        for member in self._members.values():
            self._return(member)
        for n in range(jobs):
            self._put_job(n)
        for job in self.state.jobs.values():
            add_past(self.state, job, past, BEGIN_MS, [f"id-{name}" for name in MEMBERS])
        self.state.now_ms = BEGIN_MS

    def pass_second(self) -> None:
        """One second: what is due is planned and done, what has run its time ends, and now and then something else."""
        self.now_ms += SECOND_MS
        while commands := self.planner.plan(self.now_ms):
            for command in commands:
                verdict = self._say(self._members["a"], command)
                # Now and then nobody hears the answer.
                self.planner.settle(command, verdict if self._dice.random() < 0.99 else None)
        for member in self._members.values():
            self._work(member)
        self._meddle()

    def sizes(self) -> dict[str, int]:
        """Rows of each table of the state and entries of each of the planner's, by name."""
        tables = {each.name: _leaves(getattr(self.state, each.name)) for each in fields(self.state)}
        return tables | {f"planner{name}": _entries(table) for name, table in vars(self.planner).items()}

    def _say(self, member: Member, command: Command) -> Verdict:
        member.seq += 1
        self.applied += 1
        floor = max(1, member.seq - 8)
        proposal = Proposal(f"id-{member.name}", member.session, member.seq, floor, command)
        return apply_proposal(self.state, proposal, self.now_ms)

    def _work(self, member: Member) -> None:
        ended = [key for key, until_ms in member.running.items() if until_ms <= self.now_ms]
        for run_id, token in ended:
            outcome = AttemptState.SUCCEEDED if self._dice.random() < 0.9 else AttemptState.FAILED
            output = "done, " + "x" * self._dice.randrange(100)
            self._say(member, AttemptFinished(run_id, token, outcome, self.now_ms, 0, "", output))
            del member.running[run_id, token]
        for instruction in decide(self.state, f"id-{member.name}", member.session, member.running):
            if isinstance(instruction, Start):
                run_id, token = instruction.run.id, instruction.attempt.token
                member.running[run_id, token] = self.now_ms + self._dice.choice((0, 0, 1, 1, 2)) * SECOND_MS
                self._say(member, AttemptStarted(run_id, token, self.now_ms))
            elif isinstance(instruction, Stop | Announce | Forgo):
                member.running[instruction.run_id, instruction.token] = 0

    def _meddle(self) -> None:
        dice = self._dice
        if dice.random() < 0.2:
            name = f"job-{self.jobs - 1 - dice.randrange(max(1, self.jobs // 10)):06d}"
            self._say(self._members["b"], DeleteJob(f"default/{name}"))
            self._put_job(int(name[4:]))
        if dice.random() < 0.1:
            self._put_job(dice.randrange(self.jobs))
        if dice.random() < 0.5:
            key = f"key-{dice.randrange(50)}"
            namespace = dice.choice(("default", f"ns-{key}"))
            words = (PutKey(namespace, key, dice.randbytes(50)), DeleteKey(namespace, key))
            self._say(self._members["c"], dice.choice(words))
        if dice.random() < 0.005:
            lost = self._members[dice.choice(MEMBERS)]
            self._say(self._members["a"], ExpireSession(f"id-{lost.name}", lost.session))
            self._return(lost)
        if dice.random() < 0.01:
            self.planner.close()
            self.planner = Planner(self.state, leading_since_ms=dice.choice((0, self.now_ms)))

    def _return(self, member: Member) -> None:
        member.session, member.seq, member.running = member.session + 1, 0, {}
        self._say(member, OpenSession(MemberInfo(f"id-{member.name}", member.name, "h:1", "h:2"), member.session))

    def _put_job(self, n: int) -> None:
        self._born += 1
        every = EveryTrigger((1, 5, 10, 10, 30, 60)[n % 6] * SECOND_MS, n)
        trigger = every if n % 3 else CronTrigger(f"{n % 60} * * * * *", "Europe/Berlin")
        task = CommandTask(("true", f"--born={self._born}"))
        definition = Definition(f"job-{n:06d}", trigger, task, overlap=OVERLAPS[n % len(OVERLAPS)])
        self._say(self._members["b"], PutJob(definition))


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _leaves(value: object) -> int:
    """Rows of a table; of a table of tables, of all of them."""
    if isinstance(value, dict):
        return sum(_leaves(inner) for inner in value.values())
    return max(1, len(value)) if isinstance(value, tuple) else 1


def _entries(table: object) -> int:
    """Of an agenda also those that wait to be dropped."""
    heap = getattr(table, "_heap", table)
    return len(heap) if isinstance(heap, (dict, list)) else 0


def grown(history: list[dict[str, int]]) -> dict[str, tuple[int, int]]:
    """What was larger in the last third than ever before, by more than SLACK: name -> (before, after)."""
    third = len(history) // 3
    before, after = _largest(history[third : 2 * third]), _largest(history[2 * third :])
    most = {name: size * (1 + SLACK) + FEW for name, size in before.items()}
    return {name: (before.get(name, 0), size) for name, size in after.items() if size > most.get(name, FEW)}


def _largest(sizes: Iterable[dict[str, int]]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for each in sizes:
        for name, size in each.items():
            largest[name] = max(size, largest.get(name, 0))
    return largest


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="count what Python allocates too")
    options = parser.parse_args(arguments)
    began, history = time.monotonic(), list[dict[str, int]]()
    if options.trace:
        tracemalloc.start(1)
    hour = Hour(options.jobs, options.seed, min(LEDGER_KEPT_PER_JOB, LEDGER_KEPT // options.jobs))
    for minute in range(options.minutes):
        for _ in range(60):
            hour.pass_second()
        gc.collect()
        allocated = {"allocated_bytes": tracemalloc.get_traced_memory()[0]} if options.trace else {}
        history.append(hour.sizes() | allocated | {"resident_bytes": resident_bytes()})
        told = {name: history[-1][name] for name in ("runs", "ended_runs", "ledger", "results", "resident_bytes")}
        print(f"minute {minute + 1}: {hour.applied:,} commands, {told}", flush=True)
    print(f"{options.minutes} minutes of {options.jobs:,} jobs in {time.monotonic() - began:.0f} s")
    print("\n".join(f"{name}: {size:,}" for name, size in sorted(history[-1].items()) if size > FEW))
    found = grown(history)
    print(f"GROWS: {found}" if found else f"nothing grew in the last {options.minutes // 3} minutes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
