"""Held attempts: prepared at once, started when they are released, and gone without a trace when they are not."""

from __future__ import annotations

import pytest

from peercron.core.job import CommandTask, HttpTask, Task
from peercron.core.run import AttemptState
from tests.execution.conftest import Witness, until

QUICK = CommandTask(shell="echo ran")
#: Nobody listens there: what matters is when it is tried.
CALL = HttpTask("GET", "http://127.0.0.1:9/")


async def prepared(node: Witness, task: Task | str, **given: object) -> tuple[str, int]:
    key = node.launch(task, held=True, **given)
    await until(lambda: key in node.supervisor.ready)
    return key


@pytest.mark.parametrize("task", [QUICK, CALL], ids=["command", "call"])
async def test_it_starts_when_it_is_released_and_not_before(node: Witness, task: Task) -> None:
    told: list[tuple[str, int]] = []
    node.supervisor.on_ready = lambda *key: told.append(key)
    key = await prepared(node, task)
    assert told == [key]
    assert key not in node.started
    node.supervisor.release(*key)
    node.supervisor.release(*key)  # it may be told twice
    result = await node.result(key)
    assert key in node.started or isinstance(task, HttpTask)
    assert result.outcome is (AttemptState.SUCCEEDED if task is QUICK else AttemptState.FAILED)


@pytest.mark.parametrize("task", [QUICK, CALL], ids=["command", "call"])
async def test_one_that_is_stopped_never_starts(node: Witness, task: Task) -> None:
    key = await prepared(node, task)
    node.supervisor.stop(*key, "the barrier cannot open")
    result = await node.result(key, timeout_s=5.0)  # at once, although the grace is longer
    assert (result.outcome, result.started_ms, result.output_tail) == (AttemptState.CANCELLED, None, "")
    node.supervisor.release(*key)
    assert key not in node.started


@pytest.mark.parametrize("task", [QUICK, CALL], ids=["command", "call"])
async def test_one_whose_session_is_lost_never_starts(node: Witness, task: Task) -> None:
    key = await prepared(node, task)
    await node.supervisor.kill_all("its session was lost")
    result = await node.result(key)
    assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)


async def test_its_timeout_runs_from_its_release(node: Witness) -> None:
    key = await prepared(node, "sleep 0.3", timeout_ms=200)
    other = await node.run("sleep 0.4")
    assert other.outcome is AttemptState.SUCCEEDED
    assert key not in node.results
    node.supervisor.release(*key)
    assert (await node.result(key)).outcome is AttemptState.TIMED_OUT
