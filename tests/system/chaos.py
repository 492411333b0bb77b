"""A cluster on hosts of its own whose network falls apart at random, under work, judged at the end.

    python -m tests.system.chaos --minutes 5 --nodes 5 --kills --stops

Each node stands in a network namespace. Sixteen clients use the shared state (get, put, cas, incr, delete), locks and
semaphores (with a time, in a session, waiting or not, renewed or left to end) and queues (put, receive, ack, nack,
extend), over HTTP; jobs fire every second. Meanwhile the network is cut: hosts alone, halves, one direction only,
bridges, rings; with --kills and --stops nodes also die or hang. Then all is mended, and the judges say whether

* every answer about every key, lock, semaphore and queue fits one copy that does one thing after another
  (tests/linearizable), in which nothing ends by time before its holder was told that it would,
* every slot of every job is in the ledger exactly once, no two attempts of a run and no two runs of a job that forbids
  it were alive at once, and tokens grew (tests/system/checker.py),
* all nodes serve again soon, and hold the same state.

Exit status 0 when they are content. Needs root and iproute2.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.linearizable import Model, Operation, Undecided, check
from tests.system.asking import Came, History
from tests.system.checker import Verdict
from tests.system.faults import Misfortune
from tests.system.netns import Network, unavailable
from tests.system.processes import Cluster, Node, TookTooLong, running, wait_for
from tests.system.soak import KINDS, LONG, Soak
from tests.system.traffic import MODELS, Traffic

#: How long one fault lasts and how long all is well after it, at least and at most.
FAULT_S = 0.5, 6.0
CALM_S = 0.5, 4.0
#: When all is mended, every node takes a write within this time.
RECOVER_S = 15.0
#: The ledger keeps a thousand slots of a job.
MINUTES_MAX = 15.0


@dataclass(slots=True)
class Report:
    """What happened and what was found."""

    seed: int
    seconds: float
    history: History
    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    #: From the mending until every node took a write.
    recovered_s: float = 0.0
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.complaints and not self.verdict.faults

    def _logs(self) -> str:
        """How much each kind of thing was used, how many of them there were, and how much of that is unknown."""
        return ", ".join(
            f"{len(log)} of {len({o.key for o in log})} {name}s of which {sum(o.ret is None for o in log)} unknown"
            for name, log in self.history.logs.items()
        )

    def __str__(self) -> str:
        came, verdict = self.history.came, self.verdict
        outcomes = ", ".join(f"{n} {name}" for name, n in sorted(verdict.outcomes.items()))
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s, {self.faults.total()} faults:"
            f" {', '.join(f'{n} {name}' for name, n in sorted(self.faults.items()))};"
            f" {self.history.size} operations: {self._logs()} ({came[Came.UNKNOWN]} with unknown outcome,"
            f" {came[Came.NOTHING]} more refused); {verdict.slots} slots ({outcomes}), {verdict.attempts} attempts,"
            f" {verdict.second_attempts} of them not the first; recovered in {self.recovered_s:.2f} s",
            *self.complaints,
            *verdict.faults[:50],
        ]
        lines.append("linearizable, complete, nothing twice at once" if self.good else "NOT GOOD")
        return "\n".join(lines)


@dataclass(slots=True)
class Chaos:
    """One run of the program."""

    folder: Path
    nodes: int
    seed: int
    kills: bool = False
    stops: bool = False
    jobs: int = 8
    #: Told what goes on, and how much of the time is over (0 to 1).
    tell: Callable[[str, float], None] = lambda what, part: None

    def run(self, seconds: float) -> Report:
        with Network(self.nodes) as network:
            cluster = Cluster(self.folder, self.nodes, network=network)
            self.tell("the nodes start", 0)
            with running(cluster):
                return self._under_work(cluster, network, seconds)

    def _under_work(self, cluster: Cluster, network: Network, seconds: float) -> Report:
        rng = random.Random(self.seed)
        soak = Soak(cluster, self.folder, rng)
        soak.add_jobs(self.jobs, (*KINDS, LONG))
        misfortune = Misfortune(cluster, network, rng, self.kills, self.stops)
        with Traffic(cluster.nodes) as traffic:
            report = Report(self.seed, seconds, traffic.history, Verdict())
            self._misfortunes(misfortune, seconds, report)
            report.recovered_s = self._recovery(cluster, report)
            # Also what was under way then is done: the last answers of the clients are part of the history.
            time.sleep(1.0)
        self.tell("judging", 1)
        soak.pause()
        report.verdict = soak.verdict()
        report.complaints += [f"surprising: {surprise}" for surprise in traffic.history.surprises[:20]]
        for log, model in MODELS.items():
            report.complaints += judged(traffic.history.whole(log), model)
        return report

    def _misfortunes(self, misfortune: Misfortune, seconds: float, report: Report) -> None:
        begun = time.monotonic()
        while (over := time.monotonic() - begun) < seconds:
            fault = misfortune.next()
            self.tell(fault.name, over / seconds)
            misfortune.begin(fault)
            time.sleep(min(misfortune.random.uniform(*FAULT_S), max(0.0, seconds - over)))
            misfortune.end(fault)
            report.faults[fault.kind] += 1
            over = time.monotonic() - begun
            self.tell("all is well", over / seconds)
            time.sleep(min(misfortune.random.uniform(*CALM_S), max(0.0, seconds - over)))

    def _recovery(self, cluster: Cluster, report: Report) -> float:
        """Seconds until every node has taken a write."""
        begun = time.monotonic()
        for node in cluster.nodes:
            try:
                wait_for(lambda node=node: takes_a_write(node), f"{node.name} to take a write", RECOVER_S)  # type: ignore[misc]
            except TookTooLong as error:
                report.complaints.append(f"all is mended: {error}")
        return time.monotonic() - begun


def takes_a_write(node: Node) -> bool:
    return 200 <= node.request("PUT", f"/v1/state/recovered/{node.name}", b"yes", timeout=2.0)[0] < 300


def judged(history: list[Operation], model: Model) -> list[str]:
    """What is wrong with a history; an empty list: nothing."""
    try:
        violation = check(history, model)
    except Undecided as error:
        return [f"UNDECIDED: {error}"]
    return [] if violation is None else [f"NOT LINEARIZABLE: {violation}"]


class Teller:
    """A progress bar on a terminal; elsewhere a line for each thing that happens."""

    def __init__(self) -> None:
        columns = (
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("", total=1)
        self._begun = time.monotonic()

    def __enter__(self) -> Teller:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, what: str, part: float) -> None:
        self._bar.update(self._task, description=what, completed=part)
        if self._bar.disable:
            print(f"{time.monotonic() - self._begun:7.1f} s  {what}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help=f"at most {MINUTES_MAX:g}; default 5")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--kills", action="store_true", help="kill and restart nodes, too")
    parser.add_argument("--stops", action="store_true", help="stop and continue nodes, too")
    options = parser.parse_args(arguments)
    if options.minutes > MINUTES_MAX:
        parser.error(f"--minutes: at most {MINUTES_MAX:g}, since the ledger keeps a thousand slots")
    if reason := unavailable():
        parser.error(reason)
    folder = Path(tempfile.mkdtemp(prefix="peercron-chaos-"))
    print(f"seed {options.seed}, everything is in {folder}", flush=True)
    with Teller() as teller:
        chaos = Chaos(folder, options.nodes, options.seed, options.kills, options.stops, options.jobs, teller)
        report = chaos.run(options.minutes * 60)
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
