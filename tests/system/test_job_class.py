"""Job classes on real nodes: they go on where they were, and harm nobody but themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from peercron.execution.processes import Process, below, look, table
from tests.system.processes import Cluster, cluster_in, wait_for

IMPORT = ("--import", "tests.system.class_jobs")
#: Doubles itself some times; bounded, so that a broken limit does no harm.
BOMB = "trap '' TERM; b() { [ $1 -gt 0 ] || exec sleep 60; b $(($1-1)) & b $(($1-1)) & wait; }; b 7"


def imported(cluster: Cluster) -> None:
    wait_for(lambda: "counts" in {job["name"] for job in jobs(cluster)}, "the classes to become jobs")


def jobs(cluster: Cluster) -> list[Any]:
    listed: list[Any] = cluster.request("GET", "/v1/jobs")["jobs"]
    return listed


def begin(cluster: Cluster, name: str, folder: Path) -> str:
    run = cluster.request("POST", f"/v1/jobs/{name}:run", {"params": {"folder": str(folder)}})
    return str(run["id"])


def run_of(cluster: Cluster, run_id: str) -> Any:
    return cluster.request("GET", f"/v1/runs/{quote(run_id, safe='')}")


def cancel(cluster: Cluster, run_id: str) -> None:
    cluster.request("POST", f"/v1/runs/{quote(run_id, safe='')}:cancel")


def ended(cluster: Cluster, run_id: str) -> Any:
    return wait_for(
        lambda: (run := run_of(cluster, run_id))["state"] not in ("queued", "running") and run, f"{run_id} to end"
    )


def steps(folder: Path) -> list[tuple[int, str, int]]:
    path = folder / "steps"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(attempt), node, int(step)) for attempt, node, step in map(str.split, lines)]


def terms(cluster: Cluster) -> set[int]:
    return {node.status()["term"] for node in cluster.living}


def test_a_class_becomes_a_job_once_and_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with cluster_in(tmp_path, flags=IMPORT) as cluster:
        imported(cluster)
        revisions = {job["name"]: (job["revision"], job["owner"]) for job in jobs(cluster)}
        assert revisions["counts"][1] == "import:tests.system.class_jobs"
        shares = [begin(cluster, "shares", tmp_path) for _ in range(2)]
        assert [ended(cluster, run_id)["state"] for run_id in shares] == ["succeeded"] * 2
        assert cluster.request("GET", "/v1/state/default/search%2Fgeneration") == 2
        first = ended(cluster, begin(cluster, "first", tmp_path))
        assert (first["state"], first["shards"][0]["state"]) == ("succeeded", "failed"), first
        began, went_on = cluster.request("GET", "/v1/state/default/search%2Ffirst")
        assert [began, went_on] == [shard["node"] for shard in first["shards"][:2]]
        run_id = begin(cluster, "counts", tmp_path)
        wait_for(lambda: len(steps(tmp_path)) > 5, "some steps")
        victim = cluster[steps(tmp_path)[-1][1]]
        victim.kill()
        wait_for(lambda: steps(tmp_path)[-1][0] > 1, "the next attempt")
        cancel(cluster, run_id)
        assert ended(cluster, run_id)["state"] == "cancelled"
        told = steps(tmp_path)
        last = max(step for attempt, _, step in told if attempt == 1)
        first = next((node, step) for attempt, node, step in told if attempt == 2)
        assert first[0] != victim.name
        # The checkpoint of the last step may have been on its way; that of the one before was acknowledged.
        assert last <= first[1] <= last + 1
        cluster.start()
        assert {job["name"]: (job["revision"], job["owner"]) for job in jobs(cluster)} == revisions


def test_classes_that_mean_no_good_harm_only_themselves(tmp_path: Path) -> None:
    with cluster_in(tmp_path, flags=IMPORT) as cluster:
        imported(cluster)
        before = terms(cluster)
        runs = {name: begin(cluster, name, tmp_path) for name in ("blocks", "forks", "vanishes", "eats")}
        assert (ended(cluster, runs["vanishes"])["state"], ended(cluster, runs["eats"])["state"]) == ("failed",) * 2
        assert run_of(cluster, runs["eats"])["reason"] == "MemoryError"
        assert [len(run_of(cluster, run_id)["attempts"]) for run_id in runs.values()] == [1] * 4
        roots = [process_of(tmp_path / name) for name in ("blocks", "forks")]
        families = [tree(root) for root in roots]
        assert len(families[1]) >= 5
        cluster.request("PUT", "/v1/jobs/bomb", {"shell": BOMB, "processes_max": 20})
        bomb = ended(cluster, begin(cluster, "bomb", tmp_path))
        assert (bomb["state"], "at most 20 are allowed" in bomb["reason"]) == ("failed", True)
        good = len(cluster.ledger("innocent"))
        wait_for(lambda: len(cluster.ledger("innocent")) >= good + 3, "the innocent to run beside them")
        for name in ("blocks", "forks"):
            cancel(cluster, runs[name])
        for name in ("blocks", "forks"):
            assert ended(cluster, runs[name])["state"] == "cancelled"
        assert [process for family in families for process in family if alive(process)] == []
        assert {entry["outcome"] for entry in cluster.ledger("innocent")} == {"succeeded"}
        assert terms(cluster) == before, "somebody was elected"


def test_a_class_that_no_node_has_asks_each_node_once_and_says_so(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.request("PUT", "/v1/jobs/nowhere", {"class": "nowhere.jobs:Report"})
        run = ended(cluster, begin(cluster, "nowhere", tmp_path))
        assert (run["state"], [each["state"] for each in run["attempts"]]) == ("failed", ["refused"] * 3)
        assert len({each["node"] for each in run["attempts"]}) == 3
        assert run["reason"].startswith("no node has nowhere.jobs:Report (")
        told = cluster.request("GET", "/v1/jobs/nowhere/explain")["why"]
        assert any("class nowhere.jobs:Report is not on" in sentence for sentence in told)


def process_of(path: Path) -> Process:
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"), f"{path.name} to run")
    found = look(int(path.read_text()))
    assert found is not None
    return found


def tree(root: Process) -> list[Process]:
    """All that its shepherd keeps."""
    return below(root.parent, table())


def alive(process: Process) -> bool:
    now = look(process.pid)
    return now is not None and now.start == process.start and now.alive
