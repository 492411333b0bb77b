"""What modes promise to the second: who waits behind a holder that dies, and who starts together with whom.

    python -m tests.system.trials --contend 20 --together 20

*contend*: on three nodes the holder's node is killed; the next in line starts within the lease and a second, when no
process of the holder's is alive any more, with a larger token. *parallel* with `sync`, on five nodes: all start within
50 ms; then a node dies before it comes to the barrier, in it, and after it, and the run ends as its quorum declares.
Exit status 0 when all of that was so.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peercron.timers import PROFILES
from tests.system.checker import read_witness
from tests.system.modes_seen import Life, lives_of
from tests.system.processes import Cluster, Node, cluster_in, wait_for
from tests.system.soak import witness

#: Of the profile that nodes have by default, and what Done-when adds to it.
LEASE_S = PROFILES["lan"].lease_ms / 1_000
WITHIN_S = LEASE_S + 1.0
TOGETHER_MS = 50.0
#: That they start together at all, on a machine that does a lot else: what tests ask for.
BESIDE_WORK_MS = 400.0
#: Runs that are there to be killed live for longer than any trial; those that shall end, for less than a lease.
LONG_S, SHORT_S = 60.0, 1.0
WHEN = ("before", "in", "after")
QUORUMS = ("all", "majority")


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one, and what was wrong; empty: nothing."""

    what: str
    measured: float
    wrong: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.wrong or 'as promised'}"


def run_now(cluster: Cluster, job: str) -> str:
    return str(cluster.request("POST", f"/v1/jobs/{job}:run", {})["id"])


def run(cluster: Cluster, run_id: str) -> dict[str, Any]:
    found = cluster.request("GET", f"/v1/runs/{escaped(run_id)}")
    assert isinstance(found, dict)
    return found


def escaped(run_id: str) -> str:
    return run_id.replace("/", "%2F").replace("#", "%23")


def ended(cluster: Cluster, run_id: str, timeout: float = 30.0) -> dict[str, Any]:
    """The run once it has ended."""
    wait_for(lambda: run(cluster, run_id)["state"] not in ("queued", "running"), f"{run_id} to end", timeout)
    return run(cluster, run_id)


def lives(cluster: Cluster, run_id: str) -> list[Life]:
    """Attempts of the run in order of their starts, in ms of the clock that all processes share."""
    found = lives_of(read_witness(cluster.folder / "witness.log"), 0)
    return sorted((life for life in found if life.run == run_id), key=lambda life: life.start_ms)


def shards(cluster: Cluster, run_id: str) -> dict[str, str]:
    """Node -> what its shard's attempt does."""
    rows = run(cluster, run_id).get("shards", [])
    return {row["node"]: row["attempt"]["state"] if row["attempt"] else row["state"] for row in rows}


# Contend.


def add_contended(cluster: Cluster) -> None:
    command = witness(cluster.folder, LONG_S, "--beat", "--alone")
    cluster.add_job({"name": "contended", "mode": "contend", "command": command})


def holder_killed(cluster: Cluster) -> Trial:
    """Kill the node that has it, and see who has it next, and when."""
    run_id = run_now(cluster, "contended")
    wait_for(lambda: lives(cluster, run_id) and len(shards(cluster, run_id)) == cluster.size, "all to contend")
    (first,) = lives(cluster, run_id)
    holder = cluster[first.node]
    role = "leader" if holder is cluster.leader() else "follower"
    killed_s = time.monotonic()
    holder.kill()
    wait_for(lambda: len(lives(cluster, run_id)) > 1, "the next to start", 2 * WITHIN_S + 5)
    first, second = lives(cluster, run_id)
    took_s = second.start_ms / 1_000 - killed_s
    cluster.request("POST", f"/v1/runs/{escaped(run_id)}:cancel", {})
    holder.spawn()
    cluster.settle()
    ended(cluster, run_id)
    wrong = [
        f"it took {took_s:.2f} s, more than {WITHIN_S:g}" if took_s > WITHIN_S else "",
        f"{first.node} was alive until {first.last_ms - second.start_ms:.0f} ms after"
        if first.last_ms >= second.start_ms or second.met
        else "",
        f"token {second.token} after {first.token}" if second.token <= first.token else "",
        f"{first.node} had it again" if second.node == first.node else "",
    ]
    what = f"contend: {first.node} ({role}) killed, {second.node} started after {took_s:.2f} s"
    return Trial(what, took_s, "; ".join(filter(None, wrong)))


# Parallel, with a barrier.


def add_together(cluster: Cluster, quorum: str = "majority", seconds: float = SHORT_S) -> None:
    command = witness(cluster.folder, seconds, "--beat")
    together = {"name": "together", "mode": "parallel", "sync": True, "quorum": quorum}
    cluster.add_job(together | {"command": command})


def start_together(cluster: Cluster) -> Trial:
    """All nodes start one run, and it succeeds."""
    run_id = run_now(cluster, "together")
    whole, seen = ended(cluster, run_id), lives(cluster, run_id)
    spread_ms = seen[-1].start_ms - seen[0].start_ms
    wrong = [
        f"it is {whole['state']}: {whole['reason']}" if whole["state"] != "succeeded" else "",
        f"{len(seen)} of {cluster.size} started" if len(seen) != cluster.size else "",
        f"more than {TOGETHER_MS:g} ms" if spread_ms > TOGETHER_MS else "",
    ]
    return Trial(f"sync: {len(seen)} started within {spread_ms:.1f} ms", spread_ms, "; ".join(filter(None, wrong)))


def dies_at_barrier(cluster: Cluster, when: str, quorum: str) -> Trial:
    """A node dies before it is at the barrier, in it, or after it: the others do it or nobody does, as declared."""
    add_together(cluster, quorum, 2 * SHORT_S)
    leader = cluster.leader()
    victim, late, *_ = cluster.others(leader)
    if when == "before":
        victim.signal(signal.SIGSTOP)  # it does not hear of the run
    elif when == "in":
        late.signal(signal.SIGSTOP)  # whom the others wait for
    run_id = run_now_at(leader, "together")
    at_barrier = {node.name for node in cluster.nodes} - {{"before": victim, "in": late}.get(when, leader).name}
    if when == "after":
        wait_for(lambda: len(lives(cluster, run_id)) == cluster.size, "all to start")
    else:
        wait_for(lambda: ready(leader, run_id) >= at_barrier, "the others to be at the barrier", 1.0)
    killed_ms = time.monotonic() * 1_000
    victim.kill()
    late.signal(signal.SIGCONT)
    whole = ended(cluster, run_id, 40.0)
    seen = lives(cluster, run_id)
    trial = Trial(
        f"sync: a node dies {when} the barrier, quorum {quorum}: {whole['state']}, {len(seen)} started",
        time.monotonic() - killed_ms / 1_000,
        "; ".join(not_declared(cluster, when, quorum, whole, seen)),
    )
    victim.spawn()
    cluster.settle()
    return trial


def not_declared(cluster: Cluster, when: str, quorum: str, whole: dict[str, Any], seen: list[Life]) -> Iterator[str]:
    """What differs from what the quorum declares."""
    others = cluster.size - 1
    if (whole["state"] == "succeeded") != (quorum == "majority"):
        yield f"it is {whole['state']}: {whole['reason']}"
    started = {cluster.size} if when == "after" else {others} if quorum == "majority" else {0}
    if when == "in":
        started |= {others}  # who died had said that it is ready: the barrier may open before anybody knows of it
    if len(seen) not in started:
        yield f"{len(seen)} started, not {' or '.join(map(str, sorted(started)))}"
    done = sum(life.ended for life in seen)
    if done != min(len(seen), others):
        yield f"{done} came to their end"
    starts = [life.start_ms for life in seen]
    if starts and starts[-1] - starts[0] > BESIDE_WORK_MS:
        yield f"they started within {starts[-1] - starts[0]:.1f} ms"


def run_now_at(node: Node, job: str) -> str:
    """Asked of this node: another may be stopped, and would answer late."""
    status, body = node.request("POST", f"/v1/jobs/{job}:run", {})
    assert status == 202, body
    return str(body["id"])


def ready(node: Node, run_id: str) -> set[str]:
    """Nodes whose process stands at the barrier."""
    body = node.get(f"/v1/runs/{escaped(run_id)}?consistency=stale")
    return {row["node"] for row in body.get("shards", []) if row["attempt"] and row["attempt"]["state"] == "ready"}


def trials(folder: Path, contend: int, together: int) -> Iterator[Trial]:
    """So many of each, and none of what is asked for no times."""
    if contend:
        with cluster_in(folder / "contend") as three:
            add_contended(three)
            for _ in range(contend):
                yield holder_killed(three)
    if together:
        with cluster_in(folder / "together", size=5) as five:
            add_together(five)
            for _ in range(together):
                yield start_together(five)
            for when in WHEN:
                for quorum in QUORUMS:
                    yield dies_at_barrier(five, when, quorum)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contend", type=int, default=20, metavar="TRIALS")
    parser.add_argument("--together", type=int, default=20, metavar="TRIALS")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="peercron-trials-"))
    for name in ("contend", "together"):
        (folder / name).mkdir()
    wrong = 0
    for trial in trials(folder, options.contend, options.together):
        print(trial, flush=True)
        wrong += bool(trial.wrong)
    print(f"{wrong} trials were not as promised" if wrong else "all as promised")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
