"""All nodes die at once under load: what was acknowledged is there again, also when a journal lost its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.system.load import Writers
from tests.system.processes import Cluster, Node, cluster_in, wait_for
from tests.system.soak import witness


def kill_all_under_load(cluster: Cluster, folder: Path, name: str) -> Writers:
    """kill -9 of every node while writes and jobs are under way."""
    cluster.add_job({"name": f"job-{name}", "every": "200ms", "command": witness(folder, 0.1), "overlap": "allow"})
    with Writers(cluster.nodes, name) as writers:
        wait_for(lambda: len(writers.acknowledged) > 300, "writes")
        for node in cluster.nodes:
            node.signal(signal.SIGKILL)
        for node in cluster.nodes:
            node.kill()
    return writers


def newest_journal(node: Node) -> Path:
    """The file of the data directory that was written last and belongs to the journal."""
    files = [
        path for path in node.data_dir.rglob("*") if path.is_file() and "wal" in str(path.relative_to(node.data_dir))
    ]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def cut(path: Path, count: int) -> None:
    os.truncate(path, path.stat().st_size - count)


def test_all_nodes_are_killed_at_once(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        writers = kill_all_under_load(cluster, tmp_path, "a")
        cluster.start()
        assert writers.missing(cluster) == []
        assert len(set(cluster.digests().values())) == 1


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 37])
def test_a_journal_lost_its_end(tmp_path: Path, count: int) -> None:
    """A torn tail is what a power cut leaves; the others still have every acknowledged entry."""
    with cluster_in(tmp_path) as cluster:
        writers = kill_all_under_load(cluster, tmp_path, "a")
        cut(newest_journal(cluster.nodes[0]), count)
        cluster.start()
        assert writers.missing(cluster) == []
        assert len(set(cluster.digests().values())) == 1
