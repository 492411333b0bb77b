"""What a boot finds of the boots before it: it kills what was theirs, and only that."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from peercron.errors import DataDirError
from peercron.execution import leftovers, limits, record
from peercron.execution.processes import Process, look
from peercron.execution.record import Record
from tests.execution.conftest import Witness, is_dead, until

#: Of this test process alone: others may look for marks at the same time.
MARK = os.urandom(16).hex()


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "attempts"
    folder.mkdir(parents=True)
    return folder


class Stray:
    """A process that nobody waits for but this test."""

    def __init__(self, mark: str = "", program: str = "sleep 60") -> None:
        env = {"PATH": os.environ["PATH"]} | ({record.MARK_VARIABLE: mark} if mark else {})
        self.popen = subprocess.Popen(["sh", "-c", f"exec {program}"], env=env, start_new_session=True)
        found = look(self.popen.pid)
        assert found is not None
        self.process: Process = found

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


def write(attempts: Path, mark: str, command: tuple[int, int], boot: str | None = None) -> Path:
    path = attempts / f"{mark}.json"
    found = Record(mark=mark, boot=boot or record.boot_id(), shepherd=(0, 0), command=command, grace_s=0.0)
    record.write(str(path), found)
    assert record.read(path) == found
    return path


def killed(stray: Stray) -> bool:
    """Was it killed? If not, it is ended now."""
    alive = stray.popen.poll() is None
    stray.end()
    return not alive


async def boot(tmp_path: Path) -> None:
    witness = Witness(tmp_path)
    await witness.supervisor.start()
    await witness.supervisor.close(0)


async def test_a_recorded_command_is_killed_with_its_descendants(tmp_path: Path, attempts: Path) -> None:
    stray = Stray(program="sh -c 'sleep 60 & echo $! > child; wait'".replace("child", str(tmp_path / "child")))
    child = look(int(await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())))
    path = write(attempts, MARK, (stray.process.pid, stray.process.start))
    await boot(tmp_path)
    assert is_dead(child)
    assert killed(stray)
    assert not path.exists()


async def test_a_marked_process_is_killed_wherever_it_went(tmp_path: Path, attempts: Path) -> None:
    stray = Stray(mark=MARK)
    write(attempts, MARK, (0, 0))
    await boot(tmp_path)
    assert killed(stray)


async def test_a_recycled_pid_is_never_killed(tmp_path: Path, attempts: Path) -> None:
    """The same pid, another start: it is another process."""
    stray = Stray()
    path = write(attempts, MARK, (stray.process.pid, stray.process.start - 1))
    await boot(tmp_path)
    assert not killed(stray)
    assert not path.exists()


async def test_a_record_of_before_the_host_s_start_names_nobody(tmp_path: Path, attempts: Path) -> None:
    stray = Stray(mark=MARK)
    write(attempts, MARK, (stray.process.pid, stray.process.start), boot="another")
    await boot(tmp_path)
    assert not killed(stray)


async def test_another_s_mark_is_not_ours(tmp_path: Path, attempts: Path) -> None:
    strays = [Stray(mark="another"), Stray(mark=MARK + "x"), Stray()]
    write(attempts, MARK, (0, 0))
    await boot(tmp_path)
    assert [killed(stray) for stray in strays] == [False, False, False]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"mark":1}', '{"mark":"m","boot":"b","shepherd":[1]}'])
async def test_a_torn_record_is_of_a_command_that_never_ran(tmp_path: Path, attempts: Path, text: str) -> None:
    (attempts / "torn.json").write_text(text)
    await boot(tmp_path)
    assert os.listdir(attempts) == []


async def test_a_guardian_that_hangs_is_killed_by_its_name_in_the_lock(
    node: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node has gone, and its guardian with a living attempt does not end: the next boot sees to it."""
    monkeypatch.setattr(leftovers, "LEFTOVER_KILL_S", 0.5)
    node.launch("trap '' TERM; echo $$ > me; while :; do sleep 0.05; done", kill_grace_ms=100)
    me = await node.process("me")
    hung = look(node.supervisor.guardian_pid or 0)
    assert hung is not None
    os.kill(hung.pid, signal.SIGSTOP)
    os.close(await asyncio.to_thread(leftovers.claim, node.data_dir))
    assert is_dead(hung)
    assert is_dead(me)


async def test_the_name_in_the_lock_is_not_believed_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds the lock, but the name in it is of a pid that means another process now."""
    monkeypatch.setattr(leftovers, "LEFTOVER_KILL_S", 0.1)
    (tmp_path / "attempts").mkdir()
    stray = Stray()
    holder = os.open(tmp_path / leftovers.LOCK_NAME, os.O_RDWR | os.O_CREAT)
    assert leftovers.take(holder, 0)
    os.pwrite(holder, f"{stray.process.pid} {stray.process.start + 1} {record.boot_id()}\n".encode(), 0)
    with pytest.raises(DataDirError, match="cannot be killed"):
        await asyncio.to_thread(leftovers.claim, tmp_path)
    os.close(holder)
    assert not killed(stray)


async def test_a_directory_serves_one_node(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    key = node.launch("echo $$ > me; sleep 60")
    me = await node.process("me")
    second = node.new_supervisor()
    with pytest.raises(DataDirError, match=f"another node, process {os.getpid()}, uses it"):
        await second.start()
    assert not is_dead(me)
    assert list(node.supervisor.running) == [key]


async def test_a_directory_is_free_after_its_node_s_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        await boot(tmp_path)
    assert not caplog.records, "a guardian that goes because it is told to is no mishap, and is not replaced"


async def test_a_directory_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataDirError, match=f"{tmp_path}/data: Not a directory"):
        await Witness(tmp_path).supervisor.start()


def test_the_graces_of_an_earlier_boot_are_bounded(attempts: Path) -> None:
    path = attempts / "m.json"
    record.write(str(path), Record("m", "b", (0, 0), (0, 0), grace_s=10_000.0))
    assert leftovers._grace_s(attempts.parent) == limits.LEFTOVER_GRACE_S_MAX
