"""The node dies, hangs or is stopped: the guardian ends what it ran, in time, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.execution.processes import Process, look
from tests.execution.conftest import Witness, is_dead, until

ROOT = Path(__file__).resolve().parents[2]

#: Writes the monotonic time into the file `beats` every few milliseconds; deaf to TERM.
HEART = f"""trap '' TERM; exec {sys.executable} -I -S -c '
import os, time
print(os.getpid(), file=open("heart", "w"))
beats = open("beats", "w", buffering=1)
while True:
    print(time.monotonic(), file=beats)
    time.sleep(0.005)
'"""
#: The same, but TERM ends it.
SOFT_HEART = HEART.removeprefix("trap '' TERM; ")

#: How late a KILL may come on a busy machine of two cores. The lease's arithmetic allows for more.
SLACK_S = 0.35


class Node:
    """A node in a process of its own (`a_node.py`)."""

    def __init__(self, folder: Path, stop_s: float, kill_s: float, *specs: dict[str, Any]) -> None:
        self.folder = folder
        program = Path(__file__).with_name("a_node.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(folder), str(stop_s), str(kill_s), *map(json.dumps, specs)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    async def ready(self) -> Process:
        """Its guardian."""
        path = self.folder / "ready"
        await until(lambda: path.exists() and path.read_text().endswith("\n"))
        guardian = look(int(path.read_text()))
        assert guardian is not None
        return guardian

    def results(self) -> dict[int, dict[str, Any]]:
        path = self.folder / "results"
        lines = path.read_text().splitlines() if path.exists() else []
        return {found["token"]: found for found in map(json.loads, lines)}

    def last_beat(self) -> float:
        return float((self.folder / "beats").read_text().split("\n")[-2])

    async def beating(self) -> Process:
        await until(lambda: (self.folder / "beats").exists() and (self.folder / "beats").read_text().count("\n") > 3)
        found = look(int((self.folder / "heart").read_text()))
        assert found is not None
        return found

    def end(self) -> None:
        ready = self.folder / "ready"
        with contextlib.suppress(ProcessLookupError):
            if ready.exists():
                os.kill(int(ready.read_text()), signal.SIGCONT)  # so that it sees its node's end
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made: list[Node] = []
    yield made
    for node in made:
        node.end()


async def test_a_killed_node_s_jobs_are_asked_at_once(tmp_path: Path, nodes: list[Node]) -> None:
    node = Node(tmp_path, 30, 31, {"shell": SOFT_HEART})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    node.process.kill()
    killed_at = SystemClock().monotonic()
    await until(lambda: is_dead(heart) and is_dead(guardian))
    assert node.last_beat() <= killed_at + SLACK_S


async def test_a_killed_node_s_deaf_jobs_get_their_grace_and_no_more(tmp_path: Path, nodes: list[Node]) -> None:
    node = Node(tmp_path, 30, 31, {"shell": HEART, "kill_grace_ms": 300})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    node.process.kill()
    killed_at = SystemClock().monotonic()
    await until(lambda: is_dead(heart) and is_dead(guardian))
    assert killed_at + 0.2 <= node.last_beat() <= killed_at + 0.3 + SLACK_S


async def test_a_killed_node_s_jobs_get_no_grace_beyond_the_lease(tmp_path: Path, nodes: list[Node]) -> None:
    node = Node(tmp_path, 0.5, 0.8, {"shell": HEART, "kill_grace_ms": 60_000})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    node.process.kill()
    killed_at = SystemClock().monotonic()
    await until(lambda: is_dead(heart) and is_dead(guardian))
    assert node.last_beat() <= killed_at + 0.8 + SLACK_S


async def test_a_killed_node_leaves_no_tree_and_no_kept_job(tmp_path: Path, nodes: list[Node]) -> None:
    tree = (
        "(trap '' TERM; env -i setsid sh -c 'echo $$ > away; while :; do sleep 0.05; done' &); echo $$ > me; sleep 60"
    )
    node = Node(tmp_path, 30, 31, {"shell": tree, "kill_grace_ms": 200, "keep_on_disconnect": True})
    nodes.append(node)
    guardian = await node.ready()
    await until(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("away", "me")))
    family = [look(int((tmp_path / name).read_text())) for name in ("away", "me")]
    node.process.kill()
    await until(lambda: is_dead(guardian))
    assert all(map(is_dead, family)), "the guardian has gone before them"


@pytest.mark.parametrize("heart", [HEART, SOFT_HEART], ids=["deaf", "listening"])
async def test_a_stopped_node_s_jobs_die_when_its_lease_ends(tmp_path: Path, nodes: list[Node], heart: str) -> None:
    """The job itself says when it was last alive, on the clock that the lease is counted on."""
    stop_s, kill_s = 0.6, 1.0
    node = Node(tmp_path, stop_s, kill_s, {"shell": heart, "kill_grace_ms": 60_000})
    nodes.append(node)
    guardian, process = await node.ready(), await node.beating()
    node.process.send_signal(signal.SIGSTOP)
    stopped_at = SystemClock().monotonic()
    await until(lambda: is_dead(process))
    assert node.last_beat() <= stopped_at + (kill_s if heart is HEART else stop_s) + SLACK_S
    assert node.last_beat() >= stopped_at + stop_s * 0.8, "it was killed before the lease's time"
    assert not is_dead(guardian)

    node.process.send_signal(signal.SIGCONT)
    result = (await until(node.results))[1]
    assert (result["outcome"], result["reason"]) == ("lost", "the node's lease ended")


async def test_a_stopped_node_s_kept_jobs_live_on(tmp_path: Path, nodes: list[Node]) -> None:
    doomed = {"shell": "echo $$ > doomed; exec sleep 60", "kill_grace_ms": 100}
    node = Node(tmp_path, 0.4, 0.5, {"shell": SOFT_HEART, "keep_on_disconnect": True}, doomed)
    nodes.append(node)
    await node.ready()
    kept = await node.beating()
    other = look(int(await until(lambda: (tmp_path / "doomed").exists() and (tmp_path / "doomed").read_text())))
    node.process.send_signal(signal.SIGSTOP)
    await until(lambda: is_dead(other))
    died_at = SystemClock().monotonic()
    await until(lambda: node.last_beat() > died_at + 0.3)
    assert not is_dead(kept)
    node.process.send_signal(signal.SIGCONT)
    assert (await until(node.results)).keys() == {2}


async def test_node_and_guardian_both_stopped_the_jobs_die_all_the_same(tmp_path: Path, nodes: list[Node]) -> None:
    """The shepherds read the lease from the page that they share with the guardian."""
    node = Node(tmp_path, 0.5, 0.8, {"shell": HEART})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    node.process.send_signal(signal.SIGSTOP)
    os.kill(guardian.pid, signal.SIGSTOP)
    stopped_at = SystemClock().monotonic()
    await until(lambda: is_dead(heart))
    assert node.last_beat() <= stopped_at + 0.8 + SLACK_S
    for pid in (guardian.pid, node.process.pid):
        os.kill(pid, signal.SIGCONT)
    result = (await until(node.results))[1]
    assert (result["outcome"], result["reason"]) == ("lost", "the node's lease ended")


async def test_signals_to_the_node_s_group_do_not_reach_the_guardian(tmp_path: Path, nodes: list[Node]) -> None:
    """As a terminal sends INT, or a service manager TERM, to all at once: the node decides what becomes of its jobs."""
    node = Node(tmp_path, 30, 31, {"shell": SOFT_HEART})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    assert os.getsid(guardian.pid) == guardian.pid != os.getsid(node.process.pid)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guardian.pid, signum)
    beat = node.last_beat()
    await until(lambda: node.last_beat() > beat + 0.2)
    assert not is_dead(guardian)
    assert not is_dead(heart)


async def test_the_next_boot_waits_until_all_of_the_last_is_dead(tmp_path: Path, nodes: list[Node]) -> None:
    node = Node(tmp_path, 30, 31, {"shell": HEART, "kill_grace_ms": 700})
    nodes.append(node)
    guardian, heart = await node.ready(), await node.beating()
    node.process.kill()
    next_boot = Witness(tmp_path)
    await next_boot.supervisor.start()
    started_at = SystemClock().monotonic()
    assert is_dead(heart)
    assert is_dead(guardian)
    assert node.last_beat() < started_at
    await next_boot.supervisor.close(0)
