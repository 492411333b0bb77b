"""A node's disk is full: it steps down and says why, the others go on, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.load import Writers
from tests.system.processes import Cluster, wait_for

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


def test_the_leader_s_disk_is_full(disks: Path) -> None:
    cluster = Cluster(disks)
    try:
        leader = cluster.start()
        resize(leader.data_dir, SMALL)
        with Writers(cluster.others(leader), size=16_384) as writers:
            wait_for(lambda: not leader.alive or leader.status().get("leader") != leader.name, "it to step down")
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 50, "writes after that")
        assert "No space left" in leader.said()
        assert (
            leader.request("PUT", "/v1/state/load/refused", b"x", timeout=3)[0] not in (200, 201, 204) or leader.ready
        )
        if leader.alive:
            leader.stop()
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
            wait_for(lambda: sum("No space left" in node.said() for node in cluster.nodes) >= 2, "two to say so")
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
