"""Writes cross the threshold of a condition while leaders change: each crossing is one run, and there is no other.

    python -m tests.system.crossings --writes 1000 --crossings 37 --changes 12

One write after the other, each by another of three clients that prefer another node each; a write with unknown outcome
is repeated under its idempotency key by the client itself. Meanwhile leadership is handed over, and the leader killed
and started again, in turn. Exit status 0 when all writes are acknowledged and the job's ledger, its processes and all
nodes tell of one run for each crossing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from peercron import Client
from tests.system.processes import Cluster, Node, cluster_in, wait_for
from tests.system.soak import wait_idle

JOB = "full"
THRESHOLD = 100
#: Between two writes, at most: so that there are writes in all of a change of leaders.
PACE_S = 0.04
#: A killed leader stays away for a random time up to this.
AWAY_S = 1.0
PATIENCE = "30s"


@dataclass(slots=True)
class Report:
    """What was done and seen; `flaws` in words."""

    writes: int = 0
    crossings: int = 0
    #: Who led, one after the other.
    leaders: list[str] = field(default_factory=list)
    kills: int = 0
    runs: int = 0
    flaws: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.flaws

    def __str__(self) -> str:
        changes = f"{len(self.leaders)} leaders ({' '.join(self.leaders)}), {self.kills} of them killed"
        return "\n".join([
            f"{self.writes} writes, {self.crossings} crossings, {changes}: {self.runs} runs",
            *(f"WRONG: {flaw}" for flaw in self.flaws),
        ])  # fmt: skip


def levels(dice: random.Random, writes: int, crossings: int) -> Iterator[int]:
    """So many values, of which exactly so many are above the threshold after one below; nothing was written before.

    >>> list(levels(random.Random(1), 6, 2))
    [63, 160, 99, 99, 149, 99]
    """
    turns = {0, *dice.sample(range(1, writes), 2 * crossings)}
    above = True
    for n in range(writes):
        above ^= n in turns
        yield (
            dice.choice((THRESHOLD, dice.randrange(THRESHOLD, 2 * THRESHOLD)))
            if above
            else dice.choice((THRESHOLD - 1, dice.randrange(THRESHOLD)))
        )


def crossed(values: Sequence[int]) -> int:
    return sum(before < THRESHOLD <= after for before, after in pairwise((0, *values)))


async def run(cluster: Cluster, *, writes: int, crossings: int, changes: int, seed: int) -> Report:
    """Write, and have a change of leaders begin `changes` times on the way."""
    dice = random.Random(seed)
    values = list(levels(dice, writes, crossings))
    started = cluster.folder / "started"
    cluster.add_job({
        "name": JOB,
        "when": f'state("level") >= {THRESHOLD}',
        "shell": f'echo "$PEERCRON_RUN_ID" >> {started}',
        "overlap": "allow",
    })  # fmt: skip
    report = Report(crossings=crossed(values), leaders=[cluster.leader().name])
    await _write(cluster, values, report, changes, dice)
    wait_idle(cluster, JOB)
    _judge(cluster, report, set(started.read_text(encoding="utf-8").split()))
    return report


async def _write(cluster: Cluster, values: Sequence[int], report: Report, changes: int, dice: random.Random) -> None:
    addresses = [f"http://{node.host}:{node.http_port}" for node in cluster.nodes]
    due = {len(values) * n // (changes + 1): n for n in range(1, changes + 1)}
    async with AsyncExitStack() as stack:
        turned = [addresses[n:] + addresses[:n] for n in range(len(addresses))]
        clients = [await stack.enter_async_context(Client(each, timeout=PATIENCE)) for each in turned]
        change = asyncio.create_task(asyncio.sleep(0))
        for n, value in enumerate(values):
            if n in due:
                await change
                how = _killed if due[n] % 2 else _handed_over
                change = asyncio.create_task(asyncio.to_thread(how, cluster, report, random.Random(dice.random())))
            await dice.choice(clients).state.put("level", value)
            report.writes += 1
            await asyncio.sleep(dice.uniform(0, PACE_S))
        await change


def _handed_over(cluster: Cluster, report: Report, dice: random.Random) -> None:
    leader = cluster.leader()
    to = dice.choice(cluster.others(leader))
    status, body = leader.request("POST", "/v1/leader:transfer", {"to": to.name})
    assert status == 200, f"{leader.name} did not hand over to {to.name}: {status} {body}"
    report.leaders.append(_another(cluster, leader))


def _killed(cluster: Cluster, report: Report, dice: random.Random) -> None:
    leader = cluster.leader()
    leader.kill()
    report.kills += 1
    report.leaders.append(_another(cluster, leader))
    time.sleep(dice.uniform(0, AWAY_S))
    leader.spawn()
    leader.wait_ready()


def _another(cluster: Cluster, before: Node) -> str:
    def other() -> str:
        leader = cluster.leader()
        return "" if leader is before else leader.name

    return str(wait_for(other, f"another leader than {before.name}"))


def _judge(cluster: Cluster, report: Report, started: set[str]) -> None:
    ledger = cluster.ledger(JOB)
    report.runs = len(ledger)
    if report.runs != report.crossings:
        report.flaws.append(f"{report.runs} runs of {report.crossings} crossings")
    report.flaws += [
        f"{row['run']}: {row['outcome']}: {row['reason']}" for row in ledger if row["outcome"] != "succeeded"
    ]
    if started != {row["run"] for row in ledger}:
        report.flaws.append("processes were started for other runs than the ledger has")
    if len(set(cluster.digests().values())) != 1:
        report.flaws.append("the nodes hold different states")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=1_000)
    parser.add_argument("--crossings", type=int, default=37)
    parser.add_argument("--changes", type=int, default=12, help="of leaders")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    print(f"seed {options.seed}", flush=True)
    how = {"writes": options.writes, "crossings": options.crossings, "changes": options.changes, "seed": options.seed}
    with tempfile.TemporaryDirectory(prefix="peercron-crossings-") as folder, cluster_in(Path(folder)) as cluster:
        report = asyncio.run(run(cluster, **how))
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
