"""Real nodes come, go, move and are wiped while their cluster runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.load import Writers
from tests.system.processes import Cluster, Node, cluster_in, free_ports, wait_for
from tests.system.soak import witness


def rows(node: Node) -> dict[str, dict[str, Any]]:
    """Name -> member row, as this node sees it; {} where it does not answer."""
    return {row["name"]: row for row in node.status().get("members", ())}


def settled(cluster: Cluster, **roles: str) -> bool:
    """Every living node sees exactly these members, in these roles and well."""
    seen = [rows(node) for node in cluster.living]
    well = {"leader", "follower"}
    return all(
        {name: row["role"] for name, row in each.items()} == roles and all(r["state"] in well for r in each.values())
        for each in seen
    )


def members(cluster: Cluster, **roles: str) -> None:
    wait_for(lambda: settled(cluster, **roles), f"{roles}")


def ended(node: Node) -> tuple[int, str]:
    """The exit code of a process that ends by itself, and the last line that it wrote."""
    assert node.process is not None
    code = node.process.wait(20)
    return code, node.said().splitlines()[-1]


def cli(cluster: Cluster, *args: str) -> subprocess.CompletedProcess[str]:
    addresses = ",".join(f"127.0.0.1:{node.http_port}" for node in cluster.living)
    command = [sys.executable, "-m", "peercron", *args, "--addr", addresses]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def remove(cluster: Cluster, name: str) -> None:
    result = cli(cluster, "member", "remove", name)
    assert result.returncode == 0, result.stderr


V3 = {"n1": "voter", "n2": "voter", "n3": "voter"}


def test_a_node_joins_a_cluster_that_works(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        with Writers(cluster.nodes) as writers:
            wait_for(lambda: len(writers.acknowledged) > 100, "writes")
            newcomer = cluster.newcomer(via=cluster.others(cluster.leader())[0])
            newcomer.spawn()
            members(cluster, **V3, n4="voter")
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 100, "more writes")
        assert writers.missing(cluster) == []
        assert newcomer.status()["voters"] == 4
        cluster.add_job({"name": "hello", "every": "500ms", "command": witness(tmp_path, 0.05), "nodes": ["n4"]})
        wait_for(lambda: {row["node"] for row in cluster.ledger("hello")} == {"n4"}, "a run on the newcomer")
        assert len(set(cluster.digests().values())) == 1


def test_an_invitation_says_what_a_node_becomes(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        (port,) = free_ports(1)
        told = cli(cluster, "member", "add", f"127.0.0.1:{port}", "--role", "witness")
        assert (told.returncode, f"--self 127.0.0.1:{port} --role witness" in told.stdout) == (0, True)
        listed = cli(cluster, "member", "list").stdout
        assert f"127.0.0.1:{port}" in next(line for line in listed.splitlines() if "invited" in line)
        cluster.newcomer(peer_port=port).spawn()
        members(cluster, **V3, n4="witness")
        assert "invited" not in cli(cluster, "member", "list").stdout


@pytest.mark.slow
def test_a_newcomer_that_is_killed_while_it_joins_joins_once(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        newcomer = cluster.newcomer()
        for _ in range(5):
            newcomer.spawn()
            wait_for(lambda: "joining" in newcomer.said(), "its wish")
            newcomer.kill()
        newcomer.spawn()
        members(cluster, **V3, n4="voter")


@pytest.mark.slow
def test_who_joins_through_a_member_that_dies_joins_through_another(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        first, second = cluster.others(leader)
        for node in (leader, first):
            node.kill()
        newcomer = cluster.newcomer(via=second)  # without a leader it can only be put off
        newcomer.spawn()
        wait_for(lambda: "not_joined_yet" in newcomer.said(), "to be put off")
        second.kill()
        leader.spawn()
        first.spawn()
        members_of = [leader, first, newcomer]
        wait_for(lambda: all(len(rows(node)) == 4 for node in members_of), "four members")
        second.spawn()
        members(cluster, **V3, n4="voter")


@pytest.mark.parametrize(
    ("by", "whom"),
    [
        ("itself", "leader"),
        ("another", "follower"),
        pytest.param("itself", "follower", marks=pytest.mark.slow),
        pytest.param("another", "leader", marks=pytest.mark.slow),
    ],
)
def test_a_member_is_removed_and_stops(tmp_path: Path, whom: str, by: str) -> None:
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        goes = leader if whom == "leader" else cluster.others(leader)[0]
        cluster.add_job({"name": "hello", "every": "500ms", "command": witness(tmp_path, 0.3)})
        wait_for(lambda: len(cluster.ledger("hello")) > 2, "runs")
        asked = goes if by == "itself" else cluster.others(goes)[0]
        status, answer = asked.request("DELETE", f"/v1/members/{goes.name}")
        assert (status, answer["removed"]) == (200, goes.name)
        code, last = ended(goes)
        assert code == 2
        assert f"{goes.name} was removed from this cluster" in last
        assert "--join" in last
        cluster.forget(goes)
        members(cluster, **{node.name: "voter" for node in cluster.nodes})
        before = len(cluster.ledger("hello"))
        wait_for(lambda: len(cluster.ledger("hello")) > before + 2, "runs without it")
        # What is left of it knows so, at its next start too.
        goes.spawn()
        assert ended(goes)[0] == 2


@pytest.mark.slow
def test_who_was_removed_while_it_was_down_hears_it_when_it_comes(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        gone = cluster.others(cluster.leader())[0]
        gone.kill()
        remove(cluster, gone.name)
        assert cli(cluster, "member", "remove", gone.name).returncode == 3
        gone.spawn()
        code, last = ended(gone)
        assert (code, f"{gone.name} was removed from this cluster" in last) == (2, True)


@pytest.mark.slow
def test_who_cannot_be_spared_is_not_removed(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        dead, alive = cluster.others(leader)
        dead.kill()
        result = cli(cluster, "member", "remove", alive.name)
        assert (result.returncode, f"bring back or remove {dead.name} first" in result.stderr) == (1, True)
        remove(cluster, dead.name)
        cluster.forget(dead)
        remove(cluster, alive.name)
        assert ended(alive)[0] == 2
        cluster.forget(alive)
        members(cluster, **{leader.name: "voter"})
        result = cli(cluster, "member", "remove", leader.name)
        assert (result.returncode, "no voter left" in result.stderr) == (1, True)


def test_a_wiped_founder_is_refused_and_comes_back_as_another(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        wiped = cluster.others(cluster.leader())[0]
        wiped.kill()
        shutil.rmtree(wiped.data_dir)
        wiped.spawn()
        code, last = ended(wiped)
        assert (code, f"`peercron member remove {wiped.name}`" in last) == (2, True)
        cluster.forget(wiped)
        shutil.rmtree(wiped.data_dir)
        # Nor may it come in by the other door before it was removed.
        again = cluster.newcomer(name=wiped.name, peer_port=wiped.peer_port)
        again.spawn()
        code, last = ended(again)
        assert (code, f"is the address of member {wiped.name}" in last) == (2, True)
        remove(cluster, wiped.name)
        again.spawn()
        members(cluster, **V3)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["smallest", "largest"])
def test_a_member_moves_to_another_address(tmp_path: Path, whom: str) -> None:
    with cluster_in(tmp_path) as cluster:
        by_port = sorted(cluster.nodes, key=lambda node: f"127.0.0.1:{node.peer_port}")
        mover = by_port[0] if whom == "smallest" else by_port[-1]
        assert mover.stop() == 0
        (port,) = free_ports(1)
        mover.command[mover.command.index("--self") + 1] = f"127.0.0.1:{port}"
        mover.spawn()
        seen = {f"127.0.0.1:{port}"}
        wait_for(lambda: {rows(n).get(mover.name, {}).get("address") for n in cluster.living} == seen, "its address")
        members(cluster, **V3)
        for node in cluster.nodes:
            node.stop()
        cluster.start()
        members(cluster, **V3)


@pytest.mark.slow
def test_all_move_at_once(tmp_path: Path) -> None:
    """Where they are now is in nobody's log, but --peers says so."""
    with cluster_in(tmp_path) as cluster:
        cluster.request("PUT", "/v1/state/default/before", b"1")
        for node in cluster.nodes:
            assert node.stop() == 0
        ports = free_ports(3)
        for node, port in zip(cluster.nodes, ports, strict=True):
            node.command[node.command.index("--peers") + 1] = ",".join(f"127.0.0.1:{each}" for each in ports)
            node.command[node.command.index("--self") + 1] = f"127.0.0.1:{port}"
        cluster.start()
        seen = [f"127.0.0.1:{port}" for port in ports]
        wait_for(lambda: [rows(n).get(n.name, {}).get("address") for n in cluster.nodes] == seen, "their addresses")
        members(cluster, **V3)
        assert cluster.request("GET", "/v1/state/default/before") == 1


@pytest.mark.slow
def test_the_address_of_another_is_not_ones_own(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        one, other = cluster.nodes[0], cluster.nodes[1]
        one.stop()
        other.stop()
        at = one.command.index("--self") + 1
        own, one.command[at] = one.command[at], f"127.0.0.1:{other.peer_port}"
        one.spawn()
        code, last = ended(one)
        assert (code, f"belongs to 127.0.0.1:{one.peer_port}" in last) == (2, True)
        one.command[at] = own
        cluster.start()


def test_membership_survives_a_restart_of_everything(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.newcomer().spawn()
        cluster.newcomer("--role", "witness").spawn()
        members(cluster, **V3, n4="voter", n5="witness")
        remove(cluster, "n1")
        ended(cluster["n1"])
        cluster.forget(cluster["n1"])
        left = {"n2": "voter", "n3": "voter", "n4": "voter", "n5": "witness"}
        members(cluster, **left)
        assert cli(cluster, "member", "drain", "n4").returncode == 0
        for node in cluster.nodes:
            node.kill()
        cluster.start()
        members(cluster, **left)
        assert rows(cluster["n2"])["n4"]["drained"] is True


def test_a_founder_can_be_a_witness(tmp_path: Path) -> None:
    with cluster_in(tmp_path, own_flags={2: ("--role", "witness")}) as cluster:
        members(cluster, n1="voter", n2="voter", n3="witness")
        wait_for(lambda: cluster.leader().name != "n3", "a leader that works")
        cluster.add_job({"name": "hello", "every": "200ms", "command": witness(tmp_path, 0.1), "overlap": "allow"})
        wait_for(lambda: len(cluster.ledger("hello")) > 20, "runs")
        assert {row["node"] for row in cluster.ledger("hello")} == {"n1", "n2"}
        refused = cli(cluster, "member", "transfer", "n3")
        assert (refused.returncode, "only voters lead" in refused.stderr) == (1, True)
        other = next(name for name in ("n1", "n2") if name != cluster.leader().name)
        assert cli(cluster, "member", "transfer", other).stdout == f"{other} leads\n"
        cluster[other].kill()
        cluster.request("PUT", "/v1/state/default/after", b"1")


@pytest.mark.slow
def test_the_dead_are_removed_where_that_was_asked_for(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=4, flags=("--remove-dead-after", "10s")) as cluster:
        dead = cluster.others(cluster.leader())[0]
        dead.kill()
        wait_for(lambda: dead.name not in rows(cluster.leader()), f"{dead.name} to be removed", timeout=40)
        cluster.forget(dead)
        members(cluster, **{node.name: "voter" for node in cluster.nodes})


def test_the_wrong_secret_does_not_join(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "guess").write_text("fedcba9876543210fedcba9876543210")
    with cluster_in(tmp_path, size=1, flags=("--secret-file", str(tmp_path / "secret"))) as cluster:
        stranger = cluster.newcomer("--secret-file", str(tmp_path / "guess"))
        stranger.spawn()
        code, last = ended(stranger)
        assert (code, "secret" in last) == (2, True)
        cluster.forget(stranger)
        cluster.newcomer(name="n2").spawn()
        members(cluster, n1="voter", n2="voter")
