"""Simulate clusters under faults, each seed a history of its own; stops at the first that shows something wrong.

python -m tests.sim --seeds 1000               whole nodes, 10 virtual minutes each
python -m tests.sim --seed 7 --trace           one of them, with its trace
python -m tests.sim --work modes --seeds 100   jobs of all modes, queues, locks and conditions instead
python -m tests.sim --only consensus --members 5 --faults pakdcl
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.sim import schedule
from tests.sim.whole import faults
from tests.sim.whole.run import SECONDS, WORKS, Result, plan_of, run
from tests.sim.whole.trace import Trace

LAST_EVENTS = 60
BAR = 30
#: Seeds that one process takes at a time.
CHUNK = 4


def main() -> int:
    given = arguments()
    if given.only == "consensus":
        return consensus(given)
    if given.seed is not None:
        return one(given)
    return many(given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: show what happened, all of it")
    parser.add_argument("--quiet", action="store_true", help="a trace without what nodes say to each other")
    parser.add_argument("--only", choices=("whole", "consensus"), default="whole", help="whole nodes, or the log alone")
    parser.add_argument(
        "--work", choices=tuple(WORKS), default="plain", help="what clients do; modes: jobs of all modes"
    )
    parser.add_argument(
        "--families", default="", help="with --work modes: only these (tests/sim/whole/modes), by commas"
    )
    parser.add_argument("--members", type=int, choices=(1, 2, 3, 5), help="default: by seed (consensus: 3)")
    parser.add_argument("--faults", help="letters of tests/sim/whole/faults.py (consensus: of tests/sim/schedule.py)")
    parser.add_argument("--seconds", type=float, help="virtual time of faults; default 600 (consensus: 20)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="look at all seeds, whatever is found")
    parser.add_argument("--traces", type=Path, default=Path(tempfile.gettempdir()), help="folder for whole traces")
    return parser.parse_args()


# Whole nodes.


def simulate(seed: int, given: argparse.Namespace, trace: Trace | None = None) -> Result:
    plan = plan_of(seed, *of(given))
    if given.families:
        plan = replace(plan, families=tuple(given.families.split(",")))
    if trace is None:
        return run(plan)
    with trace.logs():
        return run(plan, trace.tell)


def one(given: argparse.Namespace) -> int:
    trace = Trace(messages=not given.quiet)
    result = simulate(given.seed, given, trace)
    if given.trace:
        say("\n".join(trace.lines) + "\n")
    show(result)
    return 0 if result.sound else 1


def of(given: argparse.Namespace) -> tuple[str, float, int | None, str]:
    letters = faults.EVERYTHING if given.faults is None else given.faults
    return letters, given.seconds or SECONDS, given.members, given.work


def many(given: argparse.Namespace) -> int:
    begun, totals, bad = time.monotonic(), Counter[str](), []
    seeds = range(given.first, given.first + given.seeds)
    for done, result in enumerate(results(seeds, given), start=1):
        for name in ("answered", "unknown", "attempts", "slots", "faults", "entries", "snapshots_taken_over", "terms"):
            totals[name] += getattr(result, name)
        for name, count in result.tally.items():
            totals[name] += count
        progress(done, given.seeds, time.monotonic() - begun, len(bad))
        if not result.sound:
            bad.append(result.seed)
            say("\n")
            show(result)
            if not given.keep_going:
                break
    say("\n" + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in totals.items()) + "\n")
    if not bad:
        say(f"nothing found in {given.seeds} seeds of {of(given)[1]:g} virtual seconds\n")
        return 0
    explain(bad[0], given)
    return 1


def results(seeds: Iterable[int], given: argparse.Namespace) -> Iterator[Result]:
    one_seed = partial(simulate, given=given)
    if given.jobs == 1:
        yield from map(one_seed, seeds)
        return
    with ProcessPoolExecutor(given.jobs) as pool:
        try:
            yield from pool.map(one_seed, seeds, chunksize=CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def explain(seed: int, given: argparse.Namespace) -> None:
    """The same again, with a trace: its end here, all of it in a file."""
    trace = Trace()
    result = simulate(seed, given, trace)
    path = given.traces / f"sim-seed-{seed}.txt"
    path.write_text("\n".join(trace.lines) + "\n", encoding="utf-8")
    say(f"\nthe last {LAST_EVENTS} events of seed {seed}:\n")
    say("\n".join(trace.lines[-LAST_EVENTS:]) + "\n")
    show(result)
    more = f"--work {given.work} " if given.work != "plain" else ""
    say(f"all of it: {path}\nagain: python -m tests.sim {more}--seed {seed} --trace\n")


def show(result: Result) -> None:
    say(f"seed {result.seed}: trace {result.trace}, {result.seconds:.0f} virtual seconds, {result.faults} faults\n")
    for finding in result.findings:
        say(f"  {finding}\n")


def progress(done: int, of_all: int, elapsed_s: float, bad: int) -> None:
    filled = BAR * done // of_all
    left_s = elapsed_s / done * (of_all - done)
    found = f", {bad} with findings" if bad else ""
    say(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{of_all} seeds, {left_s:.0f} s left{found}   ")


# The consensus alone.


def consensus(given: argparse.Namespace) -> int:
    letters, members = given.faults or schedule.EVERYTHING, given.members or 3
    acknowledged = 0
    for seed in [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds):
        result: Any = schedule.run(seed, letters, members, given.seconds or 20.0)
        acknowledged += result.acknowledged
        if not result.sound:
            say(f"\nseed {seed}: {result}\n")
            return 1
        if seed % 10 == 9:
            say(f"\r{seed - given.first + 1} seeds, {acknowledged} writes acknowledged")
    say("\nnothing found\n")
    return 0


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
