"""Whatever a command does to get away, nothing of it outlives its attempt."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from peercron.core.job import CommandTask
from peercron.core.run import AttemptState
from peercron.execution.processes import Process
from tests.execution.conftest import Witness, is_dead, until

PYTHON = sys.executable

#: Ways to leave a tree; each writes the pid of the one who left into `away`, and then the command sleeps on.
ESCAPES = {
    "a new session": "setsid sh -c 'echo $$ > away; exec sleep 60' & sleep 60",
    "a double fork": "(setsid sh -c 'echo $$ > away; exec sleep 60' &) ; sleep 60",
    "deaf ears": "(trap '' TERM HUP INT; setsid sh -c 'echo $$ > away; while :; do sleep 0.05; done' &) ; sleep 60",
    "an empty environment": "(env -i setsid sh -c 'echo $$ > away; exec sleep 60' &) ; sleep 60",
    "a stop": "(setsid sh -c 'echo $$ > away; kill -STOP $$; sleep 60' &) ; sleep 60",
    "a nest of its own": f"""(setsid {PYTHON} -I -S -c '
import ctypes, os, subprocess
ctypes.CDLL(None).prctl(36, 1)  # a subreaper inside the tree
subprocess.Popen(["sh", "-c", "(setsid sh -c \\"echo \\\\$\\\\$ > away; exec sleep 60\\" &)"]).wait()
os.waitpid(-1, 0)' &) ; sleep 60""",
}


@pytest.mark.parametrize("way", ESCAPES)
async def test_a_stop_reaches_the_whole_tree(node: Witness, way: str) -> None:
    key = node.launch(ESCAPES[way], kill_grace_ms=300)
    away = await node.process("away")
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED
    assert is_dead(away)


@pytest.mark.parametrize("way", ESCAPES)
async def test_what_a_command_leaves_behind_ends_with_it(node: Witness, way: str) -> None:
    leave = ESCAPES[way].removesuffix("sleep 60") + "while ! test -s away; do sleep 0.02; done; exit 4"
    key = node.launch(leave, kill_grace_ms=300)
    await until(lambda: (node.folder / "away").exists() and (node.folder / "away").read_text().endswith("\n"))
    away = int((node.folder / "away").read_text())
    result = await node.result(key)
    assert (result.outcome, result.exit_code) == (AttemptState.FAILED, 4), "the command's own end is what counts"
    with pytest.raises(ProcessLookupError):
        os.kill(away, 0)


async def test_a_stopped_command_is_woken_to_hear_term(node: Witness) -> None:
    key = node.launch("trap 'echo bye; exit 0' TERM; echo $$ > me; kill -STOP $$; while :; do sleep 0.05; done")
    me = await node.process("me")
    await until(lambda: _state(me) == "T")
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).output_tail == "bye\n"


async def test_what_cleans_up_after_term_is_left_in_peace(node: Witness) -> None:
    """TERM comes once; a process that is started in answer to it is not hit."""
    clean = "for n in 1 2 3 4; do echo $n; sleep 0.05; done; echo clean"  # every line wakes the shepherd
    key = node.launch(f"trap 'sh -c \"{clean}\"; exit 0' TERM; echo $$ > me; while :; do sleep 0.05; done")
    await node.process("me")
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).output_tail.endswith("clean\n")


async def test_who_forks_faster_than_he_is_killed_is_killed(node: Witness) -> None:
    """Every process of this chain lives for a few milliseconds; there is never one that waits to be found."""
    hop = "import os, time\nwhile True:\n    time.sleep(0.002)\n    if os.fork(): os._exit(0)\n    os.setsid()"
    key = node.launch(f"(trap '' TERM; setsid {PYTHON} -I -S -c '{hop}' &) ; echo $$ > me; sleep 60", kill_grace_ms=200)
    await node.process("me")
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED


async def test_one_tree_s_end_leaves_the_others_alone(node: Witness) -> None:
    first, second = node.launch("echo $$ > one; sleep 60"), node.launch("echo $$ > two; sleep 60")
    one, two = await node.process("one"), await node.process("two")
    node.supervisor.stop(*first, "enough")
    await node.result(first)
    assert is_dead(one)
    assert not is_dead(two)
    assert list(node.supervisor.running) == [second]


async def test_a_shepherd_that_is_killed_takes_its_tree_with_it(node: Witness) -> None:
    other = node.launch("echo $$ > other; sleep 60")
    key = node.launch(
        "(setsid sh -c 'trap \"\" TERM; echo $$ > away; sleep 60 & wait; wait' &); echo $$ > me; sleep 60"
    )
    me, away = await node.process("me"), await node.process("away")
    os.kill(me.parent, signal.SIGKILL)
    result = await node.result(key)
    assert (result.outcome, result.reason) == (AttemptState.LOST, "its shepherd was killed")
    assert is_dead(me)
    assert is_dead(away)
    assert not is_dead(await node.process("other"))
    node.supervisor.stop(*other, "enough")
    assert (await node.result(other)).outcome is AttemptState.CANCELLED


async def test_the_kernel_kills_a_command_whose_shepherd_dies(node: Witness) -> None:
    """At once, also when the guardian is too busy to notice."""
    guardian = node.supervisor.guardian_pid or 0
    key = node.launch("echo $$ > me; exec sleep 60")
    me = await node.process("me")
    os.kill(guardian, signal.SIGSTOP)
    os.kill(me.parent, signal.SIGKILL)
    await until(lambda: is_dead(me), timeout_s=2)
    os.kill(guardian, signal.SIGCONT)
    assert (await node.result(key)).outcome is AttemptState.LOST


async def test_a_program_that_has_nobody_to_read_its_input_gets_none(node: Witness) -> None:
    async with asyncio.timeout(10):
        assert (await node.run(CommandTask(argv=("cat",)))).outcome is AttemptState.SUCCEEDED


def _state(process: Process) -> str:
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(") ")[2][0]
