"""The demo as users start it: it plays, survives the death of its leader, judges itself, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.system.processes import wait_for


def children(pid: int) -> set[int]:
    """Direct children of a process."""
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def gone(pid: int) -> bool:
    return (
        not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    )


def start_demo(*args: str, folder: Path) -> subprocess.Popen[str]:
    environ = os.environ | {"TMPDIR": str(folder)}
    command = [sys.executable, "-m", "peercron", "demo", *args]
    # A shell ignores SIGINT for what it runs in the background, perhaps these tests, and so would the demo.
    asked = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        preexec_fn=asked,  # noqa: PLW1509 there is no second thread that could hold a lock
    )


def test_the_leader_dies_and_no_slot_is_missing_or_doubled(tmp_path: Path) -> None:
    demo = start_demo("--for", "14s", "--kill-leader-at", "5s", "--json", folder=tmp_path)
    out, told = demo.communicate(timeout=110)
    assert demo.returncode == 0, told
    summary = json.loads(out)
    assert summary["ok"]
    assert (summary["missing"], summary["doubled"]) == ([], [])
    assert summary["slots"] >= 25
    assert [node["name"] for node in summary["nodes"]] == ["n1", "n2", "n3"]
    assert all(node["runs"] for node in summary["nodes"])
    (takeover,) = summary["takeovers"]
    assert takeover["leader"] != takeover["killed"]
    assert "hello from n" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_nodes(number: signal.Signals, tmp_path: Path) -> None:
    demo = start_demo("--nodes", "1", folder=tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "hello from n1" in line and "echo" not in line:
            break
    nodes = children(demo.pid)
    assert nodes
    demo.send_signal(number)
    out, told = demo.communicate(timeout=60)
    assert demo.returncode == 0, out + told
    assert "every slot is in the ledger exactly once" in out
    assert all(gone(pid) for pid in nodes)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_leaves_no_nodes_behind(tmp_path: Path) -> None:
    demo = start_demo("--nodes", "1", "--keep", folder=tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "leads term" in line:
            break
    nodes = children(demo.pid)
    demo.kill()
    demo.communicate()
    wait_for(lambda: all(gone(pid) for pid in nodes), "the nodes to end")


def test_a_demo_whose_node_has_ended_says_so_and_ends(tmp_path: Path) -> None:
    demo = start_demo("--nodes", "1", folder=tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "end with Ctrl-C" in line:
            break
    (node,) = children(demo.pid)
    os.kill(node, signal.SIGKILL)
    out, _ = demo.communicate(timeout=60)
    assert (demo.returncode, "n1 ended" in out) == (1, True), out
