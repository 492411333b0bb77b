"""What an idle cluster costs: bytes written and processor time.

    python -m tests.system.idle --seconds 20

Exit status 0 when no node wrote anything and none used 2 % of a core.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.system.processes import Cluster, Node, cluster_in

CPU_PERCENT_MAX = 2.0
#: What follows a start (elections, first snapshots) is over by then.
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one node."""

    name: str
    #: Of one core, all processes of the node together.
    cpu_percent: float
    #: Files of the data directory that grew, shrank, came or went.
    changed: tuple[str, ...]


def processes_of(node: Node) -> list[int]:
    """The node's process and all below it."""
    found, waiting = [], [node.pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def cpu_seconds(node: Node) -> float:
    total = 0
    for pid in processes_of(node):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def sizes(node: Node) -> dict[str, tuple[int, int]]:
    """File -> (size, time of the last write)."""
    files = (path for path in node.data_dir.rglob("*") if path.is_file())
    return {str(p.relative_to(node.data_dir)): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def measure(cluster: Cluster, seconds: float) -> list[Cost]:
    """Leave the cluster alone and look what it did meanwhile."""
    time.sleep(SETTLE_S)
    cpu, files = [cpu_seconds(node) for node in cluster.nodes], [sizes(node) for node in cluster.nodes]
    time.sleep(seconds)
    costs = []
    for node, cpu_before, before in zip(cluster.nodes, cpu, files, strict=True):
        percent = (cpu_seconds(node) - cpu_before) / seconds * 100
        after = sizes(node)
        changed = tuple(sorted(name for name in before | after if before.get(name) != after.get(name)))
        costs.append(Cost(node.name, percent, changed))
    return costs


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, cluster_in(Path(folder), size=options.nodes) as cluster:
        leader = cluster.leader().name
        costs = measure(cluster, options.seconds)
    for cost in costs:
        role = "leader" if cost.name == leader else "follower"
        print(f"{cost.name} {role:8} {cost.cpu_percent:5.2f} % of a core, wrote {', '.join(cost.changed) or 'nothing'}")
    return int(any(cost.changed or cost.cpu_percent >= CPU_PERCENT_MAX for cost in costs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
