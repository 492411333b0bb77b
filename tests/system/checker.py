"""An independent judge: it knows what was asked for, what the witnesses saw and what the ledger says, and no more.

It shares no code with peercron, computes slots by plain arithmetic, and reads times of one clock: CLOCK_MONOTONIC of
the host, as the job processes wrote it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

#: A run with one of these in the ledger never started.
NEVER_STARTED = frozenset({"skipped", "missed"})
OUTCOMES = NEVER_STARTED | {"succeeded", "failed", "timed_out", "cancelled", "lost"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a witness."""

    word: str
    run_id: str
    attempt: int
    token: int
    node: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A job as the test made it: a slot at every whole multiple of `every_ms`.

    Slots in [from_ms, to_ms] must all be there. None may lie before `made_ms`, and those after `paused_ms` must be
    skipped. Between these pairs the request was on its way, and either is right.
    """

    name: str
    every_ms: int
    made_ms: int
    from_ms: int
    to_ms: int
    paused_ms: int
    #: Outcomes that this job's slots may have.
    outcomes: frozenset[str] = OUTCOMES
    #: Its runs follow one another, so that their tokens must grow in order of their starts, too.
    serial: bool = False


@dataclass(slots=True)
class Verdict:
    """What was found. `faults` is empty when all is well."""

    faults: list[str] = field(default_factory=list)
    slots: int = 0
    attempts: int = 0
    second_attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        head = f"{self.slots} slots ({counts}), {self.attempts} attempts, {self.second_attempts} of them not the first"
        return "\n".join([head, *self.faults[:50], f"{len(self.faults)} faults" if self.faults else "no fault"])


def read_witness(path: Path) -> list[Line]:
    """All lines, in the order in which they were written."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        word, run_id, attempt, token, node, at_ns = text.split()
        lines.append(Line(word, run_id, int(attempt), int(token), node, int(at_ns)))
    return lines


def judge(asked: Sequence[Asked], ledgers: Mapping[str, Sequence[Mapping[str, Any]]], lines: Iterable[Line]) -> Verdict:
    """The whole verdict. `ledgers`: job name -> rows with run, slot, outcome, attempts, token."""
    verdict = Verdict()
    by_run: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_run[line.run_id].append(line)
    known: set[str] = set()
    for job in asked:
        rows = ledgers[job.name]
        known |= {row["run"] for row in rows}
        check_slots(job, rows, verdict.faults)
        for row in rows:
            verdict.outcomes[row["outcome"]] += 1
            check_outcome(job, row, by_run.get(row["run"], []), verdict.faults)
        if job.serial:
            check_serial(job.name, [line for row in rows for line in by_run.get(row["run"], [])], verdict.faults)
    verdict.faults += [f"{run_id}: it ran, and no ledger knows it" for run_id in by_run.keys() - known]
    for run_id, seen in by_run.items():
        check_attempts(run_id, seen, verdict.faults)
    check_tokens(by_run, verdict.faults)
    starts = [line for seen in by_run.values() for line in seen if line.word == "start"]
    verdict.slots = verdict.outcomes.total()
    verdict.attempts = len(starts)
    verdict.second_attempts = sum(line.attempt > 1 for line in starts)
    return verdict


def check_slots(job: Asked, rows: Sequence[Mapping[str, Any]], faults: list[str]) -> None:
    """Every slot exactly once, and none that nobody asked for."""
    counts = Counter(row["slot"] for row in rows)
    faults += [f"{job.name}: slot {slot} is there {n} times" for slot, n in counts.items() if n > 1]
    first = -(-job.from_ms // job.every_ms) * job.every_ms
    due = range(first, job.to_ms + 1, job.every_ms)
    faults += [f"{job.name}: slot {slot} is not in the ledger" for slot in due if slot not in counts]
    strays = [slot for slot in counts if slot % job.every_ms or slot < job.made_ms]
    strays += [row["slot"] for row in rows if row["slot"] > job.paused_ms and row["outcome"] != "skipped"]
    faults += [f"{job.name}: nobody asked for slot {slot}" for slot in strays]
    ids = Counter(row["run"] for row in rows)
    faults += [f"{job.name}: two slots share the run {run_id}" for run_id, n in ids.items() if n > 1]


def check_outcome(job: Asked, row: Mapping[str, Any], seen: Sequence[Line], faults: list[str]) -> None:
    """What the ledger says of a run is what its witnesses saw."""
    run, outcome = row["run"], row["outcome"]
    if outcome not in job.outcomes and not (outcome == "skipped" and row["slot"] > job.to_ms):
        faults.append(f"{run}: {outcome} ({row.get('reason', '')}) is no outcome for {job.name}")
    if outcome in NEVER_STARTED and seen:
        faults.append(f"{run}: {outcome}, but it ran")
    ended = {line.token for line in seen if line.word == "end"}
    if outcome == "succeeded" and row["token"] not in ended:
        faults.append(f"{run}: succeeded under token {row['token']}, but that attempt never came to its end")
    granted = max((line.attempt for line in seen), default=0)
    if granted > row["attempts"]:
        faults.append(f"{run}: attempt {granted} ran, the ledger knows of {row['attempts']}")


def check_attempts(run_id: str, seen: Sequence[Line], faults: list[str]) -> None:
    """No two attempts of a run alive at once; tokens grow from each to the next."""
    faults += [f"{run_id}: attempt {line.attempt} met another one alive" for line in seen if line.word == "overlap"]
    starts = [line for line in seen if line.word == "start"]
    numbers = Counter(line.attempt for line in starts)
    faults += [f"{run_id}: attempt {n} started {count} times" for n, count in numbers.items() if count > 1]
    for earlier, later in pairwise(sorted(starts, key=lambda line: line.at_ns)):
        if later.token <= earlier.token or later.attempt <= earlier.attempt:
            faults.append(f"{run_id}: {later} came after {earlier}")
        last_ns = max(line.at_ns for line in seen if line.token == earlier.token)
        if last_ns >= later.at_ns:
            faults.append(f"{run_id}: attempt {earlier.attempt} was alive when {later.attempt} started")


def check_serial(name: str, seen: Iterable[Line], faults: list[str]) -> None:
    """Runs of one job that never overlap: tokens grow with the starts, and each start comes after what came before."""
    last = Line("", "", 0, 0, "", 0)
    for line in sorted(seen, key=lambda line: line.at_ns):
        if line.word == "start":
            if line.token <= last.token:
                faults.append(f"{name}: {line} has no larger token than {last}")
            last = line
        elif line.token != last.token:
            faults.append(f"{name}: {line} was alive after {last} had started")


def check_tokens(by_run: Mapping[str, Sequence[Line]], faults: list[str]) -> None:
    """A token belongs to one attempt of one run."""
    owners: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for run_id, seen in by_run.items():
        for line in seen:
            owners[line.token].add((run_id, line.attempt))
    faults += [f"token {token} was granted to {sorted(who)}" for token, who in owners.items() if len(who) > 1]
