"""A disk or a shepherd that hangs delays no kill, and nobody else.

A FIFO that nobody reads stands for the disk: who opens it to write waits for ever.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from peercron.clock import SystemClock
from peercron.core.run import AttemptState
from peercron.execution.processes import look
from tests.execution.conftest import Witness, is_dead, until
from tests.execution.test_node_death import HEART, SLACK_S, Node

DEAF = "trap '' TERM; while :; do sleep 0.05; done"
GIVEN_UP = "its report is lost: the disk does not answer"


def hang_output(node: Witness, token: int) -> None:
    os.mkfifo(node.data_dir / "output" / f"{token}-uid%2F{token}.log")


def last_beat(node: Witness) -> float:
    return float((node.folder / "beats").read_text().split("\n")[-2])


async def test_a_disk_that_hangs_delays_neither_the_lease_s_kill_nor_its_report(node: Witness) -> None:
    spec = node.spec(f"echo some output; {HEART}", kill_grace_ms=60_000)
    hang_output(node, spec.token)
    node.supervisor.launch(spec)
    heart = await node.process("heart")
    kill_at = node.lease(0.2, 0.4)
    await until(lambda: is_dead(heart))
    assert kill_at - 0.1 < last_beat(node) <= kill_at + SLACK_S
    result = await node.result((spec.run_id, spec.token))
    assert (result.outcome, result.reason) == (AttemptState.LOST, f"the node's lease ended; {GIVEN_UP}")


async def test_who_hangs_holds_up_nobody_and_is_not_waited_for(node: Witness) -> None:
    """An output that cannot be written, a record that cannot, and a shepherd that sleeps."""
    output = node.spec("echo some output; echo $$ > one; " + DEAF, timeout_ms=300, kill_grace_ms=100)
    hang_output(node, output.token)
    unrecorded = node.spec("echo x > ran", kill_grace_ms=100)
    record = node.data_dir / "attempts" / f"{unrecorded.token}-uid%2F{unrecorded.token}.json"
    os.mkfifo(record)
    asleep = node.spec("echo $$ > two; " + DEAF, kill_grace_ms=100)
    for spec in (output, unrecorded, asleep):
        node.supervisor.launch(spec)
    commands = [await node.process(name) for name in ("one", "two")]
    os.kill(commands[1].parent, signal.SIGSTOP)
    assert (await node.run("echo quick")).output_tail == "quick\n"

    for spec in (unrecorded, asleep):
        node.supervisor.stop(spec.run_id, spec.token, "enough")
    await until(lambda: all(map(is_dead, commands)), timeout_s=2)
    told = [await node.result((spec.run_id, spec.token)) for spec in (output, unrecorded, asleep)]
    assert told[0].reason == f"timed out after 0.3 s; {GIVEN_UP}"
    assert [result.outcome for result in told] == [AttemptState.TIMED_OUT, *2 * [AttemptState.CANCELLED]]
    assert told[1].started_ms is None
    assert not (node.folder / "ran").exists()
    record.unlink()  # the next boot would wait for it as long as this disk hangs


@pytest.mark.parametrize("way", ["lease", "close"])
async def test_a_shepherd_that_hangs_is_no_way_to_outlive_the_node(node: Witness, way: str) -> None:
    """It is the guardian that kills then, by the shepherd's descendants, and it says so."""
    key = node.launch("echo $$ > me; " + DEAF, kill_grace_ms=60_000)
    me = await node.process("me")
    shepherd = look(me.parent)
    os.kill(me.parent, signal.SIGSTOP)
    if way == "lease":
        kill_at = node.lease(0.1, 0.2)
        await until(lambda: is_dead(me))
        assert SystemClock().monotonic() < kill_at + SLACK_S
    else:
        await node.supervisor.close(grace_s=0.1)
        assert is_dead(me)
    result = await node.result(key)
    assert result.outcome is AttemptState.LOST
    assert result.reason.endswith(GIVEN_UP)
    await until(lambda: is_dead(shepherd))


async def test_a_grace_that_is_longer_than_the_lease_ends_with_it_though_the_shepherd_hangs(tmp_path: Path) -> None:
    """The node dies, and the shepherd of a deaf command sleeps: the guardian keeps to the lease."""
    node = Node(tmp_path, 0.5, 0.8, {"shell": HEART, "kill_grace_ms": 60_000})
    try:
        guardian, heart = await node.ready(), await node.beating()
        os.kill(heart.parent, signal.SIGSTOP)
        node.process.kill()
        killed_at = SystemClock().monotonic()
        await until(lambda: is_dead(heart))
        assert node.last_beat() <= killed_at + 0.8 + SLACK_S
        await until(lambda: is_dead(guardian))
    finally:
        node.end()
