"""What a run is told on its way to the supervisor."""

from __future__ import annotations

from asyncio import Future

from peercron.clock import ManualClock
from peercron.core.commands import Command, RunJob
from peercron.core.dispatcher import Start, decide
from peercron.core.verdict import Verdict
from peercron.machine import Machine
from peercron.node.dispatch import Dispatch
from tests.core.builders import cluster, done, put


def _propose(command: Command, timeout_s: float) -> Future[Verdict]:
    raise AssertionError("nothing is proposed here")


def test_a_run_sees_its_parameters() -> None:
    state = cluster("a")
    put(state)
    done(state, RunJob("default/job", (("day", "mon"), ("note", "two\nlines"))))
    (start,) = decide(state, "id-a", 1, ())
    assert isinstance(start, Start)
    machine = Machine("id-a")
    machine.state = state
    dispatch = Dispatch("id-a", lambda: "a", "http://a", lambda *_: "pass", machine, ManualClock(), _propose)
    env = dispatch.spec(start).env
    assert (env["PEERCRON_PARAM_DAY"], env["PEERCRON_PARAM_NOTE"]) == ("mon", "two\nlines")
