"""failover: kill the leader of a real cluster again and again, and measure from outside what its users feel.

    python benchmarks/failover.py --trials 50 --signals KILL,TERM,STOP --nodes 3
    python benchmarks/failover.py --etcd --etcd-heartbeat 20 --etcd-election 200

Two gaps are measured, each with the cluster under a light load of writes:

write gap   Small writes go to the surviving nodes at a steady pace. The gap is the larger of two intervals: from the
            signal to the first acceptance of a write that was sent after it; and between the two consecutive
            acceptances, of any writes, that lie around that instant.
fire lag    Jobs fire every 200 ms. Of the slots that came due in the gap and in the second after the signal, the one
            that was decided last counts: how much later than its slot its run was created, and when its first process
            started, by the cluster's own record of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

if __package__ in (None, ""):  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks import etcd
from benchmarks.cluster import Cluster, Node, Peercron, Unreachable, close, scratch, settled, start
from benchmarks.lateness import Fires
from benchmarks.prober import Accepted, Prober
from benchmarks.report import Series, machine, percentile, plot, table, write_json

WARM_UP_S = 0.4
#: The signal comes at a random instant of this long, so that it meets every phase of the heartbeat alike.
PHASE_S = 0.15
#: Writes go on for this long after the first acceptance, to see whether the peace lasts.
AFTERMATH_S = 1.0
GIVE_UP_S = 30.0


@dataclass(slots=True)
class Trial:
    """One kill. Times in ms."""

    signal: str
    node: str
    #: From the signal to the first acceptance of a write sent after it.
    since_signal_ms: float
    #: The silence around that: between two consecutive acceptances of any writes.
    silence_ms: float
    #: The longest later silence, in the second that followed.
    aftermath_ms: float
    #: 99 of 100 silences between two acceptances before the signal were shorter: what the figures can resolve.
    usual_ms: float
    fire_lag_ms: list[float] = field(default_factory=list)
    start_lag_ms: list[float] = field(default_factory=list)
    slots_missing: int = 0

    @property
    def gap_ms(self) -> float:
        return max(self.since_signal_ms, self.silence_ms)


def judge(accepted: list[Accepted], signal_ns: int, first: Accepted) -> tuple[float, float, float, float]:
    """(since the signal, silence around it, longest silence afterwards, usual silence) in ms."""
    times = sorted(write.answered_ns for write in accepted)
    before = [t for t in times if t <= signal_ns]
    around = [*before[-1:], *(t for t in times if signal_ns < t <= first.answered_ns)]
    after = [t for t in times if t >= first.answered_ns]
    since = (first.answered_ns - signal_ns) / 1e6
    usual = percentile(spans_ms(before) or [0.0], 99)
    return since, max(spans_ms(around), default=since), max(spans_ms(after), default=0.0), usual


def spans_ms(times_ns: list[int]) -> list[float]:
    return [(b - a) / 1e6 for a, b in pairwise(times_ns)]


async def trial(cluster: Cluster, name: str, pace_s: float, fires: Fires | None) -> Trial:
    """Kill the leader once, measure, and bring the node back."""
    leader = await settled(cluster)
    survivors = [node for node in cluster.nodes if node is not leader]
    prober = Prober([node.http for node in survivors], cluster.write, pace_s=pace_s)
    prober.start()
    try:
        await asyncio.sleep(WARM_UP_S + random.uniform(0, PHASE_S))
        signal_ms = time.time_ns() / 1e6
        signal_ns = leader.signal(signal.Signals[f"SIG{name}"])
        first = await prober.first_sent_after(signal_ns, GIVE_UP_S)
        if first is None:
            raise Unreachable(f"no write was accepted within {GIVE_UP_S:g} s of {name} to {leader.name}")
        await asyncio.sleep(AFTERMATH_S)
    finally:
        await prober.close()
    since, silence, aftermath, usual = judge(prober.accepted, signal_ns, first)
    result = Trial(name, leader.name, since, silence, aftermath, usual)
    if fires is not None:
        late = await fires.due(survivors, signal_ms, signal_ms + max(since, AFTERMATH_S * 1e3))
        result.fire_lag_ms, result.start_lag_ms, result.slots_missing = late.created_ms, late.started_ms, late.missing
    await revive(leader, name)
    return result


async def revive(node: Node, name: str) -> None:
    """The node that got the signal runs again."""
    if name == "STOP":
        node.signal(signal.SIGCONT)
        return
    await node.gone()
    node.spawn()


async def measure(cluster: Cluster, options: argparse.Namespace, folder: Path) -> list[Trial]:
    """All trials of one cluster; the signals take turns, so that a slow hour is spread over all of them."""
    fires = None
    names = options.signals * options.trials
    try:
        await start(cluster)
        if isinstance(cluster, Peercron) and options.jobs:
            fires = Fires(options.jobs)
            await fires.add(cluster.nodes)
        with progress() as bar:
            task = bar.add_task(cluster.label, total=len(names))
            trials = []
            for name in names:
                trials.append(await trial(cluster, name, options.pace_ms / 1e3, fires))
                bar.advance(task)
            return trials
    finally:
        await close(cluster)


def progress() -> Progress:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def clusters(options: argparse.Namespace, folder: Path) -> list[Cluster]:
    chosen: list[Cluster] = []
    if not options.only_etcd:
        chosen.append(Peercron(folder, options.nodes, options.flag))
    if options.etcd or options.only_etcd:
        if etcd.installed():
            chosen.append(etcd.Etcd(folder, options.nodes, options.etcd_heartbeat, options.etcd_election))
        else:
            print("etcd is not installed (Debian: etcd-server): SKIPPED", file=sys.stderr)
    return chosen


def summary(results: dict[str, list[Trial]], signals: list[str]) -> str:
    """The tables that are printed."""
    gaps, later, lags, starts = [], [], [], []
    for label, trials in results.items():
        for name in signals:
            mine = [t for t in trials if t.signal == name]
            gaps.append(Series(f"{label}, {name}", [t.gap_ms for t in mine]))
            later.append(Series(f"{label}, {name}", [t.aftermath_ms for t in mine]))
            if any(t.fire_lag_ms for t in mine):
                lags.append(Series(f"{label}, {name}", [max(t.fire_lag_ms) for t in mine if t.fire_lag_ms]))
                starts.append(Series(f"{label}, {name}", [max(t.start_lag_ms) for t in mine if t.start_lag_ms]))
    tables = [table("write gap, ms", gaps), table("longest silence in the second after it, ms", later)]
    if lags:
        tables += [table("latest run created after its slot, ms", lags)]
        tables += [table("latest process started after its slot, ms", starts)]
    missing = sum(t.slots_missing for trials in results.values() for t in trials)
    usual = (f"{label} {median(t.usual_ms for t in trials):.1f} ms" for label, trials in results.items())
    last = f"silences before the signal, p99: {', '.join(usual)}; slots without a process: {missing}"
    return "\n\n".join([*tables, last])


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of each signal (50)")
    parser.add_argument("--signals", type=lambda text: text.upper().split(","), default=["KILL", "TERM", "STOP"])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--pace-ms", type=float, default=2.0, help="between two writes to one node (2)")
    parser.add_argument("--jobs", type=int, default=4, help="that fire every 200 ms; 0: only the write gap (4)")
    parser.add_argument("--flag", action="append", default=[], metavar="--X=Y", help="more for every peercron node")
    parser.add_argument("--etcd", action="store_true", help="measure etcd too")
    parser.add_argument("--only-etcd", action="store_true")
    parser.add_argument("--etcd-heartbeat", type=int, default=0, metavar="MS", help="(etcd's default: 100)")
    parser.add_argument("--etcd-election", type=int, default=0, metavar="MS", help="(etcd's default: 1000)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of JSON and plot")
    parser.add_argument("--plot", choices=["png", "svg"], default="svg")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return parser.parse_args(arguments)


def write_out(options: argparse.Namespace, results: dict[str, list[Trial]], facts: dict[str, Any]) -> None:
    document = {
        "machine": facts,
        "options": {key: str(value) for key, value in vars(options).items()},
        "trials": {label: [asdict(t) | {"gap_ms": t.gap_ms} for t in trials] for label, trials in results.items()},
    }
    write_json(options.out / "failover.json", document)
    panels = {
        name: [Series(label, [t.gap_ms for t in trials if t.signal == name]) for label, trials in results.items()]
        for name in options.signals
    }
    picture = options.out / f"failover.{options.plot}"
    drawn = plot(picture, f"write gap after a signal to the leader, {options.nodes} nodes", panels)
    print(f"\n{options.out / 'failover.json'}, {picture if drawn else 'no plot: matplotlib is not installed'}")


def main(arguments: list[str]) -> int:
    options = options_of(arguments)
    facts = machine()
    results: dict[str, list[Trial]] = {}
    with scratch(options.keep) as folder:
        for cluster in clusters(options, folder):
            results[cluster.label] = asyncio.run(measure(cluster, options, folder))
    if not results:
        return 1
    print(summary(results, options.signals))
    write_out(options, results, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
