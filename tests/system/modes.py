"""All modes at once on one cluster, while nodes are killed, hang, are cut off, have a wrong clock, and come back.

    python -m tests.system.modes --nodes 3 --seconds 40

Jobs of every mode fire each second or two. Nodes are lost one after another and brought back, and processes of the
jobs are stopped; at the end `modes_judge`, which knows what the modes promise and what the processes wrote down, has
a verdict for each mode and each fault. With two nodes no majority is left while one is lost: slices go on, the rest
waits and catches up as its misfire policy says. Exit status 0 when no cell of the table shows a fault. As root the
nodes stand in network namespaces; without, nobody can be cut off.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.system.checker import read_witness
from tests.system.clocks import mislead, set_clock
from tests.system.modes_judge import JOB_HUNG, SLACK_MS, Verdict, column, judge
from tests.system.modes_seen import WRONG_CLOCK, Hung, Job, Phase, Seen, lives_of
from tests.system.netns import Network, unavailable
from tests.system.processes import Cluster, Node, running, wait_for
from tests.system.soak import now_ms, wait_idle, witness

#: Of the profile that nodes have by default (README).
LEASE_MS = 1_500
#: What a cluster may take to go on without a lost node: an election, a lease counted from it, and a little.
OVER_MS = 3_000
#: After a node is ready again it opens its session, and hears the others' clocks before it owns slices.
BACK_MS = 2_500
WELL_S, LOST_S, BACK_S, HUNG_S = 2.5, 6.0, 5.5, 4.0
FAULTS = ("killed", "hung", "cut off", WRONG_CLOCK)
#: By how much the clock of a node is pushed ahead: the bound is a second.
PUSHED_MS = 3_000
WHO_S = 0.01
#: A thread that wakes this late had no core.
STALL_MS = 300


@dataclass(frozen=True, slots=True)
class Kind:
    """A job of the matrix: what judges it, how long its process works, and what jobs.toml would say of it."""

    job: Job
    seconds: float
    definition: dict[str, Any]


def kinds(nodes: Sequence[str], first: str) -> list[Kind]:
    """One job of each mode; `first` is whose the standby's is."""
    order = (first, *(name for name in nodes if name != first))
    made_up = {"policy": "all", "window": "1h", "max": 100}
    many, every = (1_000, 1_000) if len(nodes) < 5 else (1_800, 2_000)
    return [
        Kind(Job("single", "single", 1_000, misfire="all"), 0.2, {"overlap": "queue_all", "misfire": made_up}),
        Kind(
            Job("standby", "standby", 1_000, misfire="skip", order=order, failback_ms=1_000),
            0.2,
            {"mode": "standby", "nodes": list(order), "failback_after": "1s", "misfire": {"policy": "skip"}},
        ),
        Kind(Job("turns", "turns", 500), 0.1, {"mode": "turns"}),
        Kind(Job("slice", "slice", 1_000, slice_ms=5_000), 0.2, {"mode": "slice", "slice": "5s"}),
        Kind(Job("contend", "contend", every, takes_ms=many), 0.1, {"mode": "contend"}),
        Kind(Job("contend-skip", "contend-skip", 1_000), 0.1, {"mode": "contend", "losers": "skip"}),
        Kind(
            Job("queue", "queue", 500, misfire="all"),
            0.2,
            {"mode": "queue", "queue": "items", "overlap": "allow", "misfire": made_up},
        ),
        Kind(
            Job("parallel-sync", "sync", every, quorum="majority", takes_ms=many),
            0.3,
            {"mode": "parallel", "sync": True, "quorum": "majority"},
        ),
        Kind(
            Job("parallel-async", "async", every, quorum="any", takes_ms=many),
            0.1,
            {"mode": "parallel", "sync": False, "quorum": "any"},
        ),
        Kind(
            Job("parallel-rolling", "rolling", every, order=tuple(nodes), takes_ms=many),
            0.1,
            {"mode": "parallel", "order": list(nodes)},
        ),
    ]


class Watch:
    """Notices when the machine stands still, or has no core for a thread that wants next to nothing."""

    def __init__(self) -> None:
        #: From when to when, in ms of UTC.
        self.stalls: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        before_ms = now_ms()
        while not self._over.wait(WHO_S):
            if (at_ms := now_ms()) - before_ms > STALL_MS:
                self.stalls.append((before_ms, at_ms))
            before_ms = at_ms


@dataclass(slots=True)
class Matrix:
    """One run of the program."""

    folder: Path
    cluster: Cluster
    network: Network | None
    jobs: list[Job] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    hung: list[Hung] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)

    def run(self, seconds: float, faults: Sequence[str] = FAULTS) -> tuple[Seen, Verdict]:
        """Each fault once, and all again while there is time left."""
        with self.watch:
            return self._run(seconds, faults)

    def _run(self, seconds: float, faults: Sequence[str]) -> tuple[Seen, Verdict]:
        leader = self.cluster.leader()
        for kind in kinds([node.name for node in self.cluster.nodes], leader.name):
            self._add(kind)
        self._calm("well", now_ms() + BACK_MS, WELL_S + BACK_MS / 1_000)
        begun_s, victims = time.monotonic(), [leader, *self.cluster.others(leader)]
        n = 0
        while not n or time.monotonic() - begun_s + len(faults) * (LOST_S + BACK_S) + HUNG_S < seconds:
            for fault in faults:
                if fault != "cut off" or self.network:
                    self._lose(self._misled() if fault == WRONG_CLOCK else victims[n % len(victims)], fault)
                n += 1
            self._hang()
        return self._seen()

    def _add(self, kind: Kind) -> None:
        made_ms, job = now_ms(), kind.job
        timed = {"timeout": f"{job.timeout_ms}ms", "kill_grace": f"{job.grace_ms}ms", "every": f"{job.every_ms}ms"}
        alone = () if job.mode in {"sync", "async", "queue"} else ("--alone",)
        command = witness(self.folder, kind.seconds, "--beat", "--who", *alone)
        self.cluster.add_job({"name": job.name, "command": command, **timed, **kind.definition})
        self.jobs.append(replace(job, made_ms=made_ms, from_ms=now_ms() + 1, to_ms=sys.maxsize, paused_ms=sys.maxsize))
        self.uids[job.name] = str(self.cluster.request("GET", f"/v1/jobs/{job.name}")["uid"])

    def _calm(self, name: str, settled_ms: int, seconds: float, back: str = "") -> None:
        from_ms = self.phases[-1].to_ms if self.phases else now_ms()
        self._wait(seconds)
        to_ms, joined_ms = now_ms(), self._joined_ms(back) if back else 0
        self.phases.append(Phase(name, from_ms, to_ms, settled_ms, joined_ms=joined_ms))

    def _wait(self, seconds: float) -> None:
        """The more nodes there are, the longer it takes until each has had its part."""
        time.sleep(seconds + max(0, self.cluster.size - 3))

    def _joined_ms(self, name: str) -> int:
        """When the node's session began."""
        rows = self.cluster.request("GET", "/v1/members")["members"]
        since = next(row["since"] for row in rows if row["name"] == name)
        return round(datetime.fromisoformat(since).timestamp() * 1_000)

    def _lose(self, victim: Node, how: str) -> None:
        from_ms = now_ms()
        self._begin(victim, how)
        self._wait(LOST_S)
        # Judged is what happened before the mending; the first moments of it are the next phase's.
        self.phases.append(Phase(how, from_ms, now_ms(), from_ms + OVER_MS, victim.name, how))
        self._end(victim, how)
        self.cluster.settle()
        # Just after that a node with a wrong clock may not trust it yet.
        settled_ms = now_ms() + (PUSHED_MS + STALL_MS if how == WRONG_CLOCK else BACK_MS)
        self._calm(f"back ({how})", settled_ms, BACK_S, "" if how == WRONG_CLOCK else victim.name)

    def _misled(self) -> Node:
        """Who leads; of two, who does not: there nobody can say which clock is wrong."""
        leader = self.cluster.leader()
        return leader if self.cluster.size > 2 else self.cluster.others(leader)[0]

    def _begin(self, victim: Node, how: str) -> None:
        if how == "killed":
            victim.kill()
        elif how == "hung":
            victim.signal(signal.SIGSTOP)
        elif how == WRONG_CLOCK:
            set_clock(victim, self.folder, PUSHED_MS)
        elif self.network is not None:
            self.network.pull([host for host in self.network.hosts if host.namespace == victim.namespace])

    def _end(self, victim: Node, how: str) -> None:
        if how == "killed":
            victim.spawn()
        elif how == "hung":
            victim.signal(signal.SIGCONT)
        elif how == WRONG_CLOCK:
            set_clock(victim, self.folder, 0)
        elif self.network is not None:
            self.network.heal()

    def _hang(self) -> None:
        """Stop one process of each job as soon as it is there, and watch them die."""
        from_ms, old = now_ms(), len(self._who())
        stopped: list[tuple[str, str, int, int]] = []
        died_ms: dict[int, float] = {}
        until_s = time.monotonic() + HUNG_S
        while time.monotonic() < until_s:
            for run, token, _, pid, _ in self._who()[old:]:
                job = next((job for job in self.jobs if run.startswith(f"{self.uids[job.name]}/")), None)
                is_first = job is not None and job.name not in {name for name, *_ in stopped}
                if job is not None and is_first and stop(int(pid)):
                    stopped.append((job.name, run.partition("#")[0], int(token), int(pid)))
                    until_s = max(until_s, time.monotonic() + (job.timeout_ms + job.grace_ms + SLACK_MS) / 1_000)
            died_ms |= {one: now_ms() for *_, one in stopped if one not in died_ms and not is_there(one)}
            time.sleep(WHO_S)
        self.hung += [Hung(job, run, token, died_ms.get(pid)) for job, run, token, pid in stopped]
        self.phases.append(Phase(JOB_HUNG, from_ms, now_ms(), from_ms))

    def _who(self) -> list[list[str]]:
        path = self.folder / "who.log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def _seen(self) -> tuple[Seen, Verdict]:
        """Pause everything, wait until nothing runs, collect, and judge."""
        for i, job in enumerate(self.jobs):
            to_ms = now_ms() - 1
            self.cluster.request("POST", f"/v1/jobs/{job.name}:pause")
            self.jobs[i] = replace(job, to_ms=to_ms, paused_ms=now_ms() + 1)
        for job in self.jobs:
            wait_idle(self.cluster, job.name)
        wait_for(self._told, "the slices to be told")
        offset_ms = (time.time_ns() - time.monotonic_ns()) / 1e6
        seen = Seen(
            nodes=tuple(seat["name"] for seat in self.cluster.living[0].status()["members"]),
            lease_ms=LEASE_MS,
            phases=self.phases,
            jobs=self.jobs,
            uids=self.uids,
            ledgers={job.name: self.cluster.ledger(job.name) for job in self.jobs},
            lives=lives_of(read_witness(self.folder / "witness.log"), offset_ms),
            shards={run.partition("#")[0]: int(of) for run, _, _, _, of in self._who()},
            hung=self.hung,
            stalls=self.watch.stalls,
        )
        return seen, judge(seen)

    def _told(self) -> bool:
        """Every slot in slices is in the ledger."""
        job = next(job for job in self.jobs if job.mode == "slice")
        told = {row["slot"] for row in self.cluster.ledger(job.name)}
        first = -(-job.from_ms // job.every_ms) * job.every_ms
        return told >= set(range(first, job.to_ms + 1, job.every_ms))


def stop(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:  # it has just ended
        return False
    return True


def is_there(pid: int) -> bool:
    """A process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def matrix(folder: Path, nodes: int) -> Iterator[Matrix]:
    """A running cluster, on hosts of its own where that can be."""
    network = None if unavailable() else Network(nodes)
    try:
        cluster = Cluster(folder, nodes, network=network)
        for node in cluster.nodes:
            mislead(node, folder)
        with running(cluster):
            yield Matrix(folder, cluster, network)
    finally:
        if network is not None:
            network.close()


def table(seen: Seen, verdict: Verdict) -> str:
    """A row for each job, a cell for each fault: how many slots were held to all that is promised, and what was not."""
    columns = [*dict.fromkeys(phase.name for phase in seen.phases), "afterwards"]
    lines = [row("", columns)]
    for job in seen.jobs:
        cells = []
        for name in columns:
            bad = sum(fault.job == job.name and column(seen, fault.at_ms) == name for fault in verdict.faults)
            good = verdict.judged[job.name, name]
            cells.append(f"{bad} BAD of {good}" if bad else f"ok ({good})" if good else "-")
        lines.append(row(job.name, cells))
    return "\n".join(lines)


def row(name: str, cells: Sequence[str]) -> str:
    return "".join([f"{name:<17}", *(f"{cell:>19}" for cell in cells)])


def report(seen: Seen, verdict: Verdict) -> str:
    spreads = sorted(verdict.spreads_ms)
    told = (
        f"parallel-sync: {len(spreads)} starts within {spreads[len(spreads) // 2]:.0f} ms (median)" if spreads else ""
    )
    outcomes = sum(len(rows) for rows in seen.ledgers.values())
    counts = f"{len(seen.nodes)} nodes, {outcomes} slots, {len(seen.lives)} attempts"
    faults = [f"{column(seen, f.at_ms)}, {f.job}, at {f.at_ms:.0f}: {f.text}" for f in sorted(verdict.faults)]
    return "\n".join(
        [table(seen, verdict), counts, told, *faults[:60], f"{len(faults)} faults" if faults else "no fault"]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40, help="so long at least; each fault has its turn once")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="peercron-modes-"))
    print(f"everything is in {folder}", flush=True)
    with matrix(folder, options.nodes) as work:
        seen, verdict = work.run(options.seconds)
    print(report(seen, verdict))
    if reason := unavailable():
        print(f"NOT TRIED: cut off: {reason}")
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
