"""An attempt that multiplies beyond its limit is ended, whole; one below it is left in peace."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.run import AttemptState
from peercron.execution import processes
from peercron.execution.attempt import CANCELLED, Attempt, Sentence
from peercron.execution.census import Census
from peercron.execution.limits import CENSUS_S, CENSUS_WHOLE_S
from peercron.execution.orders import Launch
from peercron.execution.processes import Process, table
from tests.execution.conftest import Witness
from tests.execution.test_workers import Classes

#: Doubles itself some times, and all of it lives for a minute; bounded, so that a broken limit does no harm.
BOMB = "b() { [ $1 -gt 0 ] || exec sleep 60; b $(($1-1)) & b $(($1-1)) & wait; }"
LIMIT = 20


def marked(node: Witness) -> list[Process]:
    """Living processes that the test has started: they stand in its folder."""
    return [process for process in table().values() if process.alive and _stands_in(process, node.folder)]


def _stands_in(process: Process, folder: Path) -> bool:
    try:
        return Path(f"/proc/{process.pid}/cwd").readlink() == folder
    except OSError:
        return False


async def test_what_multiplies_is_ended_whole_and_told_by_its_number(node: Witness) -> None:
    result = await node.run(f"{BOMB}; b 7", processes_max=LIMIT)
    assert result.outcome is AttemptState.FAILED
    assert f"at most {LIMIT} are allowed (processes_max)" in result.reason
    assert int(result.reason.split()[0]) > LIMIT
    assert marked(node) == []


async def test_who_leaves_a_crowd_behind_has_not_succeeded(node: Witness) -> None:
    """The command itself is well and gone; what it left is not, and does not heed TERM."""
    result = await node.run(f"trap '' TERM; {BOMB}; (b 7) & exit 0", processes_max=LIMIT)
    assert result.outcome is AttemptState.FAILED
    assert "processes_max" in result.reason
    assert marked(node) == []


async def test_who_stays_below_its_limit_is_left_in_peace(node: Witness) -> None:
    few = node.launch(f"n=0; while [ $n -lt {LIMIT - 4} ]; do sleep 0.6 & n=$((n+1)); done; wait", processes_max=LIMIT)
    many = node.launch(f"{BOMB}; b 7", processes_max=LIMIT)
    assert (await node.result(many)).outcome is AttemptState.FAILED
    assert (await node.result(few)).outcome is AttemptState.SUCCEEDED


async def test_a_job_class_has_the_same_limit(tmp_path: Path) -> None:
    witness = Classes(tmp_path)
    await witness.supervisor.start()
    witness.supervisor.set_lease(math.inf, math.inf)
    result = await witness.done("Multiplies", processes_max=LIMIT)
    await witness.supervisor.close(grace_s=0)
    assert result.outcome is AttemptState.FAILED
    assert "processes_max" in result.reason


class Host:
    """A host whose attempts have as many processes as the test says."""

    def __init__(self, *limits: int) -> None:
        self.attempts = [_attempt(n + 1, limit) for n, limit in enumerate(limits)]
        self.counts = [1] * len(limits)
        self.others = 1_000
        self.knows = True
        self.looks = 0
        self.census = Census(self.tasks, self.table)

    def tasks(self) -> int | None:
        return self.others + sum(self.counts) if self.knows else None

    def table(self) -> dict[int, Process]:
        self.looks += 1
        pids = (Process(100 * n + k, n, k, alive=True) for n, count in enumerate(self.counts, 1) for k in range(count))
        return {process.pid: process for process in pids}

    def crowds(self, now: float) -> dict[str, int]:
        return {attempt.key: count for attempt, count in self.census.crowds(self.attempts, now)}


def _attempt(shepherd: int, limit: int) -> Attempt:
    fields: dict[str, Any] = {"key": str(shepherd), "timeout_s": 0, "grace_s": 5, "held": False, "processes": limit}
    channel = socket.socket()
    channel.close()
    return Attempt(Launch(**fields), shepherd, channel, now=0.0)  # type: ignore[typeddict-item]


def test_only_who_is_beyond_its_own_limit_is_named() -> None:
    host = Host(10, 50)
    host.counts = [10, 51]
    assert host.crowds(0.0) == {"2": 51}


def test_who_has_its_sentence_is_counted_no_more() -> None:
    host = Host(10)
    host.counts = [99]
    host.attempts[0].sentence = Sentence(0.0, CANCELLED, "enough")
    assert host.crowds(0.0) == {}
    assert host.looks == 0


def test_a_quiet_host_is_looked_through_seldom_and_a_growing_one_at_once() -> None:
    host = Host(50)
    now = 0.0
    while now < CENSUS_WHOLE_S - CENSUS_S:
        assert host.crowds(now) == {}
        now += CENSUS_S
    assert host.looks == 1
    host.counts = [51]
    assert host.crowds(now) == {"1": 51}


def test_one_that_grows_while_others_end_is_found_by_the_next_whole_look() -> None:
    host = Host(50)
    assert host.crowds(0.0) == {}
    host.counts, host.others = [51], 900
    assert host.crowds(CENSUS_WHOLE_S / 2) == {}
    assert host.crowds(CENSUS_WHOLE_S) == {"1": 51}


def test_a_host_with_fewer_tasks_than_the_limit_is_not_looked_through() -> None:
    host = Host(5_000)
    host.counts = [500]
    assert host.crowds(0.0) == {}
    assert host.looks == 0


def test_where_the_kernel_does_not_say_it_is_looked_through_now_and_then() -> None:
    host = Host(50)
    host.knows, host.counts = False, [51]
    assert host.crowds(0.0) == {"1": 51}
    host.attempts = [_attempt(1, 50)]
    assert host.crowds(CENSUS_WHOLE_S / 2) == {}
    assert host.crowds(CENSUS_WHOLE_S) == {"1": 51}


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40))
def test_nobody_is_beyond_its_limit_for_longer_than_one_look_while_the_others_stand_still(grown: list[int]) -> None:
    """However it grows, half a room at a time or at a leap."""
    host, limit = Host(100), 100
    for look, more in enumerate(grown):
        host.counts[0] += more
        found = host.crowds(look * CENSUS_S * 1.01)
        assert found == ({"1": host.counts[0]} if host.counts[0] > limit else {})
        if found:
            return


@pytest.mark.parametrize("text", ["", "0.0 0.0 0.0", "0.0 0.0 0.0 x/y 1"])
def test_a_kernel_that_says_something_else_is_not_believed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text(text)
    monkeypatch.setattr(processes, "open", lambda _, mode: (tmp_path / "loadavg").open(mode), raising=False)
    assert processes.tasks() is None


def test_this_kernel_counts_tasks() -> None:
    assert (processes.tasks() or 0) > 0
