"""Mode turns on five nodes: all have their turns equally often, and who was dead stands at the end of the line.

    python -m tests.system.turning --slots 1000 --losses 2

A job with a slot each tenth of a second; who had it, the events of the cluster say. In the calm part the counts of all
nodes differ by at most one. Then a follower, and after it the leader, is killed: it has no turn from the moment when
the cluster has given it up, and when it is back its first one comes after each other node had one. Exit status 0 when
that was so.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.processes import Cluster, Node, cluster_in, wait_for

NODES = 5
#: The shortest that there is.
EVERY = "100ms"
LOOK_S = 0.5
#: So many turns without the dead one, and so many after it is back.
TURNS_WITHOUT = 12
TURNS_AFTER = 2 * NODES

#: An event as the cluster tells it.
Row = dict[str, Any]


@dataclass(slots=True)
class Report:
    """What was seen; `flaws` in words."""

    #: Node -> turns in the calm part.
    counts: Counter[str] = field(default_factory=Counter)
    #: How many of these were tries of a slot that had had a turn before.
    again: int = 0
    #: A sentence for each node that was killed.
    losses: list[str] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.flaws

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        again = f" ({self.again} of them tried before)" if self.again else ""
        flaws = [f"WRONG: {flaw}" for flaw in self.flaws]
        return "\n".join([f"{self.counts.total()} slots{again}: {counts}", *self.losses, *flaws])

    def judge_calm(self, nodes: Sequence[str], turns: Sequence[Row]) -> None:
        self.counts = Counter(dict.fromkeys(nodes, 0))
        self.counts.update(takers(turns))
        self.again = sum(row["attempt"] > 1 for row in turns)
        if max(self.counts.values()) - min(self.counts.values()) > 1:
            self.flaws.append("the counts differ by more than one")

    def judge_loss(self, what: str, others: Sequence[str], without: Sequence[str], after: Sequence[str]) -> None:
        """`without`: whose turns there were while the node was given up; `after`: since it is back."""
        until = next((n for n, name in enumerate(after) if name not in others), len(after))
        strange = sum(name not in others for name in without)
        told = f"{what} killed: {strange} of {len(without)} turns while it was given up;"
        self.losses.append(f"{told} back, before its first turn: {' '.join(after[:until])}")
        if strange:
            self.flaws.append(f"{what} had a turn while it was given up")
        if until == len(after):
            self.flaws.append(f"{what} had no turn after it was back")
        if sorted(after[:until]) != sorted(others):
            self.flaws.append(f"{what} did not join at the end of the line")


def turns_in(events: Sequence[Row]) -> list[Row]:
    return [row for row in events if (row["kind"], row["what"]) == ("run", "assigned")]


def takers(events: Sequence[Row]) -> list[str]:
    """Who had the turns, in order."""
    return [row["node"] for row in turns_in(events)]


@dataclass(slots=True)
class Turning:
    """One run of the program."""

    cluster: Cluster
    dice: random.Random
    report: Report = field(default_factory=Report)
    #: What happened, in order. The ledger would tell of runs as they end, and leave out one that lives longer than the
    #: next, whose turn is later.
    events: list[Row] = field(default_factory=list)

    def run(self, slots: int, losses: int) -> Report:
        wait_for(self._all_are_members, "all to be members")
        self.cluster.add_job({"name": "turns", "mode": "turns", "every": EVERY, "shell": "true", "overlap": "allow"})
        self._look_until(lambda: len(turns_in(self.events)) >= slots)
        self.report.judge_calm([node.name for node in self.cluster.nodes], turns_in(self.events)[:slots])
        for n in range(losses):
            leader = self.cluster.leader()
            if n % 2:
                self._lose(leader, "leader")
            else:
                self._lose(self.dice.choice(self.cluster.others(leader)), "follower")
        self.report.flaws += [f"{row['run']} {row['what']}" for row in self.events if row["what"] in ("failed", "lost")]
        return self.report

    def _all_are_members(self) -> bool:
        rows = self.cluster.request("GET", "/v1/members")["members"]
        return len(rows) == NODES and all(row["open"] for row in rows)

    def _lose(self, victim: Node, role: str) -> None:
        killed = len(self.events)
        victim.kill()
        down = self._heard("down", victim, killed)
        self._look_until(lambda: len(turns_in(self.events[down:])) >= TURNS_WITHOUT)
        victim.spawn()
        up = self._heard("up", victim, down)
        self._look_until(lambda: len(turns_in(self.events[up:])) >= TURNS_AFTER)
        self.cluster.settle()
        others = [node.name for node in self.cluster.others(victim)]
        without, after = takers(self.events[down:up]), takers(self.events[up:])
        self.report.judge_loss(f"{victim.name} ({role})", others, without, after)

    def _heard(self, what: str, node: Node, since: int) -> int:
        """The place among the events, from `since` on, where the node went `what`."""

        def places() -> list[int]:
            wanted = "member", what, node.name
            rows = enumerate(self.events[since:], since)
            return [n for n, row in rows if (row["kind"], row["what"], row["name"]) == wanted]

        self._look_until(lambda: bool(places()))
        return places()[0]

    def _look_until(self, enough: Callable[[], bool]) -> None:
        """Read on; raises TookTooLong when nothing new comes any more."""
        while not enough():
            known = len(self.events)
            time.sleep(LOOK_S)
            wait_for(lambda: any(map(self._look, self.cluster.living)) and len(self.events) > known, "news")  # noqa: B023

    def _look(self, node: Node) -> bool:
        """Take what is new as the node tells it; False: it does not, or not all of it."""
        begun = f"&from={self.events[-1]['id']}" if self.events else ""
        status, told = node.request("GET", f"/v1/events?kind=run,member&follow=0{begun}")
        if status != 200 or not isinstance(told, bytes):
            return False
        rows = [json.loads(line[6:]) for line in told.splitlines() if line.startswith(b"data: ")]
        if any("error" in row for row in rows):
            return False
        self.events += [row for row in rows if "kind" in row]
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=1_000, help="of the calm part")
    parser.add_argument("--losses", type=int, default=2, help="a follower, the leader, and so on")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    with (
        tempfile.TemporaryDirectory(prefix="peercron-turning-") as folder,
        cluster_in(Path(folder), size=NODES) as cluster,
    ):
        report = Turning(cluster, random.Random(options.seed)).run(options.slots, options.losses)
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
