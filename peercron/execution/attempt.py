"""attempt: what the guardian knows of an attempt, and the judgement of how it ended."""

from __future__ import annotations

import math
import os
import signal
import socket
from typing import Any, NamedTuple

from peercron.clock import SystemClock
from peercron.execution.ending import Pace
from peercron.execution.lease import from_monotonic
from peercron.execution.limits import REASON_CHARS_MAX
from peercron.execution.orders import Ended, Launch

SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST = "succeeded", "failed", "timed_out", "cancelled", "lost"
#: What it should run is not on this node.
REFUSED = "refused"

#: Of one that has its own time.
OVERDUE = "its time was over"


class Sentence(NamedTuple):
    """Why the attempt must end, by the guardian's word, and what it counts as if its command ended at `at` or later."""

    at: float
    outcome: str
    reason: str


class Attempt:
    """A living attempt. Instants are those of `lease.now`."""

    def __init__(self, order: Launch, shepherd: int, channel: socket.socket, now: float) -> None:
        self.order = order
        self.key = order["key"]
        self.shepherd = shepherd
        self.channel = channel
        self.timeout_at = math.inf
        #: Prepared, and waits for its release.
        self.held = order["held"]
        if not self.held:
            self.begin(now)
        self.kill_at = math.inf
        self.sweep = Pace()
        self.sentence: Sentence | None = None
        self.lease_ended = False
        self.started_ms: int | None = None
        #: Its process is a worker that had waited.
        self.waited = False
        #: Since when a sweep finds none of its processes, and the shepherd still says nothing.
        self.silent_since = math.inf

    def assign(self, order: Launch, now: float) -> None:
        """It was a worker that waited, and is this attempt from now on."""
        self.order, self.key, self.waited = order, order["key"], True
        self.begin(now)

    def unbegun(self, report: dict[str, Any]) -> bool:
        """A worker that had waited is gone, and neither it nor anybody else says why this attempt should be."""
        told = report["failure"] or report["why"] or self.sentence
        return self.waited and self.started_ms is None and not told

    def begin(self, now: float) -> None:
        """Its time runs from now on."""
        self.held = False
        self.timeout_at = now + self.order["timeout_s"] if self.order["timeout_s"] else math.inf

    def wake_at(self, stop_at: float) -> float:
        """When the guardian must look at it again, if the lease's `stop_at` is that."""
        timeout_at = math.inf if self.sentence else self.timeout_at
        lease_at = math.inf if self.lease_ended else time_of(self.order, stop_at, math.inf)[0]
        return min(timeout_at, lease_at, max(self.kill_at, self.sweep.at))


def time_of(order: Launch, stop_at: float, kill_at: float) -> tuple[float, float]:
    """Until when an attempt may live, where these are the node's lease: its own time, if it has one."""
    if order["until"]:
        own_stop_at, own_kill_at = order["until"]
        return own_stop_at, own_kill_at
    return (math.inf, math.inf) if order["keep"] else (stop_at, kill_at)


def timed(order: Launch) -> Launch:
    """With its own time, if it has one, as an instant of `lease.now`."""
    order["until"] = [from_monotonic(float(instant)) for instant in order["until"]]
    return order


def ended(attempt: Attempt, report: dict[str, Any]) -> Ended:
    """The result of an attempt from its shepherd's report.

    What the command did before anybody wanted its end counts as it is; what came after counts as that end.
    """
    exit_code, reason = _own_end(report)
    outcome = SUCCEEDED if exit_code == 0 else FAILED
    if attempt.sentence and report["ended_at"] >= attempt.sentence.at:
        outcome, reason = attempt.sentence.outcome, attempt.sentence.reason
    elif report["why"]:
        outcome, reason = REFUSED if report["absent"] else LOST, report["why"]
    if report["output_lost"]:
        reason = "; ".join(filter(None, (reason, f"output lost: {report['output_lost']}")))
    result = _result(attempt.key, attempt.started_ms, outcome, reason)
    return {**result, "exit_code": exit_code, "output_tail": report["output_tail"]}


def unreported(attempt: Attempt, reason: str) -> Ended:
    """The result of an attempt that has no shepherd to report: none of its processes lives, more is not known."""
    if attempt.sentence:
        reason = f"{attempt.sentence.reason}; {reason}"
    outcome = attempt.sentence.outcome if attempt.sentence else LOST
    return _result(attempt.key, attempt.started_ms, outcome, reason)


def not_started(key: str, reason: str) -> Ended:
    """The result of an attempt that was refused: lost, so that it gets its try elsewhere."""
    return _result(key, None, LOST, f"the command was not started: {reason}")


def _result(key: str, started_ms: int | None, outcome: str, reason: str) -> Ended:
    return Ended(
        key=key,
        outcome=outcome,
        exit_code=None,
        started_ms=started_ms,
        finished_ms=SystemClock().wall_ms(),
        reason=reason[:REASON_CHARS_MAX],
        output_tail="",
    )


def _own_end(report: dict[str, Any]) -> tuple[int | None, str]:
    if report["failure"]:
        return report["code"], report["failure"]
    status = report["status"]
    if status is None:
        return None, ""
    if os.WIFSIGNALED(status):
        return None, f"killed by signal {_name(os.WTERMSIG(status))}"
    code = os.waitstatus_to_exitcode(status)
    return code, f"exit code {code}" if code else ""


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return str(signum)
