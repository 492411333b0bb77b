"""How attempts end, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import math

import pytest

from peercron.clock import SystemClock
from peercron.core.job import CommandTask
from peercron.core.run import AttemptState
from peercron.execution import limits, supervisor
from peercron.execution.port import Until
from tests.execution.conftest import Witness, is_dead, until


async def test_a_command_succeeds_with_its_output_and_times(node: Witness) -> None:
    before = SystemClock().wall_ms()
    result = await node.run("echo out; echo err >&2; echo done")
    assert (result.outcome, result.exit_code, result.reason) == (AttemptState.SUCCEEDED, 0, "")
    assert result.output_tail == "out\nerr\ndone\n"
    assert result.started_ms is not None
    assert before <= result.started_ms <= result.finished_ms <= SystemClock().wall_ms()
    assert node.started[result.run_id, result.token] == result.started_ms


async def test_a_program_gets_its_arguments_as_they_are(node: Witness) -> None:
    result = await node.run(CommandTask(argv=("printf", "%s|", "a b", "$HOME", "ü;", "")))
    assert result.output_tail == "a b|$HOME|ü;||"


async def test_an_exit_code_is_a_failure_that_names_it(node: Witness) -> None:
    result = await node.run("exit 3")
    assert (result.outcome, result.exit_code, result.reason) == (AttemptState.FAILED, 3, "exit code 3")


async def test_a_signal_is_a_failure_that_names_it(node: Witness) -> None:
    result = await node.run("kill -KILL $$")
    assert (result.outcome, result.exit_code, result.reason) == (AttemptState.FAILED, None, "killed by signal SIGKILL")


async def test_many_at_once_end_each_with_its_own_result(node: Witness) -> None:
    keys = [node.launch(f"echo {n}; exit {n % 3}") for n in range(40)]
    results = [await node.result(key) for key in keys]
    assert [result.exit_code for result in results] == [n % 3 for n in range(40)]
    assert [result.output_tail for result in results] == [f"{n}\n" for n in range(40)]
    assert not node.supervisor.running


async def test_a_timeout_asks_first(node: Witness) -> None:
    result = await node.run("trap 'echo bye; exit 0' TERM; echo $$ > me; while :; do sleep 0.05; done", timeout_ms=300)
    assert (result.outcome, result.exit_code) == (AttemptState.TIMED_OUT, 0)
    assert result.reason == "timed out after 0.3 s"
    assert "bye" in result.output_tail


async def test_a_timeout_kills_who_does_not_listen(node: Witness) -> None:
    result = await node.run("trap '' TERM; while :; do sleep 0.05; done", timeout_ms=200, kill_grace_ms=200)
    assert (result.outcome, result.exit_code) == (AttemptState.TIMED_OUT, None)
    assert result.started_ms is not None
    assert result.finished_ms - result.started_ms >= 350


async def test_who_is_in_time_does_not_time_out(node: Witness) -> None:
    assert (await node.run("true", timeout_ms=10_000)).outcome is AttemptState.SUCCEEDED


async def test_a_stop_cancels_with_its_reason(node: Witness) -> None:
    key = node.launch("echo $$ > me; sleep 60")
    await node.process("me")
    node.supervisor.stop(*key, "somebody asked for it")
    result = await node.result(key)
    assert (result.outcome, result.reason) == (AttemptState.CANCELLED, "somebody asked for it")


async def test_a_stop_hits_also_what_has_only_just_been_launched(node: Witness) -> None:
    """TERM waits for the command to be there to hear it: otherwise it would live on until KILL, here for a minute."""
    keys = [node.launch("sleep 60", kill_grace_ms=60_000) for _ in range(10)]
    for key in keys:
        node.supervisor.stop(*key, "no")
    assert {(await node.result(key)).outcome for key in keys} == {AttemptState.CANCELLED}


async def test_a_stop_of_what_is_not_here_changes_nothing(node: Witness) -> None:
    node.supervisor.stop("uid/9", 9, "no")
    assert (await node.run("true")).outcome is AttemptState.SUCCEEDED


async def test_no_attempt_is_started_twice(node: Witness, caplog: pytest.LogCaptureFixture) -> None:
    spec = node.spec("echo x >> times; test -e go")
    node.supervisor.launch(spec)
    node.supervisor.launch(spec)
    await node.result((spec.run_id, spec.token))
    node.supervisor.launch(spec)
    assert not node.supervisor.running
    await node.run("true")
    assert (node.folder / "times").read_text() == "x\n"
    assert "not started twice" in caplog.text


async def test_running_names_what_was_launched_until_its_end_is_told(node: Witness) -> None:
    key = node.launch("sleep 60")
    assert list(node.supervisor.running) == [key]
    node.supervisor.stop(*key, "no")
    assert list(node.supervisor.running) == [key]
    await node.result(key)
    assert not node.supervisor.running


async def test_one_too_many_is_refused_as_lost(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RUNNING_MAX", 2)
    first = [node.launch("sleep 60") for _ in range(2)]
    result = await node.run("echo x > ran")
    assert result.outcome is AttemptState.LOST
    assert result.started_ms is None
    assert "2 attempts" in result.reason
    assert list(node.supervisor.running) == first
    assert not (node.folder / "ran").exists()


async def test_without_a_lease_nothing_starts(node: Witness) -> None:
    for stop_at in (-math.inf, SystemClock().monotonic() - 0.001):
        node.supervisor.set_lease(stop_at, stop_at + 10)
        result = await node.run("echo x > ran")
        assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)
        assert result.reason == "the command was not started: the node has no lease"
    assert not (node.folder / "ran").exists()


async def test_a_task_that_is_too_large_fails_and_says_so(node: Witness) -> None:
    result = await node.run(CommandTask(argv=("true", "x" * limits.LINE_BYTES_MAX)))
    assert result.outcome is AttemptState.FAILED
    assert "larger than" in result.reason
    assert (await node.run("true")).outcome is AttemptState.SUCCEEDED


async def test_a_listener_that_breaks_is_logged_and_harms_nobody(
    node: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("listener")

    node.supervisor._on_started = node.supervisor._on_finished = break_down
    with caplog.at_level(logging.ERROR):
        key = node.launch("true")
        await until(lambda: key not in node.supervisor.running)
    assert caplog.text.count("RuntimeError: listener") == 2
    del caplog.records[:]
    node.supervisor._on_started, node.supervisor._on_finished = node.on_started, node.on_finished
    assert (await node.run("true")).outcome is AttemptState.SUCCEEDED


async def test_kill_all_returns_when_all_are_dead_but_those_that_may_live(node: Witness) -> None:
    lost = node.launch("trap '' TERM; echo $$ > lost; while :; do sleep 0.05; done", kill_grace_ms=100)
    kept = node.launch("echo $$ > kept; sleep 60", keep_on_disconnect=True)
    process, _ = await node.process("lost"), await node.process("kept")
    await node.supervisor.kill_all("the session was lost")
    assert node.results[lost].outcome is AttemptState.LOST
    assert node.results[lost].reason == "the session was lost"
    assert list(node.supervisor.running) == [kept]
    assert is_dead(process)


async def test_who_is_closing_starts_nothing(node: Witness) -> None:
    closing = asyncio.create_task(node.supervisor.close(0))
    await asyncio.sleep(0)
    during = node.launch("echo x > ran")
    await closing
    after = node.launch("echo x > ran")
    for key in (during, after):
        result = await node.result(key)
        assert (result.outcome, result.reason) == (
            AttemptState.LOST,
            "the command was not started: the node is stopping",
        )
    assert not (node.folder / "ran").exists()


async def test_close_ends_also_those_that_may_live_without_a_session(node: Witness) -> None:
    key = node.launch("trap '' TERM; echo $$ > me; sleep 60 & wait; wait", keep_on_disconnect=True)
    await node.process("me")
    async with asyncio.timeout(5):
        await node.supervisor.close(grace_s=0.1)
    assert node.results[key].outcome is AttemptState.LOST
    assert node.results[key].reason == "the node was stopped"


# Attempts that have their own time.


def own_time(stop_in_s: float, kill_in_s: float) -> Until:
    now_s = SystemClock().monotonic()
    return Until(now_s + stop_in_s, now_s + kill_in_s)


async def test_who_has_its_own_time_needs_neither_lease_nor_session(node: Witness) -> None:
    node.lease(-1.0, -1.0)
    key = node.launch("echo $$ > me; sleep 0.4; echo done", until=own_time(30.0, 31.0))
    await node.process("me")
    await node.supervisor.kill_all("the session was lost")
    node.lease(-1.0, -1.0)
    result = await node.result(key)
    assert (result.outcome, result.output_tail) == (AttemptState.SUCCEEDED, "done\n")


async def test_who_has_its_own_time_is_asked_at_its_end_and_then_killed(node: Witness) -> None:
    until_s = own_time(0.4, 0.7)
    key = node.launch("trap '' TERM; echo $$ > me; while :; do sleep 0.05; done", until=until_s, timeout_ms=60_000)
    process = await node.process("me")
    result = await node.result(key)
    assert until_s.kill_at_s <= SystemClock().monotonic() < until_s.kill_at_s + 0.5
    assert is_dead(process)
    assert (result.outcome, result.reason) == (AttemptState.TIMED_OUT, "its time was over")


async def test_whose_time_is_over_is_not_started(node: Witness) -> None:
    result = await node.run("echo x > ran", until=own_time(-0.1, 1.0))
    assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)
    assert result.reason == "the command was not started: its time was over"
    assert not (node.folder / "ran").exists()
