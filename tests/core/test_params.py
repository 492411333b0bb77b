"""Params: what a run is given on its way reaches it whole, is bounded, and is kept with what has ended."""

from __future__ import annotations

import pytest

from peercron.core.apply import apply
from peercron.core.commands import OpenSession, PutJob, RunJob
from peercron.core.job import CommandTask, HttpTask, Overlap, Task
from peercron.core.level import objection
from peercron.core.limits import PARAMS_BYTES_MAX, PARAMS_MAX
from peercron.core.params import flaw, variable
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    cluster,
    code,
    complaint,
    definition,
    done,
    finished,
    fired,
    info,
    only_run,
    put,
    refused,
    run_row,
)

COMMAND, CALL = CommandTask(("true",)), HttpTask("GET", "http://h/")
GIVEN = (("day", "mon"), ("n", "3"))


def test_a_run_has_what_it_was_given_and_keeps_it_when_it_has_ended() -> None:
    state = cluster("a")
    put(state)
    run_id = str(done(state, RunJob("default/job", GIVEN)).value)
    assert only_run(state).params == GIVEN
    done(state, finished(only_run(state)))
    assert run_row(state, run_id).params == GIVEN


def test_a_run_that_waits_keeps_its_own() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.QUEUE_ALL)
    done(state, RunJob("default/job"))
    second = str(done(state, RunJob("default/job", GIVEN)).value)
    done(state, finished(run_row(state, next(iter(state.runs)))))
    assert run_row(state, second).params == GIVEN


def test_what_cannot_be_given_is_refused_and_no_run_is_made() -> None:
    state = cluster("a")
    put(state)
    assert refused(state, RunJob("default/job", (("a b", "x"),))) is Refusal.INVALID
    assert not state.runs


@pytest.mark.parametrize(
    ("params", "task", "told"),
    [
        (GIVEN, COMMAND, ""),
        ((("x", "two\nlines"),), COMMAND, ""),
        ((("x", "two\nlines"),), CALL, "params.x: wants no line breaks"),
        ((("1x", "y"),), COMMAND, "params: '1x' is no name"),
        ((("x-y", "y"),), COMMAND, "params: 'x-y' is no name"),
        ((("x" * 129, "y"),), COMMAND, "params: 'xxx"),
        ((("day", "1"), ("Day", "2")), COMMAND, "params.Day: is there twice: a run sees both as PEERCRON_PARAM_DAY"),
        ((("x", "\0"),), COMMAND, "params.x: has a NUL"),
        (tuple((f"x{n}", "") for n in range(PARAMS_MAX + 1)), COMMAND, "params: 65 are given"),
        ((("x", "y" * PARAMS_BYTES_MAX),), COMMAND, "params: 16385 bytes together"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_and_sizes_are_judged(params: tuple[tuple[str, str], ...], task: Task, told: str) -> None:
    assert flaw(params, task)[: len(told) or None] == told


def test_a_parameter_is_a_variable_in_capitals() -> None:
    assert variable("day") == "PEERCRON_PARAM_DAY"


def test_an_older_member_would_not_know_them() -> None:
    state = cluster()
    done(state, OpenSession(info("a", level=1), 1))
    put(state)
    assert objection(state, RunJob("default/job")) == ""
    assert code(apply(state, RunJob("default/job", GIVEN), NOW)) is Refusal.UNSUPPORTED
    assert not state.runs


def test_a_job_gives_its_own_params_to_each_run_unless_others_are_given() -> None:
    state = cluster("a")
    put(state, params=(("day", "mon"), ("size", "5")))
    fired(state, NOW + SECOND)
    assert only_run(state).params == (("day", "mon"), ("size", "5"))
    done(state, finished(only_run(state)))
    done(state, RunJob("default/job", (("Day", "tue"),)))
    assert only_run(state).params == (("size", "5"), ("Day", "tue"))
    assert complaint(state, PutJob(definition(params=(("1x", ""),)))) == "params"
