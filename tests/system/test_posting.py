"""Mode queue on real nodes: a slot puts an item, whichever node has room pulls it, and a node that dies loses none."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import Cluster, Node, cluster_in, wait_for

#: Longer than a session lives.
HANGS_S = 3.0
#: Who works, on what, and when it is done. An item takes a while, so that a node can die with it in its hands.
LINE = "echo begin $PEERCRON_NODE $PEERCRON_SLOT >> {0}; sleep 0.3; echo end $PEERCRON_NODE $PEERCRON_SLOT >> {0}"


def lines(log: Path, word: str) -> list[list[str]]:
    return [row.split() for row in log.read_text().splitlines() if row.startswith(word)] if log.exists() else []


def worker_of(cluster: Cluster, log: Path) -> Node:
    """A node that has begun an item and not ended it."""

    def found() -> Node | None:
        open_ = [row[1] for row in lines(log, "begin") if ["end", *row[1:]] not in lines(log, "end")]
        return cluster[open_[-1]] if open_ else None

    node = wait_for(found, "an item in somebody's hands")
    assert isinstance(node, Node)
    return node


@pytest.mark.parametrize("size", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_node_dies_with_an_item_in_its_hands(tmp_path: Path, size: int) -> None:
    log = tmp_path / "log"
    with cluster_in(tmp_path, size=size) as cluster:
        cluster.settle()
        job: dict[str, Any] = {"name": "mails", "every": "500ms", "mode": "queue", "queue": "mail", "overlap": "allow"}
        job |= {"shell": LINE.format(log), "misfire": {"policy": "all"}}
        cluster.add_job(job)
        wait_for(lambda: len(lines(log, "end")) >= 4, "some items")
        victim = worker_of(cluster, log)
        victim.kill()
        before = len(cluster.ledger("mails"))
        wait_for(lambda: len(cluster.ledger("mails")) >= before + 4, "the others to go on")
        wait_for(lambda: any(row["attempts"] > 1 for row in cluster.ledger("mails")), "the item to be pulled again")
        victim.spawn()
        victim.wait_ready()
        cluster.add_job({key: value for key, value in job.items() if key != "every"})
        wait_for(lambda: not alive(cluster), "the last item")
        told(cluster, log)


def alive(cluster: Cluster) -> list[dict[str, Any]]:
    return [row for row in cluster.runs("mails") if row["state"] in ("queued", "running")]


def told(cluster: Cluster, log: Path) -> None:
    """Each slot has one outcome, was done, and none is missing between the first and the last."""
    rows = cluster.ledger("mails")
    slots = sorted(row["slot"] for row in rows)
    assert slots == list(range(slots[0], slots[-1] + 1, 500)), "a slot is missing, or there twice"
    assert Counter(row["outcome"] for row in rows) == {"succeeded": len(rows)}
    ended = Counter(row[2] for row in lines(log, "end"))
    assert len(ended) == len(slots)
    assert cluster.request("GET", "/v1/queues/default/mail")["items"] == 0


def test_two_nodes_share_a_queue_and_one_hangs_with_an_item(tmp_path: Path) -> None:
    """With one of two hung nothing is decided; when it is back each slot is made up for, once."""
    log = tmp_path / "log"
    with cluster_in(tmp_path, size=2) as cluster:
        cluster.settle()
        job: dict[str, Any] = {"name": "mails", "every": "500ms", "mode": "queue", "queue": "mail", "overlap": "allow"}
        job |= {"shell": LINE.format(log), "misfire": {"policy": "all"}}
        cluster.add_job(job)
        wait_for(lambda: len(lines(log, "end")) >= 3, "some items")
        hung = worker_of(cluster, log)
        hung.signal(signal.SIGSTOP)
        time.sleep(HANGS_S)
        hung.signal(signal.SIGCONT)
        before = len(cluster.ledger("mails"))
        wait_for(lambda: len(cluster.ledger("mails")) >= before + 6, "both to go on")
        cluster.add_job({key: value for key, value in job.items() if key != "every"})
        wait_for(lambda: not alive(cluster), "the last item")
        told(cluster, log)
