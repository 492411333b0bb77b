"""All modes at once on clusters of two, three and five whose nodes are lost in turn: see `tests.system.modes`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.system.modes import FAULTS, matrix, report
from tests.system.modes_seen import WRONG_CLOCK


def judged(folder: Path, nodes: int, faults: Sequence[str] = FAULTS) -> None:
    with matrix(folder, nodes) as work:
        seen, verdict = work.run(0, faults)
    told = report(seen, verdict)
    print(told)
    assert not verdict.faults, told
    columns = {phase.name for phase in seen.phases}
    unseen = [(job.name, name) for job in seen.jobs for name in columns if not verdict.judged[job.name, name]]
    # What fell into a time in which the machine stood still is not judged.
    assert seen.stalls or not unseen, f"nothing was judged of {unseen}:\n{told}"


def test_three_nodes(tmp_path: Path) -> None:
    # Slices have a test of their own with a wrong clock, which takes less time.
    judged(tmp_path, 3, [fault for fault in FAULTS if fault != WRONG_CLOCK])


@pytest.mark.slow
def test_two_nodes(tmp_path: Path) -> None:
    judged(tmp_path, 2)


@pytest.mark.slow
def test_five_nodes(tmp_path: Path) -> None:
    judged(tmp_path, 5)
