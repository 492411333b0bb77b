"""A short run of the turning program: equal counts, and a node that was killed joins at the end of the line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.system.processes import cluster_in
from tests.system.turning import NODES, Report, Row, Turning

pytestmark = pytest.mark.timeout(120)

OTHERS = ("n1", "n2", "n3", "n4")


def turns(names: Sequence[str]) -> list[Row]:
    return [{"kind": "run", "what": "assigned", "node": name, "attempt": 1} for name in names]


def test_the_judge_holds_counts_to_one() -> None:
    uneven, even = Report(), Report()
    uneven.judge_calm(["n1", "n2", "n3"], turns(["n1", "n2", "n1"]))
    assert not uneven.good, "n3 had none, and n1 two"
    even.judge_calm(["n1", "n2", "n3"], turns(["n1", "n2", "n3", "n1"]))
    assert even.good, str(even)


def test_the_judge_wants_who_was_dead_at_the_end_of_the_line() -> None:
    right = ["n2", "n3", "n4", "n1", "n5", "n2"]
    for without, after, good in (
        (["n1", "n2"], right, True),
        (["n1", "n5"], right, False),
        (["n1", "n2"], right[1:], False),
        (["n1", "n2"], ["n1", *right], False),
        (["n1", "n2"], right[:4], False),
    ):
        report = Report()
        report.judge_loss("n5", OTHERS, without, after)
        assert report.good is good, str(report)


@pytest.mark.slow  # the matrix has the turns of three nodes
def test_five_have_their_turns_equally_often_and_who_was_dead_joins_at_the_end(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=NODES) as cluster:
        report = Turning(cluster, random.Random(4)).run(slots=33, losses=1)
    assert report.good, str(report)
    assert report.counts.total() == 33
    assert len(report.losses) == 1
