"""resume: kill the node of a running job again and again, and measure when the job goes on elsewhere, and from where.

    python benchmarks/resume.py --trials 20

A job class writes its step and the time to a file and makes a checkpoint, twenty times a second. The gap is from
kill -9 of its node to the first line of the next attempt, on another node. That attempt must begin at the last
checkpoint that was acknowledged, or at one that was on its way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

if __package__ in (None, ""):  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cluster import Node, Peercron, close, scratch, settled, start, until
from benchmarks.http1 import ask
from benchmarks.report import Series, machine, table, write_json
from benchmarks.steps import STEP_S

ROOT = Path(__file__).resolve().parents[1]
#: The job has made some checkpoints before its node is killed, at a random instant of this long.
STEPS_BEFORE = 5
PHASE_S = 0.15
GIVE_UP_S = 30.0


@dataclass(slots=True)
class Trial:
    """One kill."""

    node: str
    was_leader: bool
    #: From the signal to the first line of the next attempt.
    gap_ms: float
    #: Steps that were written and not checkpointed when the node died; they are done again.
    repeated: int
    #: The next attempt began before a checkpoint that had been acknowledged.
    lost: bool


def lines_of(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


async def asked(node: Node, method: str, path: str, body: Any = None) -> Any:
    code, answer = await ask(node.http, method, path, body, timeout=10.0)
    assert code < 300, f"{method} {path}: {code} {answer}"
    return answer


async def trial(cluster: Peercron, number: int) -> Trial:
    leader = await settled(cluster)
    path = cluster.folder / f"steps-{number}"
    run = await asked(leader, "POST", "/v1/jobs/steps:run", {"params": {"file": str(path)}})
    await until(lambda: len(lines_of(path)) >= STEPS_BEFORE, GIVE_UP_S, "the job to make some steps")
    await asyncio.sleep(random.uniform(0, PHASE_S))
    victim = next(node for node in cluster.nodes if node.name == lines_of(path)[-1]["node"])
    killed_ns = victim.signal(signal.SIGKILL)
    try:
        await until(lambda: lines_of(path)[-1]["attempt"] > 1, GIVE_UP_S, "the job to go on", every=0.005)
        lines = lines_of(path)
        next_at = next(place for place, line in enumerate(lines) if line["attempt"] > 1)
        before, after = lines[next_at - 1], lines[next_at]
        living = next(node for node in cluster.nodes if node is not victim)
        await asked(living, "POST", f"/v1/runs/{quote(run['id'], safe='')}:cancel")
    finally:
        await victim.gone()
        victim.spawn()
    # A step is only made once the checkpoint of the one before was acknowledged.
    gap_ms = (after["ns"] - killed_ns) / 1e6
    began = after["last"] or 0
    return Trial(victim.name, victim is leader, gap_ms, before["step"] + 1 - began, began < before["step"])


async def measure(options: argparse.Namespace, folder: Path) -> list[Trial]:
    cluster = Peercron(folder, options.nodes, ["--import", "benchmarks.steps", *options.flag])
    try:
        leader = await start(cluster)

        async def known() -> bool:
            return (await ask(leader.http, "GET", "/v1/jobs/steps", timeout=5.0))[0] == 200

        await until(known, GIVE_UP_S, "the class to become a job")
        trials = []
        for number in range(options.trials):
            trials.append(await trial(cluster, number))
            print(f"{number + 1}/{options.trials}: {trials[-1].gap_ms:.0f} ms", file=sys.stderr)
        return trials
    finally:
        await close(cluster)


def summary(trials: list[Trial]) -> str:
    leaders = [t.gap_ms for t in trials if t.was_leader]
    others = [t.gap_ms for t in trials if not t.was_leader]
    series = [Series("any node", [t.gap_ms for t in trials]), Series("the leader", leaders), Series("another", others)]
    repeated, lost = sum(t.repeated for t in trials), sum(t.lost for t in trials)
    told = f"steps of {STEP_S * 1e3:.0f} ms done again: {repeated} in {len(trials)} trials; checkpoints lost: {lost}"
    return "\n\n".join([table("kill -9 to the next attempt, ms", series), told])


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--flag", action="append", default=[], metavar="--X=Y", help="more for every node")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the JSON")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options, facts = options_of(arguments), machine()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with scratch(options.keep) as folder:
        trials = asyncio.run(measure(options, folder))
    print(summary(trials))
    write_json(options.out / "resume.json", {"machine": facts, "trials": [asdict(t) for t in trials]})
    return 1 if any(t.lost for t in trials) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
