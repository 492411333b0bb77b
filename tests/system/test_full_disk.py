"""A node's disk is full: it says why and ends, the others go on, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.load import Writers
from tests.system.processes import Cluster, Node, wait_for

SMALL, LARGE = "6m", "200m"


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own for each of the nodes n1, n2 and n3."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mounted: list[Path] = []
    try:
        for name in ("n1", "n2", "n3"):
            (tmp_path / name).mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(tmp_path / name)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("this machine lets nobody mount a file system")
            mounted.append(tmp_path / name)
        yield tmp_path
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def assert_it_says_why(node: Node) -> None:
    """In its last line; and ends so that whoever looks after it starts it again."""
    assert node.process is not None
    assert node.process.wait() == 1
    assert f"peercron: no room left in {node.data_dir}/log: No space left on device (" in node.said()
    assert "Traceback" not in node.said()


def test_the_leader_s_disk_is_full(disks: Path) -> None:
    cluster = Cluster(disks)
    try:
        leader = cluster.start()
        resize(leader.data_dir, SMALL)
        with Writers(cluster.others(leader), size=16_384) as writers:
            wait_for(lambda: not leader.alive, "it to end")
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 50, "writes after that")
        assert_it_says_why(leader)
        resize(leader.data_dir, LARGE)
        cluster.start()
        assert writers.missing(cluster) == []
        assert len(set(cluster.digests().values())) == 1
    finally:
        cluster.close()


def test_all_disks_are_full(disks: Path) -> None:
    cluster = Cluster(disks)
    try:
        cluster.start()
        for node in cluster.nodes:
            resize(node.data_dir, SMALL)
        with Writers(cluster.nodes, size=65_536) as writers:
            wait_for(lambda: len(cluster.living) <= 1, "two to end")
        for node in cluster.nodes:
            if not node.alive:
                assert_it_says_why(node)
        for node in cluster.living:
            status, _ = node.request("PUT", "/v1/state/load/refused", b"." * 65_536, timeout=3)
            assert not 200 <= status < 300
            node.stop()
        for node in cluster.nodes:
            resize(node.data_dir, LARGE)
        cluster.start()
        assert writers.missing(cluster) == []
        assert len(set(cluster.digests().values())) == 1
    finally:
        cluster.close()
