"""Events on real nodes: a reader goes on at another node when the leader, which it reads from, is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.processes import Node, cluster_in, wait_for

BEFORE, AFTER = 3, 3


def place(event: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, event["id"].split(".")))


def kept(node: Node) -> dict[str, dict[str, Any]]:
    """All that a node keeps, by id, as the command line prints it."""
    line = [sys.executable, "-m", "peercron", "events", "-o", "jsonl", "--kind", "run,job"]
    environ = os.environ | {"PEERCRON_ADDR": f"http://{node.host}:{node.http_port}"}
    told = subprocess.run(line, env=environ, check=True, capture_output=True, text=True, timeout=30).stdout
    return {event["id"]: event for event in map(json.loads, told.splitlines())}


def test_a_reader_sees_each_event_once_through_the_leader_s_death(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        nodes = [leader, *cluster.others(leader)]
        addresses = ",".join(f"http://{node.host}:{node.http_port}" for node in nodes)
        path = tmp_path / "events"
        line = [sys.executable, "-m", "peercron", "events", "-f", "-o", "jsonl", "--kind", "run,member"]
        with path.open("wb") as out:
            reader = subprocess.Popen(line, env=os.environ | {"PEERCRON_ADDR": addresses}, stdout=out)

        def seen(what: str) -> list[dict[str, Any]]:
            whole = path.read_bytes().rpartition(b"\n")[0]
            events = [json.loads(each) for each in whole.splitlines()]
            return [event for event in events if what in ("", event["what"])]

        try:
            wait_for(lambda: seen("up"), "the reader")
            cluster.add_job({"name": "beat", "shell": "true", "every": "1s", "overlap": "allow"})
            wait_for(lambda: len(seen("succeeded")) >= BEFORE, "runs before")
            leader.kill()
            wait_for(lambda: seen("down") and len(seen("succeeded")) >= BEFORE + AFTER, "runs after")
        finally:
            reader.kill()
            reader.wait()
        events = seen("")
        places = [place(event) for event in events]
        assert places == sorted(set(places)), "in order, and each once"
        down = next(event for event in events if event["what"] == "down")
        ended = [event["run"] for event in events if event["what"] == "succeeded"]
        assert len(set(ended)) == len(ended)
        one, other = (kept(node) for node in nodes[1:])
        shared = one.keys() & other.keys()
        assert all(one[id_] == other[id_] for id_ in shared), "the same at every node"
        first, last = places[0], places[-1]
        for event in one.values():
            if first < place(event) <= last and event["kind"] == "run":
                assert event in events, (event, down)
