"""A circle of waits between real jobs is broken at once, and at its newest wait."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system.circle_jobs import CIRCLE, ROOT, shell
from tests.system.processes import Cluster, cluster_in, wait_for

AT_ONCE_MS = 1_000


def test_three_jobs_wait_in_a_circle_and_the_newest_wait_is_refused_at_once(tmp_path: Path) -> None:
    """Three times, each of the three the newest once: what it asks through makes no difference."""
    with cluster_in(tmp_path, flags=("--import", "tests.system.circle_jobs")) as cluster:
        wait_for(lambda: "context" in {job["name"] for job in cluster.request("GET", "/v1/jobs")["jobs"]}, "the class")
        script = [sys.executable, "-m", "tests.system.circle_jobs"]
        cluster.add_job({"name": "shell", "shell": shell()})
        cluster.add_job({"name": "script", "command": script, "cwd": str(ROOT)})
        names, took = list(CIRCLE), {}
        for newest in names:
            took[newest] = refused(cluster, tmp_path / f"newest-{newest}", newest)
        print("refused after ms:", took)
        runs = [run for name in names for run in cluster.runs(name)]
        assert [run["state"] for run in runs] == ["succeeded"] * 9
        assert {run["attempts"][0]["node"] for run in runs} == {"n1", "n2", "n3"}


def refused(cluster: Cluster, folder: Path, newest: str) -> int:
    """Close the circle with this wait: it alone is refused, after so many ms, and the others have their locks."""
    folder.mkdir()
    for name in CIRCLE:
        cluster.request("POST", f"/v1/jobs/{name}:run", {"params": {"folder": str(folder)}})
    wait_for(lambda: all((folder / f"{name}-holds").exists() for name in CIRCLE), "all to hold their first locks")
    others = [name for name in CIRCLE if name != newest]
    for count, name in enumerate(others, 1):
        (folder / f"{name}-go").touch()
        wait_for(lambda count=count: waiting(cluster) == count, f"{name} to stand in line")  # type: ignore[misc]
    (folder / f"{newest}-go").touch()
    wait_for(lambda: all((folder / name).exists() for name in CIRCLE), "all to be answered")
    told = {name: (folder / name).read_text().strip().partition(" ") for name in CIRCLE}
    assert [told[name][2] for name in others] == ["has it"] * 2, told
    took_ms, _, word = told[newest]
    assert "deadlock" in word or "waits for circle/" in word, told
    assert int(took_ms) < AT_ONCE_MS, told
    wait_for(lambda: all(cluster.runs(name)[0]["state"] == "succeeded" for name in CIRCLE), "the runs to end")
    return int(took_ms)


def waiting(cluster: Cluster) -> int:
    return sum(int(lock["waiting"]) for lock in cluster.request("GET", "/v1/locks?namespace=circle")["locks"])
