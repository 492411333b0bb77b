"""The process table is read right, and a signal hits only who is meant."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from peercron.execution import processes
from peercron.execution.processes import Process, below, family, look, send, table
from tests.execution.conftest import until


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    made = subprocess.Popen(["sleep", "60"])
    yield made
    made.kill()
    made.wait()


def start(shell: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", shell])


STAT = b"7 (a) b (c\n) S 3 7 7 0 -1 4194304 104 0 0 0 0 0 0 0 20 0 1 0 4711 2838528 200 184467"


@pytest.mark.parametrize(
    ("line", "process"),
    [
        (STAT, Process(7, parent=3, start=4711, alive=True)),
        (STAT.replace(b" S ", b" Z "), Process(7, parent=3, start=4711, alive=False)),
        (STAT.replace(b" S ", b" Z ").replace(b" 20 0 1 ", b" 20 0 2 "), Process(7, 3, 4711, alive=True)),
        (b"", None),
        (STAT[:40], None),
    ],
    ids=["any name", "zombie", "only the first thread has ended", "gone", "cut off"],
)
def test_a_line_of_the_table_is_understood(line: bytes, process: Process | None) -> None:
    assert processes._parse(7, line) == process


def test_a_process_is_known_by_its_parent_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    found = look(sleeper.pid)
    assert found is not None
    assert found.parent == os.getpid()
    assert found.alive
    assert table()[sleeper.pid] == found
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert look(sleeper.pid) == found._replace(alive=False)
    sleeper.wait()
    assert look(sleeper.pid) is None


@pytest.mark.parametrize("listed", [True, False], ids=["by lists of children", "by the whole table"])
async def test_a_family_is_found_to_the_last_grandchild(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    assert processes._LISTS_CHILDREN, "this kernel has no lists of children: the faster way is not tested"
    monkeypatch.setattr(processes, "_LISTS_CHILDREN", listed)
    threads = (
        "import subprocess, threading; t = threading.Thread(target=lambda: subprocess.run(['sleep', '60'])); t.start()"
    )
    shell = f'sleep 60 & sh -c "sleep 60 & wait" & {sys.executable} -c "{threads}" & wait'
    root = start(shell)
    try:
        found = await until(lambda: len(members := family(root.pid)) == 5 and members)
        assert sorted(found) == sorted(below(root.pid, table()))
    finally:
        processes.strike(family(root.pid), signal.SIGKILL)
        root.kill()
        root.wait()


def test_a_table_that_goes_in_a_circle_ends() -> None:
    rows = {n: Process(n, parent=n % 3 + 1, start=1, alive=True) for n in (1, 2, 3)}
    assert {process.pid for process in below(1, rows)} == {1, 2, 3}


def test_a_signal_hits_only_the_process_that_is_meant(sleeper: subprocess.Popen[bytes]) -> None:
    found = look(sleeper.pid)
    assert found is not None
    assert not send(found._replace(start=found.start - 1), signal.SIGKILL), "another process, which had the same pid"
    assert not send(Process(2**22 + 1, 1, 1, True), signal.SIGKILL)
    assert sleeper.poll() is None
    assert send(found, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    assert not send(found, signal.SIGKILL)


def test_without_pidfds_a_signal_still_hits_only_who_is_meant(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    found = look(sleeper.pid)
    assert found is not None
    assert not send(found._replace(start=found.start - 1), signal.SIGKILL)
    assert send(found, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
