"""A cluster under work while random nodes are killed, judged at the end by the checker.

    python -m tests.system.soak --jobs 20 --minutes 3 --kill-every 10

Every job fires once a second. A third of them may overlap themselves and make up for every slot; a third forbid it; a
third have runs longer than their period. Exit status 0 when the ledger has every slot exactly once, no two attempts of
one run were alive together, and tokens grew.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.system.checker import Asked, Verdict, judge, read_witness
from tests.system.processes import Cluster, cluster_in, wait_for

WITNESS = Path(__file__).with_name("witness.py")
EVERY_MS = 1_000
#: A killed node stays away for a random time up to this.
AWAY_S = 3.0
MADE_UP_FOR = {"policy": "all", "window": "1h", "max": 100}


def witness(folder: Path, seconds: float, *more: str) -> list[str]:
    """The command of a job that is watched."""
    return [sys.executable, "-I", "-S", str(WITNESS), str(folder), str(seconds), *more]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job in the soak."""

    seconds: float
    definition: dict[str, Any]
    outcomes: frozenset[str]
    serial: bool


KINDS = (
    Kind(0.1, {"overlap": "allow", "misfire": MADE_UP_FOR}, frozenset({"succeeded"}), serial=False),
    Kind(0.3, {"overlap": "forbid"}, frozenset({"succeeded", "skipped", "missed"}), serial=True),
    Kind(1.4, {"overlap": "forbid"}, frozenset({"succeeded", "skipped", "missed"}), serial=True),
)
#: Longer than a lease: when a node is given up, such a run of it still lives, if nobody ends it.
LONG = Kind(5.0, {"overlap": "forbid"}, frozenset({"succeeded", "skipped", "missed"}), serial=True)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Soak:
    """One run of the program; `asked` says at each moment what the ledger must show."""

    cluster: Cluster
    folder: Path
    random: random.Random
    asked: list[Asked] = field(default_factory=list)
    kills: int = 0

    def add_jobs(self, count: int, kinds: Sequence[Kind] = KINDS) -> None:
        for i in range(count):
            kind = kinds[i % len(kinds)]
            name = f"job-{i + 1}"
            trigger = {"schedule": "* * * * * *"} if i % 2 else {"every": "1s"}
            made_ms = now_ms()
            command = witness(self.folder, kind.seconds, *(["--alone"] if kind.serial else []))
            self.cluster.add_job({"name": name, **trigger, "command": command, **kind.definition})
            far_ms = sys.maxsize
            self.asked.append(
                Asked(name, EVERY_MS, made_ms, now_ms() + 1, far_ms, far_ms, kind.outcomes, serial=kind.serial)
            )

    def kill_and_restart(self, seconds: float, every: float) -> None:
        """A random node, again and again."""
        end = time.monotonic() + seconds
        while time.monotonic() + every <= end:
            pause_until = time.monotonic() + every
            node = self.random.choice(self.cluster.nodes)
            node.kill()
            self.kills += 1
            time.sleep(self.random.uniform(0, min(AWAY_S, every / 2)))
            node.spawn()
            node.wait_ready()
            time.sleep(max(0.0, pause_until - time.monotonic()))

    def pause(self) -> None:
        for i, asked in enumerate(self.asked):
            to_ms = now_ms() - 1
            self.cluster.request("POST", f"/v1/jobs/{asked.name}:pause")
            self.asked[i] = replace(asked, to_ms=to_ms, paused_ms=now_ms() + 1)

    def verdict(self) -> Verdict:
        """Wait until nothing runs, and judge."""
        for job in self.asked:
            wait_idle(self.cluster, job.name)
        ledgers = {job.name: self.cluster.ledger(job.name) for job in self.asked}
        verdict = judge(self.asked, ledgers, read_witness(self.folder / "witness.log"))
        digests = set(self.cluster.digests().values())
        if len(digests) != 1:
            verdict.faults.append(f"the nodes hold different states: {digests}")
        return verdict


def wait_idle(cluster: Cluster, job: str) -> None:
    """The job has no live run."""

    def idle() -> bool:
        return not [run for run in cluster.runs(job) if run["state"] in ("queued", "running")]

    wait_for(idle, f"the runs of {job} to end", timeout=60)


def soak(
    folder: Path, *, jobs: int, seconds: float, kill_every: float, seed: int, nodes: int = 3
) -> tuple[Verdict, int]:
    """The whole thing; answers the verdict and how many kills there were."""
    with cluster_in(folder, size=nodes) as cluster:
        work = Soak(cluster, folder, random.Random(seed))
        work.add_jobs(jobs)
        work.kill_and_restart(seconds, kill_every)
        work.pause()
        return work.verdict(), work.kills


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--kill-every", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="peercron-soak-"))
    print(f"seed {options.seed}, everything is in {folder}", flush=True)
    verdict, kills = soak(
        folder, jobs=options.jobs, seconds=options.minutes * 60, kill_every=options.kill_every, seed=options.seed,
        nodes=options.nodes,
    )  # fmt: skip
    print(f"{kills} kills, {verdict}")
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
