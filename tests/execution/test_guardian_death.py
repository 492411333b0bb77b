"""The guardian dies or hangs, or hears nonsense: its attempts end, the node is told, and there is a new guardian."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.core.run import AttemptState
from peercron.execution import guardian as guardians
from peercron.execution import guardlink, keeper, leftovers
from peercron.execution.lease import Lease
from peercron.execution.limits import LEFTOVER_KILL_S, LINE_BYTES_MAX, RESTART_S_MIN, RUNNING_MAX
from peercron.execution.orders import Launch, Lines, decode, encode
from peercron.execution.pen import Pen
from peercron.execution.processes import _children, look
from tests.execution.conftest import Witness, is_dead, until

TREE = "(trap '' TERM; env -i setsid sh -c 'echo $$ > away; while :; do sleep 0.05; done' &); echo $$ > me; sleep 60"


async def test_a_killed_guardian_s_attempts_are_dead_when_they_are_lost(node: Witness) -> None:
    old = node.supervisor.guardian_pid
    key = node.launch(TREE, kill_grace_ms=200)
    family = [await node.process(name) for name in ("me", "away")]
    assert old is not None
    os.kill(old, signal.SIGKILL)
    result = await node.result(key, timeout_s=LEFTOVER_KILL_S / 2)  # by its shepherd, not by the record
    assert all(map(is_dead, family))
    assert (result.outcome, result.reason) == (AttemptState.LOST, "the guardian of the node died")
    assert (await node.run("echo again")).output_tail == "again\n"
    assert node.supervisor.guardian_pid not in (None, old)


async def test_what_is_launched_while_there_is_no_guardian_goes_to_the_next(node: Witness) -> None:
    key = node.launch("echo $$ > me; trap '' TERM; sleep 60 & wait; wait", kill_grace_ms=300)
    await node.process("me")
    os.kill(node.supervisor.guardian_pid or 0, signal.SIGKILL)
    await until(lambda: node.supervisor.guardian_pid is None)
    later, stopped = node.launch("echo later"), node.launch("echo x > ran")
    node.supervisor.stop(*stopped, "not needed any more")
    assert set(node.supervisor.running) == {key, later, stopped}
    assert (await node.result(stopped)).outcome is AttemptState.CANCELLED
    assert (await node.result(key)).outcome is AttemptState.LOST
    assert (await node.result(later)).output_tail == "later\n"
    assert not (node.folder / "ran").exists()


async def test_kill_all_waits_also_for_what_a_dead_guardian_has_left(node: Witness) -> None:
    node.launch(TREE, kill_grace_ms=400)
    family = [await node.process(name) for name in ("me", "away")]
    os.kill(node.supervisor.guardian_pid or 0, signal.SIGKILL)
    await node.supervisor.kill_all("the session was lost")
    assert all(map(is_dead, family))
    assert not node.supervisor.running


async def test_a_guardian_and_its_shepherds_killed_leave_nothing(node: Witness) -> None:
    """Then only the records know whose the processes are, and the marks in their environments."""
    tree = "(trap '' TERM; setsid sh -c 'echo $$ > away; while :; do sleep 0.05; done' &); echo $$ > me; sleep 60"
    key = node.launch(tree)
    family = [await node.process(name) for name in ("me", "away")]
    guardian = node.supervisor.guardian_pid or 0
    os.kill(guardian, signal.SIGSTOP)  # or it would be faster than the second kill
    os.kill(family[0].parent, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    assert (await node.result(key)).outcome is AttemptState.LOST
    assert all(map(is_dead, family))
    assert not list((node.data_dir / "attempts").iterdir())


async def test_a_guardian_that_hangs_is_replaced(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PING_S", 0.05)
    key = node.launch(TREE, kill_grace_ms=100)
    family = [await node.process(name) for name in ("me", "away")]
    hung = look(node.supervisor.guardian_pid or 0)
    assert hung is not None
    os.kill(hung.pid, signal.SIGSTOP)
    assert (await node.result(key)).outcome is AttemptState.LOST
    assert all(map(is_dead, [*family, hung]))
    assert (await node.run("echo again")).output_tail == "again\n"


async def test_guardians_that_die_again_and_again_are_replaced_ever_more_slowly(node: Witness) -> None:
    waits = []
    for _ in range(4):
        pid = node.supervisor.guardian_pid
        assert pid is not None
        died_at = SystemClock().monotonic()
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: node.supervisor.guardian_pid not in (None, pid))
        waits.append(SystemClock().monotonic() - died_at)
    assert waits[-1] > 8 * RESTART_S_MIN
    assert waits[-1] > waits[0]


async def test_close_comes_through_while_there_is_no_guardian(node: Witness) -> None:
    key = node.launch(TREE, kill_grace_ms=300)
    await node.process("away")
    os.kill(node.supervisor.guardian_pid or 0, signal.SIGKILL)
    await until(lambda: node.supervisor.guardian_pid is None)
    waiting = node.launch("echo x > ran")
    async with asyncio.timeout(10):
        await node.supervisor.close(0.1)
    assert {node.results[key].outcome, node.results[waiting].outcome} == {AttemptState.LOST}
    assert not (node.folder / "ran").exists()


async def test_an_idle_guardian_is_not_disturbed(node: Witness) -> None:
    """No attempts, no messages: neither leases nor signs of life."""
    await node.run("true")
    guardian = node.supervisor.guardian_pid or 0
    await until(lambda: not _children(guardian))
    before = _context_switches(guardian)
    for _ in range(50):
        node.lease(10, 11)
    await asyncio.sleep(0.2)
    assert _context_switches(guardian) == before
    assert (await node.run("true")).outcome is AttemptState.SUCCEEDED, "the lease came with the launch"


def _context_switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


# The guardian alone, with the test at the other end of its socket.


class Talk:
    """A guardian, started as the node starts it, and the socket to it."""

    def __init__(self, folder: Path) -> None:
        for name in ("attempts", "output"):
            (folder / name).mkdir()
        self.socket, its = socket.socketpair()
        self.socket.settimeout(10)
        lock = leftovers.claim(folder)
        self.process = guardlink._spawn(folder, "test", its, lock)
        its.close()
        os.close(lock)
        self._lines = Lines()
        self._heard: list[bytes] = []
        assert self.hear()["is"] == "ready"

    def say(self, line: object) -> None:
        self.socket.sendall(encode(line))

    def hear(self) -> dict[str, Any]:
        while not self._heard:
            data = self.socket.recv(65_536)
            assert data, "the guardian has gone"
            self._heard += self._lines.feed(data)
        return decode(self._heard.pop(0))


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    yield made
    made.socket.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        made.process.wait(5)
    made.process.kill()
    made.process.wait()


NONSENSE = [b"\xff\xfe", b"{", b"[]", b"null", b"{}", b'{"do":"dance"}', b'{"do":"launch","launch":{"key":"k"}}',
            b'{"do":"launch","launch":7}', b'{"do":"lease","stop_at":"x","kill_at":1}', b'{"do":"stop"}', b"[" * 90_000,
            b'{"do":"launch","launch":{"key":"../k","argv":["true"],"shell":"","env":[],"cwd":"","user":"",'
            b'"variables":{},"timeout_s":0,"grace_s":0,"keep":false,"held":false,'
            b'"until":[],"worker":false,"work":"","processes":9}}']  # fmt: skip


def test_an_order_that_makes_no_sense_is_told_and_forgotten(talk: Talk) -> None:
    for line in NONSENSE:
        talk.socket.sendall(line + b"\n")
        assert talk.hear()["is"] == "log", line[:60]
        talk.say({"do": "ping"})
        assert talk.hear() == {"is": "alive"}, line[:60]


def test_a_line_without_an_end_is_the_end_of_the_node(talk: Talk) -> None:
    with contextlib.suppress(OSError):
        for _ in range(LINE_BYTES_MAX // 65_536 + 2):
            talk.socket.sendall(b"x" * 65_536)
    assert talk.process.wait(10) == 0


def test_a_launch_with_a_broken_inside_is_lost_and_not_fatal(talk: Talk) -> None:
    order = {"key": "k", "argv": [7], "shell": "", "env": [["A"]], "cwd": "", "user": "", "variables": {}}
    flags = {"timeout_s": 0, "grace_s": 0, "keep": False, "held": False, "until": [], "worker": False, "work": ""}
    flags |= {"processes": 9}
    talk.say({"do": "lease", "stop_at": math.inf, "kill_at": math.inf})
    talk.say({"do": "launch", "launch": order | flags})
    assert talk.hear()["outcome"] == "failed"
    talk.say({"do": "ping"})
    assert talk.hear() == {"is": "alive"}


def test_the_guardian_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = socket.socketpair()
    lease = Lease()
    lease.set(stop_at=math.inf, kill_at=math.inf)
    guardian = guardians.Guardian(own, Pen("", "", "", 0, lease, None))
    order = Launch(key="k", until=[])  # type: ignore[typeddict-item]
    assert not guardian._refusal(order)
    attempts: dict[str, Any] = dict.fromkeys(map(str, range(RUNNING_MAX)))
    guardian._attempts = attempts
    assert str(RUNNING_MAX) in guardian._refusal(order)
    own.close()
    other.close()


async def test_nothing_from_the_user_s_surroundings_gets_into_the_guardian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "selectors.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    witness = Witness(tmp_path)
    await witness.supervisor.start()
    witness.lease(60, 61)
    assert (await witness.run("echo $PYTHONPATH")).output_tail == "\n"
    await witness.supervisor.close(0)


def test_the_guardian_is_light() -> None:
    """It starts fast and is copied for every attempt: nothing of the node comes with it."""
    heavy = {"asyncio", "aiohttp", "msgpack", "pysyncobj", "croniter", "logging", "subprocess", "threading", "ssl"}
    root = str(Path(__file__).resolve().parents[2])
    program = f"import sys; sys.path.append({root!r}); import peercron.execution.guardian; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(told.stdout.split())
