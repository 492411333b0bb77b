"""A cluster grows from three to five and shrinks to two voters and a witness while 200 writes a second go on.

    python -m tests.system.growth --rate 200 --minutes 1

Writers keep their connections; a write that fails or is not answered is sent again to the next member until it is
acknowledged. Exit status 0 when none was under way for longer than a second, and all that were acknowledged are there.
The nodes' data are in TMPDIR: no write is faster than its disk, whose own longest stall is told, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.system.caller import Caller
from tests.system.processes import Cluster, Node, cluster_in, wait_for

WRITERS = 8
#: After this a writer asks somebody else. It is longer than anybody may wait, so that a node that lets its clients hang
#: is noticed.
PATIENCE_S = 2.0
REDIAL_S = 0.01
#: A write that takes longer has failed for longer than anybody may wait.
STALL_S = 1.0
#: Nothing takes longer than this.
GIVE_UP_S = 60.0
LISTED_MAX = 10_000
DISK_EVERY_S = 0.05


@dataclass(slots=True)
class Write:
    """One acknowledged write: when it was first sent and when it was acknowledged, in seconds of CLOCK_MONOTONIC."""

    key: str
    sent_s: float
    done_s: float
    revision: int
    tries: int

    @property
    def took_s(self) -> float:
        return self.done_s - self.sent_s


class Disk:
    """How long the disk of a folder takes to sync a few bytes, asked all the time while in the block."""

    def __init__(self, folder: Path) -> None:
        self.longest_s = 0.0
        self._file = folder / "disk"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _ask(self) -> None:
        with self._file.open("ab", buffering=0) as file:
            while not self._stopped.wait(DISK_EVERY_S):
                begun_s = time.monotonic()
                file.write(b"." * 64)
                os.fdatasync(file.fileno())
                self.longest_s = max(self.longest_s, time.monotonic() - begun_s)


class Load:
    """`rate` writes a second, each to a key of its own, to the members of the moment; stopped by leaving the block."""

    def __init__(self, members: list[Node], rate: float, writers: int = WRITERS) -> None:
        #: Whom the writers ask; replaced, not changed, when members come and go.
        self.members = tuple(members)
        self.writes: list[Write] = []
        #: Writes that were given up: they never succeed.
        self.given_up: list[str] = []
        self._period_s = writers / rate
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write_on_and_on, args=(i,)) for i in range(writers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment_s: float) -> list[Write]:
        return [write for write in self.writes if write.sent_s >= moment_s]

    def _write_on_and_on(self, number: int) -> None:
        callers: dict[str, Caller] = {}
        due_s, count = time.monotonic(), 0
        while not self._stopped.is_set():
            count += 1
            self._write(number, f"w{number}-{count}", callers)
            due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
            self._stopped.wait(max(0.0, due_s - time.monotonic()))
        for caller in callers.values():
            caller.close()

    def _write(self, number: int, key: str, callers: dict[str, Caller]) -> None:
        sent_s, tries = time.monotonic(), 0
        while time.monotonic() < sent_s + GIVE_UP_S:
            members = self.members
            node = members[(number + tries) % len(members)]
            tries += 1
            caller = callers.setdefault(node.name, node.caller(PATIENCE_S))
            answer = caller.request("PUT", f"/v1/state/growth/{key}", key.encode())
            if answer.ok and answer.etag:
                self.writes.append(Write(key, sent_s, time.monotonic(), answer.etag, tries))
                return
            time.sleep(REDIAL_S)
        self.given_up.append(key)

    def missing(self, node: Node) -> list[str]:
        """Keys of acknowledged writes that are not there, or older than acknowledged."""
        found: dict[str, int] = {}
        for number in range(len(self._threads)):
            # By the first digits of the count, too: a list is cut off at some length.
            for digit in range(1, 10):
                rows = node.get(f"/v1/state/growth/?prefix=w{number}-{digit}&limit={LISTED_MAX}", timeout=30.0)["keys"]
                assert len(rows) < LISTED_MAX
                found |= {row["key"]: row["revision"] for row in rows}
        return [write.key for write in self.writes if found.get(write.key, 0) < write.revision]


@dataclass(slots=True)
class Step:
    """One change of the members, and what the writers noticed of it."""

    name: str
    took_s: float
    slowest: Write


@dataclass(slots=True)
class Report:
    steps: list[Step] = field(default_factory=list)
    writes: int = 0
    seconds: float = 0.0
    again: int = 0
    #: The longest that any write was under way, and the longest time in which none was acknowledged.
    slowest_s: float = 0.0
    gap_s: float = 0.0
    disk_s: float = 0.0
    missing: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    @property
    def lost_nothing(self) -> bool:
        return not self.missing and not self.given_up

    def __str__(self) -> str:
        lines = [
            f"{step.name:<28} {step.took_s:6.2f} s; slowest write {step.slowest.took_s * 1e3:6.1f} ms"
            f" in {step.slowest.tries} tries"
            for step in self.steps
        ]
        lines.append(
            f"{self.writes} writes in {self.seconds:.1f} s ({self.writes / self.seconds:.0f} a second), {self.again}"
            f" of them sent more than once; longest until acknowledged {self.slowest_s * 1e3:.0f} ms, longest without"
            f" any {self.gap_s * 1e3:.0f} ms; longest stall of the disk {self.disk_s * 1e3:.0f} ms;"
            f" {len(self.missing)} lost, {len(self.given_up)} given up"
        )
        return "\n".join(lines)


@dataclass(slots=True)
class Growth:
    """One run of the program, on a cluster of three that runs; `calm_s` passes after each step."""

    cluster: Cluster
    load: Load
    calm_s: float
    tell: Callable[[str], None] = print
    report: Report = field(default_factory=Report)

    def run(self) -> Report:
        begun_s = time.monotonic()
        self._step("nothing happens", lambda: None)
        self._step("n4 joins", self._joins)
        self._step("n5 joins", self._joins)
        self._step("a witness joins", lambda: self._joins("--role", "witness"))
        founders = self.cluster.nodes[:3]
        leader = self.cluster.leader()
        # The leader goes first if it is one of those that go, so that leadership moves under load.
        for node in sorted(founders, key=lambda node: node is not leader):
            self._step(f"{node.name} goes{', the leader' if node is self.cluster.leader() else ''}", self._goes(node))
        leader = self.cluster.leader()
        self._step(f"{leader.name} hands over", lambda: self._hands_over(leader))
        self.report.seconds = time.monotonic() - begun_s
        return self.report

    def judge(self) -> None:
        """After the load has ended: what became of all writes."""
        report, writes = self.report, sorted(self.load.writes, key=lambda write: write.done_s)
        report.writes, report.given_up = len(writes), self.load.given_up
        report.again = sum(write.tries > 1 for write in writes)
        report.slowest_s = max(write.took_s for write in writes)
        report.gap_s = max(b.done_s - a.done_s for a, b in pairwise(writes))
        report.missing = self.load.missing(self.cluster.living[0])

    def _step(self, name: str, change: Callable[[], None]) -> None:
        begun_s = time.monotonic()
        change()
        took_s = time.monotonic() - begun_s
        time.sleep(self.calm_s)
        # What was under way when it began counts, too.
        slowest = max(self.load.since(begun_s - STALL_S), key=lambda write: write.took_s)
        self.report.steps.append(Step(name, took_s, slowest))
        self.tell(f"{name}: {took_s:.2f} s, slowest write {slowest.took_s * 1e3:.1f} ms")

    def _joins(self, *flags: str) -> None:
        node = self.cluster.newcomer(*flags)
        node.spawn()
        wait_for(lambda: self._votes(node.name), f"{node.name} to vote", GIVE_UP_S)
        node.wait_ready()
        self.load.members = tuple(self.cluster.nodes)

    def _votes(self, name: str) -> bool:
        rows = {row["name"]: row for row in self.cluster.leader().status().get("members", ())}
        return name in rows and rows[name]["role"] in ("voter", "witness")

    def _goes(self, node: Node) -> Callable[[], None]:
        def change() -> None:
            rest = self.cluster.others(node)
            status, body = rest[0].request("DELETE", f"/v1/members/{node.name}", timeout=GIVE_UP_S)
            assert status == 200, f"{node.name} was not removed: {status} {body}"
            wait_for(lambda: not node.alive, f"{node.name} to stop")
            self.load.members = tuple(rest)
            self.cluster.forget(node)

        return change

    def _hands_over(self, leader: Node) -> None:
        status, body = leader.request("POST", "/v1/leader:transfer", {}, timeout=GIVE_UP_S)
        assert status == 200, f"{leader.name} did not hand over: {status} {body}"


def grow_and_shrink(folder: Path, *, rate: float, calm_s: float, tell: Callable[[str], None] = print) -> Report:
    """The whole thing."""
    with cluster_in(folder) as cluster:
        with Load(cluster.nodes, rate) as load, Disk(folder) as disk:
            growth = Growth(cluster, load, calm_s, tell)
            growth.run()
        growth.judge()
        growth.report.disk_s = disk.longest_s
        # Who was removed is listed until what it ran has surely ended.
        rows = [row for row in cluster.leader().status()["members"] if row["state"] != "removed"]
        assert sorted(row["role"] for row in rows) == ["voter", "voter", "witness"], rows
        return growth.report


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200, metavar="WRITES", help="a second")
    parser.add_argument("--minutes", type=float, default=1, help="about so long in all")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="peercron-growth-"))
    print(f"everything is in {folder}", flush=True)
    report = grow_and_shrink(folder, rate=options.rate, calm_s=options.minutes * 60 / 8)
    print(report)
    good = report.lost_nothing and report.slowest_s <= STALL_S
    print("no write failed for longer than a second, none is lost" if good else "NOT GOOD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
