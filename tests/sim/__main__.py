"""More seeds than the tests try: `python -m tests.sim --seeds 5000 --members 5 --faults pakdcl`; stops at a finding."""

from __future__ import annotations

import argparse
import sys

from tests.sim.schedule import EVERYTHING, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, choices=(1, 2, 3, 5), default=3)
    parser.add_argument("--faults", default=EVERYTHING, help="letters of tests/sim/schedule.py")
    parser.add_argument("--seconds", type=float, default=20.0, help="of faults, in the world's time")
    given = parser.parse_args()
    acknowledged = 0
    for seed in range(given.first, given.first + given.seeds):
        result = run(seed, given.faults, given.members, given.seconds)
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


sys.exit(main())
