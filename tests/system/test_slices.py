"""Slices with real nodes: each fires its own and nobody else's, also with no quorum; the ledger has each slot once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.clocks import mislead, set_clock
from tests.system.netns import Network, unavailable
from tests.system.processes import Cluster, Node, cluster_in, running, wait_for

#: The shortest slice that there is, and a slot at the beginning of each.
SLICE_MS = 5_000
JOB = {"name": "turn", "every": "5s", "mode": "slice", "slice": "5s", "timeout": "1s"}


def add_job(cluster: Cluster) -> None:
    """Each run writes (node, slot, token) into a file: the slot's instant is the token."""
    line = f'echo "$PEERCRON_NODE $PEERCRON_FENCING_TOKEN $PEERCRON_RUN_ID" >> {cluster.folder / "witness"}'
    cluster.add_job(JOB | {"shell": line})
    names = {node.name for node in cluster.nodes}  # founders have them some moments after the start
    wait_for(lambda: all(knows(node, names) for node in cluster.nodes), "all to know the job, and whose its time is")


def knows(node: Node, names: set[str]) -> bool:
    told = slices_of(node)
    return told["node"] == node.name and [set(job["nodes"]) for job in told["jobs"]] == [names]


def slices_of(node: Node) -> dict[str, Any]:
    body = node.get("/v1/slices")
    assert isinstance(body, dict)
    return body


def fired(cluster: Cluster) -> dict[int, list[str]]:
    """Slot -> nodes that ran something for it, as the runs themselves saw it."""
    seen: dict[int, list[str]] = {}
    path = cluster.folder / "witness"
    for line in path.read_text().splitlines() if path.exists() else ():
        node, token, run_id = line.split()
        assert run_id.endswith(f"/{token}")
        seen.setdefault(int(token), []).append(node)
    return seen


def owner(cluster: Cluster, slot_ms: int) -> str:
    names = [seat["name"] for seat in cluster.living[0].status()["members"]]
    return str(names[slot_ms // SLICE_MS % len(names)])


def slots_since(first_ms: int) -> list[int]:
    """Those that have come, but for one that may be on its way."""
    last_ms = time.time_ns() // 1_000_000 - 2_000
    return list(range(-(-first_ms // SLICE_MS) * SLICE_MS, last_ms, SLICE_MS))


def entries(cluster: Cluster) -> dict[int, dict[str, Any]]:
    rows = cluster.ledger("turn")
    assert max(Counter(row["slot"] for row in rows).values(), default=1) == 1, "a slot is there twice"
    return {row["slot"]: row for row in rows}


def check_all(cluster: Cluster, first_ms: int, slots: list[int], *, down: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """No slot ran twice, each on its owner, none of a living node is left out; the ledger says the same."""
    ran = fired(cluster)
    assert {slot: nodes for slot, nodes in ran.items() if nodes != [owner(cluster, slot)]} == {}
    assert [slot for slot in slots if slot not in ran and slot not in down] == []
    wait_for(lambda: set(slots) <= entries(cluster).keys(), "every slot to be in the ledger")
    told = entries(cluster)
    for slot in slots:
        expected = ("succeeded", owner(cluster, slot)) if slot in ran else ("missed", None)
        assert (told[slot]["outcome"], told[slot]["node"]) == expected, told[slot]


@pytest.mark.slow
def test_one_of_two_is_killed_and_the_other_keeps_its_own_slices(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=2) as cluster:
        one, two = cluster.nodes
        note = "two voters and no witness: losing either stops everything that needs a quorum; jobs in slices go on"
        assert note in one.status()["notes"]
        assert note in one.said()
        first_ms = time.time_ns() // 1_000_000
        add_job(cluster)
        wait_for(lambda: len(fired(cluster)) >= 2, "both to have had a slice")
        two.kill()
        killed_ms = time.time_ns() // 1_000_000
        wait_for(lambda: one.status().get("leader") is None, "the quorum to be lost")
        alone = len(fired(cluster))
        wait_for(lambda: len(fired(cluster)) >= alone + 2, "it to have two slices more")
        assert {nodes[0] for slot, nodes in fired(cluster).items() if slot > killed_ms} == {one.name}
        assert slices_of(one)["jobs"][0]["untold"], "nobody is there to be told"
        # One more slice of the dead node's goes by; then it comes back.
        lost = {slot for slot in slots_since(killed_ms - 1_000) if owner(cluster, slot) == two.name}
        two.spawn()
        cluster.settle()
        back_ms = time.time_ns() // 1_000_000
        wait_for(lambda: any(slot > back_ms and n == [two.name] for slot, n in fired(cluster).items()), "it to be back")
        slots = [slot for slot in slots_since(first_ms) if slot in fired(cluster) or slot in lost]
        down = {slot for slot in slots_since(first_ms) if killed_ms - 2_000 < slot <= back_ms}
        check_all(cluster, first_ms, slots, down=down & {s for s in down if owner(cluster, s) == two.name})
        assert {told["reason"] for slot, told in entries(cluster).items() if slot in lost - fired(cluster).keys()} <= {
            f"node {two.name} was down"
        }


def test_who_comes_back_to_no_quorum_goes_on_with_the_slices_it_knew(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=2) as cluster:
        one, two = cluster.nodes
        add_job(cluster)
        two.kill()
        one.kill()
        one.spawn()
        back_ms = time.time_ns() // 1_000_000
        wait_for(lambda: any(slot > back_ms and n == [one.name] for slot, n in fired(cluster).items()), "its slice")
        assert one.status()["leader"] is None
        two.spawn()
        cluster.settle()
        wait_for(lambda: not slices_of(one)["jobs"][0]["untold"], "it to have told everything")
        assert all(nodes == [owner(cluster, slot)] for slot, nodes in fired(cluster).items())
        told = entries(cluster)
        assert {slot for slot in fired(cluster) if slot > back_ms and owner(cluster, slot) == one.name} <= told.keys()


@pytest.mark.slow
@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_the_link_between_two_is_cut_and_no_slice_happens_twice_or_not_at_all(tmp_path: Path) -> None:
    with Network(2) as network, cluster_in(tmp_path, size=2, network=network) as cluster:
        add_job(cluster)
        first_ms = time.time_ns() // 1_000_000
        network.pull(network.hosts[1:])
        wait_for(lambda: all(node.status().get("leader") is None for node in cluster.nodes), "the quorum to be lost")
        cut_ms = time.time_ns() // 1_000_000
        wait_for(lambda: sum(slot > cut_ms for slot in fired(cluster)) >= 4, "four slices of theirs")
        network.heal()
        cluster.settle()
        slots = slots_since(first_ms)
        check_all(cluster, first_ms, slots)


#: By how much a clock is pushed ahead: the bound is a second.
PUSHED_MS = 3_000
#: Until a node that is wrong has had a slice, and the next node has told of one: four slices of three nodes, and some.
REFUSED_S = 40.0


def refused(cluster: Cluster, node: Node) -> list[int]:
    """Slots that the node says it has refused."""
    why = f"node {node.name} refuses its slices: "
    return [slot for slot, told in entries(cluster).items() if told["reason"].startswith(why)]


def check_pushed(cluster: Cluster, victim: Node, first_ms: int) -> None:
    """A node whose clock is wrong says so and fires nothing; set right it goes on; each slot is told of once."""
    wait_for(lambda: fired(cluster), "a slice")
    set_clock(victim, cluster.folder, PUSHED_MS)
    pushed_ms = time.time_ns() // 1_000_000
    wait_for(lambda: slices_of(victim)["doubt"], "it to doubt its clock", 3.0)
    assert any("starts nothing in its slices" in note for note in victim.status()["notes"])
    assert not victim.ready
    assert "slices_refused" in victim.said()
    # It says so when the log shows that the slot has come: when the next of another has been told.
    refuses = "it to refuse a slice of its own"
    wait_for(lambda: any(slot > pushed_ms for slot in refused(cluster, victim)), refuses, REFUSED_S)
    wait_for(lambda: time.time_ns() // 1_000_000 > max(refused(cluster, victim)) + SLICE_MS, "that slice to be over")
    set_clock(victim, cluster.folder, 0)
    right_ms = time.time_ns() // 1_000_000
    wait_for(lambda: victim.ready and not slices_of(victim)["doubt"], "it to trust its clock")
    wait_for(lambda: any(n == [victim.name] for slot, n in fired(cluster).items() if slot > right_ms), "it to go on")
    # When exactly it trusts itself again nobody knows.
    wrong = {slot for slot in slots_since(pushed_ms) if slot <= right_ms + PUSHED_MS}
    own = {slot for slot in wrong if owner(cluster, slot) == victim.name}
    assert not [slot for slot in own if slot in fired(cluster) and slot <= right_ms]
    check_all(cluster, first_ms, slots_since(first_ms), down=own)


@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_a_clock_that_was_pushed_past_the_bound_fires_nothing_until_it_is_set_right(tmp_path: Path, size: int) -> None:
    cluster = Cluster(tmp_path, size)
    for node in cluster.nodes:
        mislead(node, tmp_path)
    with running(cluster):
        add_job(cluster)
        first_ms = time.time_ns() // 1_000_000
        check_pushed(cluster, cluster.leader() if size > 2 else cluster.others(cluster.leader())[0], first_ms)
