"""What modes promise to the second, on real nodes of which one is killed: see `tests.system.trials`."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.system.processes import cluster_in
from tests.system.trials import (
    BESIDE_WORK_MS,
    QUORUMS,
    WHEN,
    add_contended,
    add_together,
    dies_at_barrier,
    holder_killed,
    start_together,
)


def test_the_next_in_line_starts_within_the_lease_and_a_second_of_the_death_of_the_holder(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        add_contended(cluster)
        trials = [holder_killed(cluster) for _ in range(2)]
        print(*trials, sep="\n")
        assert not any(trial.wrong for trial in trials), trials


def test_five_start_together_and_what_their_quorum_declares_when_one_dies_in_the_barrier(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=5) as cluster:
        add_together(cluster)
        starts = [start_together(cluster) for _ in range(5)]
        print(*starts, sep="\n")
        assert statistics.median(trial.measured for trial in starts) < BESIDE_WORK_MS
        trial = dies_at_barrier(cluster, "in", "majority")
        assert not trial.wrong, trial


@pytest.mark.slow
def test_a_node_dies_before_the_barrier_in_it_and_after_it(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=5) as cluster:
        trials = [dies_at_barrier(cluster, when, quorum) for when in WHEN for quorum in QUORUMS]
        print(*trials, sep="\n")
        assert not any(trial.wrong for trial in trials), trials
