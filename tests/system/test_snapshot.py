"""A cluster is saved from a follower and comes to life again in another; what is damaged or not asked for does not."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from peercron.core.history import entries_of
from peercron.core.state import ClusterState, Key
from peercron.core.views import instant
from peercron.wire.archive import ArchiveReader, ArchiveWriter, Header, inflate
from peercron.wire.snapshot import blocks, freeze, thaw
from tests.system.processes import Cluster, Node, cluster_in, wait_for
from tests.system.soak import witness

#: Tokens of a second generation begin here.
SECOND_GENERATION = 1 << 40


def peercron(*nodes: Node, args: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The command line, with these nodes as its cluster."""
    addresses = ",".join(f"http://127.0.0.1:{node.http_port}" for node in nodes)
    command = [sys.executable, "-m", "peercron", "--addr", addresses, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def ok(*nodes: Node, args: tuple[str, ...]) -> str:
    told = peercron(*nodes, args=args)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def follower_of(cluster: Cluster) -> Node:
    return cluster.others(cluster.leader())[0]


def read(path: Path) -> ClusterState:
    reader = ArchiveReader()
    chunks = reader.feed(path.read_bytes())
    reader.finish()
    return thaw(map(inflate, chunks))


def add_work(cluster: Cluster, folder: Path) -> None:
    cluster.add_job({"name": "beat", "every": "500ms", "command": witness(folder, 0.05), "misfire": {"policy": "skip"}})
    cluster.add_job({"name": "nightly", "schedule": "17 3 1 1 *", "timezone": "Europe/Berlin", "shell": "true"})
    cluster.add_job({"name": "waits", "every": "1s", "shell": "true", "paused": True})
    cluster.add_job({"name": "long", "command": witness(folder, 600), "kill_grace": "1s"})
    cluster.request("POST", "/v1/jobs/long:run")
    for n in range(20):
        cluster.request("PUT", f"/v1/state/load/k{n}", f"value {n}".encode())


def ledger_of(cluster: Cluster, job: str) -> dict[int, dict[str, Any]]:
    return {row["slot"]: row for row in cluster.ledger(job)}


def saved(folder: Path) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """A cluster at work, saved from a follower and ended: (the file, its jobs as exported, its beat's ledger)."""
    file = folder / "a.snapshot"
    with cluster_in(folder / "a") as cluster:
        add_work(cluster, folder)
        wait_for(lambda: len(cluster.ledger("beat")) >= 6 and cluster.runs("long"), "slots and runs")
        said = ok(follower_of(cluster), args=("snapshot", "save", str(file)))
        assert "checksum  ok" in said
        return file, cluster.request("GET", "/v1/export"), cluster.ledger("beat")


@pytest.mark.timeout(240)
def test_a_cluster_comes_to_life_again_in_another(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    file, export, beats = saved(tmp_path)
    old = read(file)
    with cluster_in(tmp_path / "b") as cluster:
        receiver = follower_of(cluster)
        before = cluster.digests()

        for spoiled in (damaged(file), cut(file)):
            status, answer = receiver.request("PUT", "/v1/snapshot", spoiled.read_bytes())
            assert (status, answer["code"]) == (422, "snapshot_damaged")
            told = peercron(receiver, args=("snapshot", "restore", str(spoiled)))
            assert (told.returncode, "damaged" in told.stderr) == (1, True)
        assert cluster.digests() == before

        assert "checksum  ok" in ok(args=("snapshot", "inspect", str(file)))
        ok(receiver, args=("snapshot", "restore", str(file)))
        assert cluster.request("GET", "/v1/export") == export
        for n in range(20):
            status, value = receiver.request("GET", f"/v1/state/load/k{n}")
            assert (status, value) == (200, f"value {n}".encode())
        check_positions(cluster, old, beats)
        check_long(cluster)

        told = peercron(*cluster.nodes, args=("snapshot", "restore", str(file)))
        assert (told.returncode, "already" in told.stderr) == (6, True)
        assert len(set(cluster.digests().values())) == 1


def check_positions(cluster: Cluster, old: ClusterState, beats: list[dict[str, Any]]) -> None:
    """What was decided stays decided, what comes next follows on it, and the jobs fire."""
    uids = {job.definition.name: job.uid for job in old.jobs.values()}
    nightly = cluster.request("GET", "/v1/jobs/nightly/next?n=1")["next"][0]["scheduled_for"]
    assert nightly == instant(old.cursors[uids["nightly"]].next_ms)
    assert cluster.request("GET", "/v1/jobs/waits")["paused"] is True
    kept = {entry.slot_ms: entry for entry in entries_of(old, uids["beat"])}

    def beats_again() -> bool:
        tokens = [int(row["token"] or 0) for row in cluster.ledger("beat")]
        return sum(token >= SECOND_GENERATION for token in tokens) >= 3

    wait_for(beats_again, "jobs to fire with tokens of the new generation")
    now = ledger_of(cluster, "beat")
    for row in beats:
        entry = kept.get(row["slot"])
        if entry is not None:
            assert (now[row["slot"]]["outcome"], now[row["slot"]]["token"]) == (row["outcome"], row["token"])
    slots = sorted(now)
    assert slots == list(range(slots[0], slots[-1] + 1, 500)), "every slot has its entry, also those in between"
    cursor_ms = old.cursors[uids["beat"]].after_ms
    assert all(slot > cursor_ms for slot, row in now.items() if (row["token"] or 0) >= SECOND_GENERATION)


def check_long(cluster: Cluster) -> None:
    """The run that was alive when it was saved lives again, as its next attempt."""
    (run,) = cluster.runs("long")
    assert run["attempts"][0]["state"] == "lost"
    wait_for(lambda: cluster.runs("long")[0]["attempts"][-1]["state"] == "started", "the long run to live")
    assert cluster.runs("long")[0]["attempts"][-1]["token"] >= SECOND_GENERATION


def damaged(file: Path) -> Path:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    return written(file.with_suffix(".damaged"), bytes(content))


def cut(file: Path) -> Path:
    return written(file.with_suffix(".cut"), file.read_bytes()[:-20])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def large_file(path: Path, keys: int) -> ClusterState:
    """A file whose restore takes a while: values that cannot be compressed."""
    dice, state = random.Random(7), ClusterState(index=keys)
    state.keys["load"] = {f"k{n}": Key(dice.randbytes(200_000), n + 1, n + 1) for n in range(keys)}
    state.key_count = keys
    writer = ArchiveWriter()
    with path.open("wb") as file:
        file.write(writer.begin(Header("old", keys, 1, 1, 1, "0.1.0", 0, 0, 0, keys, 0)))
        for block in blocks(freeze(state)):
            file.writelines(writer.write(block))
        file.write(writer.end())
    return state


def index_of(node: Node) -> int:
    """As every answer tells it; a digest of a large state would keep the node from its work."""
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/livez", timeout=8) as answer:
        return int(answer.headers["Peercron-Index"])


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("asked", ["the leader", "a follower"])
def test_the_leader_dies_in_the_middle_of_a_restore(tmp_path: Path, asked: str) -> None:
    """Through a follower the restore goes on by itself; where the node that was asked dies, the next one is."""
    file = tmp_path / "large.snapshot"
    old = large_file(file, keys=150)
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        first = leader if asked == "the leader" else follower_of(cluster)
        rest = [node for node in cluster.nodes if node is not first]
        told: list[subprocess.CompletedProcess[str]] = []
        work = threading.Thread(
            target=lambda: told.append(peercron(first, *rest, args=("snapshot", "restore", str(file))))
        )
        begun = index_of(leader)
        work.start()
        wait_for(lambda: index_of(leader) > begun + 30, "some parts to come")
        assert index_of(leader) < begun + 200, "some parts are still to come"
        leader.kill()
        work.join()
        (answer,) = told
        assert answer.returncode == 0, answer.stdout + answer.stderr
        leader.spawn()
        cluster.settle()
        for node in cluster.nodes:
            for n in (0, 77, 149):
                assert node.request("GET", f"/v1/state/load/k{n}") == (200, old.keys["load"][f"k{n}"].value)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_restore_by_force_replaces_what_runs(tmp_path: Path) -> None:
    """A run of the cluster itself comes back with its own snapshot, and never lives twice at once."""
    with cluster_in(tmp_path) as cluster:
        add_work(cluster, tmp_path)
        wait_for(lambda: len(cluster.ledger("beat")) >= 3 and cluster.runs("long"), "slots and runs")
        file = tmp_path / "self.snapshot"
        ok(*cluster.nodes, args=("snapshot", "save", str(file)))
        cluster.request("DELETE", "/v1/state/load/k3")
        cluster.request("DELETE", "/v1/jobs/nightly")
        refused = peercron(*cluster.nodes, args=("snapshot", "restore", str(file)))
        assert (refused.returncode, "3 jobs" in refused.stderr) == (6, True)
        ok(*cluster.nodes, args=("snapshot", "restore", "--force", str(file)))
        assert cluster.nodes[0].request("GET", "/v1/state/load/k3")[0] == 200
        assert cluster.request("GET", "/v1/jobs/nightly")["name"] == "nightly"
        check_long(cluster)
        said = (tmp_path / "witness.log").read_text()
        assert "overlap" not in said
        assert len(set(cluster.digests().values())) == 1
