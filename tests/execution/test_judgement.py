"""How an end is judged, when it must come, and how long the lease is: the arithmetic, without processes."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.execution import lease
from peercron.execution.attempt import CANCELLED, LOST, Attempt, Sentence, ended, not_started, unreported
from peercron.execution.commands import file_stem
from peercron.execution.ending import Pace
from peercron.execution.lease import Lease
from peercron.execution.limits import LINE_BYTES_MAX, REASON_CHARS_MAX, SWEEP_S_MAX, SWEEP_S_MIN
from peercron.execution.orders import Launch, Lines, LineTooLong
from peercron.execution.pen import Pen
from peercron.execution.shepherd import Shepherd

REPORT = {
    "why": "",
    "absent": False,
    "status": 0,
    "ended_at": 10.0,
    "failure": "",
    "code": None,
    "output_tail": "t",
    "output_lost": "",
}


def attempt(sentence: Sentence | None = None, **order: object) -> Attempt:
    fields: dict[str, object] = {
        "key": "k",
        "timeout_s": 0,
        "grace_s": 5,
        "keep": False,
        "held": False,
        "until": [],
        "worker": False,
        "processes": 1024,
    }
    made = Attempt(Launch(**(fields | order)), 1, socket.socket(), now=100.0)  # type: ignore[typeddict-item]
    made.channel.close()
    made.sentence = sentence
    made.started_ms = 7
    return made


@pytest.mark.parametrize(
    ("report", "sentence", "outcome", "reason", "code"),
    [
        ({}, None, "succeeded", "", 0),
        ({"status": 3 << 8}, None, "failed", "exit code 3", 3),
        ({"status": signal.SIGSEGV}, None, "failed", "killed by signal SIGSEGV", None),
        ({"status": 40}, None, "failed", "killed by signal 40", None),
        ({"failure": "no", "code": 127, "status": 126 << 8}, None, "failed", "no", 127),
        ({}, Sentence(11.0, CANCELLED, "stop"), "succeeded", "", 0),  # it had ended by then
        ({}, Sentence(9.0, CANCELLED, "stop"), "cancelled", "stop", 0),
        ({"status": 9}, Sentence(9.0, LOST, "lease"), "lost", "lease", None),
        ({"status": 9, "why": "lease"}, None, "lost", "lease", None),
        ({"status": 256, "why": "no class", "absent": True}, None, "refused", "no class", 1),
        ({"status": 9, "why": "lease"}, Sentence(9.5, CANCELLED, "stop"), "cancelled", "stop", None),
        ({"status": None, "ended_at": math.inf}, Sentence(9.0, CANCELLED, "stop"), "cancelled", "stop", None),
        ({"output_lost": "full"}, None, "succeeded", "output lost: full", 0),
        ({"output_lost": "full", "status": 256}, None, "failed", "exit code 1; output lost: full", 1),
    ],
)
def test_what_came_first_counts(
    report: dict[str, object], sentence: Sentence | None, outcome: str, reason: str, code: int | None
) -> None:
    result = ended(attempt(sentence), REPORT | report)
    assert (result["outcome"], result["reason"], result["exit_code"]) == (outcome, reason, code)
    assert (result["key"], result["started_ms"], result["output_tail"]) == ("k", 7, "t")


def test_who_has_no_shepherd_is_lost_or_what_it_was_sentenced_to() -> None:
    assert unreported(attempt(), "gone")["outcome"] == LOST
    result = unreported(attempt(Sentence(1.0, CANCELLED, "stop")), "gone")
    assert (result["outcome"], result["reason"]) == (CANCELLED, "stop; gone")
    assert not_started("k", "full")["reason"] == "the command was not started: full"


def test_a_reason_is_bounded() -> None:
    assert len(ended(attempt(), REPORT | {"failure": "x" * 100_000, "code": 126})["reason"]) == REASON_CHARS_MAX


def test_the_guardian_looks_at_an_attempt_when_something_is_due() -> None:
    assert attempt().wake_at(stop_at=200.0) == 200.0
    assert attempt(keep=True).wake_at(stop_at=200.0) == math.inf
    assert attempt(until=[150.0, 160.0]).wake_at(stop_at=120.0) == 150.0
    assert attempt(timeout_s=30).wake_at(stop_at=200.0) == 130.0
    sentenced = attempt(Sentence(120.0, CANCELLED, "stop"), timeout_s=30)
    sentenced.kill_at, sentenced.lease_ended = 125.0, True
    assert sentenced.wake_at(stop_at=110.0) == 125.0
    sentenced.sweep.tried(126.0)
    assert sentenced.wake_at(stop_at=110.0) == 126.0 + SWEEP_S_MIN


def test_a_sweep_is_tried_soon_and_then_ever_more_seldom() -> None:
    pace, steps = Pace(), []
    for _ in range(10):
        pace.tried(100.0)
        steps.append(pace.at - 100.0)
    assert steps[0] == pytest.approx(SWEEP_S_MIN)
    assert steps == sorted(steps)
    assert steps[-1] == SWEEP_S_MAX


@pytest.fixture
def shepherd() -> Iterator[Shepherd]:
    """A shepherd that has no command."""
    own, guardians = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    order = Launch(key="k", grace_s=60, keep=False, until=[], held=False)  # type: ignore[typeddict-item]
    made = Shepherd(order, own, Pen("", "", "", -1, Lease(), None))
    made._pen.lease.set(stop_at=lease.now() + 50, kill_at=lease.now() + 60)
    yield made
    made._selector.close()
    own.close()
    guardians.close()


def test_a_shepherd_wakes_for_its_lease_s_end_and_then_at_its_sweep_s_pace(shepherd: Shepherd) -> None:
    assert shepherd._wait_s() == pytest.approx(60, abs=1)
    shepherd._pen.lease.set(stop_at=0.0, kill_at=0.0)
    shepherd._keep_time()
    for _ in range(3):
        assert 0 < (shepherd._wait_s() or 0) <= SWEEP_S_MIN
        shepherd._keep_time()


def test_a_shepherd_whose_command_has_its_own_time_keeps_that_and_no_lease(shepherd: Shepherd) -> None:
    shepherd._order["until"] = [lease.now() + 20, lease.now() + 30]
    shepherd._pen.lease.set(stop_at=0.0, kill_at=0.0)
    shepherd._keep_time()
    assert shepherd._kill_by == math.inf
    assert shepherd._wait_s() == pytest.approx(30, abs=1)
    shepherd._order["until"] = [0.0, lease.now()]
    shepherd._keep_time()
    assert shepherd._why == "its time was over"


@pytest.mark.parametrize(("status", "why"), [(None, "the node's lease ended"), (0, "")])
def test_the_lease_s_end_does_not_change_how_a_command_has_ended_before(
    shepherd: Shepherd, status: int | None, why: str
) -> None:
    shepherd._status = status
    shepherd._pen.lease.set(stop_at=0.0, kill_at=0.0)
    shepherd._keep_time()
    assert shepherd._why == why


def test_a_lease_that_was_never_set_has_ended() -> None:
    assert Lease().stop_at == Lease().kill_at == -math.inf


def test_a_lease_is_seen_by_processes_forked_before_it_was_set() -> None:
    shared, (read, write) = Lease(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(read, 1)
            os._exit(0 if (shared.stop_at, shared.kill_at) == (1.5, 2.5) else 1)
        finally:
            os._exit(2)
    shared.set(stop_at=1.5, kill_at=2.5)
    os.write(write, b"!")
    assert os.waitpid(child, 0)[1] == 0
    os.close(read)
    os.close(write)


def test_kill_never_comes_before_term() -> None:
    shared = Lease()
    shared.set(stop_at=5.0, kill_at=4.0)
    assert shared.kill_at == 5.0


def test_time_in_suspend_counts_against_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic clock stands still while the host sleeps; the lease at the leader does not."""
    clocks = {time.CLOCK_BOOTTIME: 1_000.0, time.CLOCK_MONOTONIC: 400.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    ends_at = lease.from_monotonic(403.0)
    assert ends_at - lease.now() == 3.0
    clocks[time.CLOCK_BOOTTIME] += 3_600  # asleep for an hour
    assert lease.now() > ends_at
    assert lease.from_monotonic(math.inf) == math.inf


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"_"))), st.integers(1, 7))
def test_lines_come_out_as_they_went_in_however_they_are_cut(wanted: list[bytes], size: int) -> None:
    stream, lines = b"".join(line + b"\n" for line in wanted), Lines()
    pieces = [stream[n : n + size] for n in range(0, len(stream), size)]
    assert [line for piece in pieces for line in lines.feed(piece)] == wanted


def test_a_line_without_an_end_is_refused_before_it_fills_memory() -> None:
    lines = Lines()
    for _ in range(LINE_BYTES_MAX // 65_536):
        lines.feed(b"x" * 65_536)
    with pytest.raises(LineTooLong):
        lines.feed(b"x")


@given(st.text(min_size=1), st.integers(0, 2**63))
def test_a_file_s_name_is_one_whatever_the_run_is_called(run_id: str, token: int) -> None:
    stem = file_stem(run_id, token)
    assert "/" not in stem
    assert "\0" not in stem
    assert len(f"{stem}.json") <= 255
    assert stem.startswith(f"{token}-")


REPORT_OF_DEATH = REPORT | {"status": 9}


@pytest.mark.parametrize(
    ("waited", "started_ms", "report", "sentence", "anew"),
    [
        (True, None, {}, None, True),
        (False, None, {}, None, False),  # a process of its own: its death is the attempt's
        (True, 7, {}, None, False),  # the class had begun
        (True, None, {"failure": "no such file"}, None, False),
        (True, None, {"why": "this node has no module"}, None, False),
        (True, None, {}, Sentence(50.0, "cancelled", "on request"), False),
    ],
)
def test_an_attempt_begins_anew_when_its_worker_died_before_it_began(
    waited: bool, started_ms: int | None, report: dict[str, object], sentence: Sentence | None, anew: bool
) -> None:
    made = attempt(sentence)
    made.waited, made.started_ms = waited, started_ms
    assert made.unbegun(REPORT_OF_DEATH | report) is anew


def test_a_worker_that_is_handed_an_attempt_is_that_attempt() -> None:
    made = attempt(timeout_s=0, keep=True)
    made.assign(Launch(**(made.order | {"key": "42-run", "timeout_s": 5, "keep": False})), now=200.0)  # type: ignore[typeddict-item]
    assert (made.key, made.timeout_at, made.waited) == ("42-run", 205.0, True)
    assert made.wake_at(stop_at=201.0) == 201.0
