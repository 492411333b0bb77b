"""Three nodes with the data of the released version are replaced by the next one, one by one and under load.

Then one goes back, which is not possible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peercron.core.level import LEVEL
from tests.system.load import Writers, value_of
from tests.system.processes import Cluster, Node, cluster_in, running, wait_for
from tests.upgrade.reopened import SUMMARY, unpack_into

NEXT = Path(__file__).with_name("next.py")
THIS_LEVEL, NEXT_LEVEL = LEVEL, LEVEL + 1


def run_next(node: Node) -> None:
    """The node is the next version's from its next start on."""
    node.command[1:3] = [str(NEXT)]


def run_this(node: Node) -> None:
    node.command[1:2] = ["-m", "peercron"]


@contextmanager
def writes_going_on(cluster: Cluster) -> Iterator[None]:
    """What happens meanwhile costs no acknowledged write, and there are some before, during and after it."""
    with Writers(cluster.nodes) as writers:
        wait_for(lambda: len(writers.acknowledged) > 50, "writes before")
        yield
        count = len(writers.acknowledged)
        wait_for(lambda: len(writers.acknowledged) > count + 50, "writes after")
    assert writers.missing(cluster) == []


def replace(node: Node, version: Callable[[Node], None]) -> None:
    assert node.stop() == 0
    version(node)
    node.spawn()
    node.wait_ready()


def level_at(node: Node) -> int | None:
    level: int | None = node.status().get("level")
    return level


def refused(node: Node, path: str) -> str:
    """The detail of the refusal of something new."""
    status, body = node.request("POST", path)
    assert (status, body["code"]) == (409, "unsupported"), body
    return str(body["detail"])


def touched(node: Node) -> Any:
    return node.get("/v1/touched")


def one_digest(cluster: Cluster) -> bool:
    return len(set(cluster.digests().values())) == 1


def write_many(node: Node) -> None:
    """More than the next version keeps of its log."""
    for n in range(20):
        assert node.request("PUT", f"/v1/state/many/k{n % 3}", b"." * 4_000)[0] < 300


@pytest.mark.timeout(300)
def test_a_roll_and_no_way_back(tmp_path: Path) -> None:
    unpack_into(tmp_path)
    with cluster_in(tmp_path) as cluster:
        one, two, three = cluster.nodes
        told = json.loads(SUMMARY.read_text())
        assert {job["key"] for job in one.get("/v1/jobs")["jobs"]} >= told["jobs"].keys() - {"ops/yearly"}
        assert [value_of(one, f"n{n}", "config") for n in (1, 2, 3)] == [b"n1", b"n2", b"n3"]
        cluster.add_job({"name": "pulse", "every": "500ms", "command": ["true"]})

        # All of them speak more than what was written, so that this is in force at once.
        wait_for(lambda: [level_at(n) for n in cluster.nodes] == [THIS_LEVEL] * 3, "the level of this version")

        # One by one. What is new is refused, and who is behind is named.
        for node in (one, two):
            with writes_going_on(cluster):
                replace(node, run_next)
            detail = refused(node, "/v1/touched/early")
            assert detail.startswith("Touch needs all members to run peercron 9.9.9 or newer; ")
            assert "n3 runs 0." in detail
            assert "n3 runs 0." in refused(node, "/v1/preferred/pulse")
            assert [level_at(n) for n in cluster.nodes] == [THIS_LEVEL] * 3
            assert one_digest(cluster)

        # The last one was away for so long that it needs a snapshot, which the next version wrote.
        assert three.stop() == 0
        write_many(one)
        three.spawn()
        three.wait_ready()
        assert list(three.data_dir.rglob("snapshot-*.pcs"))
        assert one_digest(cluster)
        assert any("until all members run 9.9.9 or newer: n3" in note for note in one.status()["notes"])

        # It goes too, and what is new is there, on all of them.
        with writes_going_on(cluster):
            replace(three, run_next)
        wait_for(lambda: [level_at(n) for n in cluster.nodes] == [NEXT_LEVEL] * 3, "the next level")
        for node in cluster.nodes:
            assert node.request("POST", f"/v1/touched/{node.name}")[0] == 200
        assert two.request("POST", "/v1/preferred/pulse")[0] == 200
        assert one_digest(cluster)
        assert touched(one)["touched"].keys() == {"n1", "n2", "n3"}
        assert touched(one)["priorities"] == dict.fromkeys(told["jobs"], 0) | {"default/pulse": 7}
        assert touched(one)["zones"] == {"n1": "", "n2": "", "n3": ""}
        assert touched(one) == touched(two) == touched(three)
        slots = sorted(row["slot"] for row in cluster.ledger("pulse"))
        assert slots == list(range(slots[0], slots[-1] + 1, 500))

        # There is no way back: the snapshot of the next version says so before anything else happens.
        write_many(one)
        assert one.stop() == 0
        run_this(one)
        one.spawn()
        assert one.process is not None
        assert one.process.wait(30) == 1
        assert "peercron: the snapshot holds a Definition of " in last_line(one)
        assert "which this version does not know; this node runs peercron 0." in last_line(one)
        assert "upgrade it, and it goes on where it stopped" in last_line(one)
        run_next(one)
        one.spawn()
        one.wait_ready()
        assert touched(one)["zones"] == {"n1": "north", "n2": "", "n3": ""}
        assert one_digest(cluster)


def newest_snapshot(node: Node) -> str:
    return max((path.name for path in node.data_dir.rglob("snapshot-*.pcs")), default="")


def last_line(node: Node) -> str:
    return node.said().strip().splitlines()[-1]


def test_a_node_that_goes_back_stops_in_the_log_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_SNAPSHOT_BYTES", str(1 << 30))
    cluster = Cluster(tmp_path)
    for node in cluster.nodes:
        run_next(node)
    with running(cluster):
        one, *others = cluster.nodes
        wait_for(lambda: [level_at(n) for n in cluster.nodes] == [NEXT_LEVEL] * 3, "the next level")
        assert one.request("POST", "/v1/touched/here")[0] == 200
        assert one.stop() == 0
        run_this(one)
        one.spawn()
        halted = wait_for(lambda: one.status().get("halted"), "the older version to stop")
        assert f"of the log is in level {NEXT_LEVEL} of the language, this version speaks {THIS_LEVEL} (n" in halted
        assert "runs 9.9.9); this node runs peercron 0." in halted
        assert halted in last_line(one)

        # It stays for inspection, serves nothing, and the others go on.
        assert one.request("GET", "/livez")[0] == 503
        status, ready = one.request("GET", "/readyz")
        assert status == 503
        assert halted in ready.decode()
        assert one.request("PUT", "/v1/state/load/k", b"x")[0] == 503
        before = one.get("/v1/digest?consistency=stale")
        with Writers(others) as writers:
            wait_for(lambda: len(writers.acknowledged) > 50, "writes of the others")
        assert one.get("/v1/digest?consistency=stale") == before
        told = {row["name"]: row for row in others[0].status()["members"]}
        assert (told["n1"]["state"], told["n2"]["version"], told["n2"]["level"]) == ("unreachable", "9.9.9", NEXT_LEVEL)

        # It stops again after each start, and goes on when it is upgraded.
        one.kill()
        one.spawn()
        wait_for(lambda: one.status().get("halted"), "the older version to stop again")
        assert one.stop() == 0
        run_next(one)
        one.spawn()
        one.wait_ready()
        assert one_digest(cluster)
        assert touched(one)["touched"].keys() == {"here"}
