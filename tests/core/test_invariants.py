"""Any commands in any order keep the invariants; copies that are fed the same stay equal; the check can fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core import line, placement
from peercron.core.apply import apply, attempt, delivery, fire, job, ledger, run, session, slices
from peercron.core.history import find_run
from peercron.core.placement import eligibility
from peercron.core.policy import Admission
from peercron.core.queue import Line
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from peercron.core.views import digest
from tests.core.chance import some_command
from tests.core.invariants import History

STEPS = 400


def first_violation(dice: Random, steps: int = STEPS) -> str:
    """Play random commands on an empty cluster; the first thing that is wrong, or nothing."""
    state, history, now_ms = ClusterState(), History(), 1_000_000
    for step in range(steps):
        now_ms += dice.choice((0, 0, 1, 400, 1_000, 5_000, 5_000, dice.choice((1, 4_000_000))))
        command = some_command(dice, state)
        verdict = apply(state, command, now_ms)
        problems = history.violations(state)
        if isinstance(verdict, Refused) and verdict.code is Refusal.INTERNAL:
            problems.append(f"defect: {verdict.detail}")
        if problems:
            return f"step {step}, {command}: {problems}"
    return ""


@pytest.mark.parametrize("seed", range(12))
def test_random_commands_keep_the_invariants(seed: int) -> None:
    assert first_violation(Random(seed)) == ""


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_few_commands_keep_the_invariants(dice: Random) -> None:
    assert first_violation(dice, steps=25) == ""


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_copies_fed_the_same_stay_equal(seed: int) -> None:
    dice, now_ms = Random(seed), 1_000_000
    one = ClusterState()
    other = ClusterState(changed_jobs={})  # what is not replicated makes no difference
    for step in range(150):
        now_ms += dice.choice((0, 1, 1_000))
        command = some_command(dice, one)
        assert apply(one, command, now_ms) == apply(other, command, now_ms)
        if step == 75:
            other = copy.deepcopy(other)
    assert one == other
    assert digest(one) == digest(other)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_a_refusal_changes_nothing(seed: int) -> None:
    dice, now_ms, state = Random(seed), 1_000_000, ClusterState()
    for _ in range(150):
        now_ms += dice.choice((0, 1, 1_000))
        before = copy.copy(state)
        tables = copy.deepcopy(state)
        verdict = apply(state, some_command(dice, state), now_ms)
        # A late result leaves a note on purpose.
        if isinstance(verdict, Refused) and verdict.code is not Refusal.STALE_TOKEN:
            tables.index, tables.now_ms = state.index, state.now_ms
            assert state == tables, verdict
        assert before.jobs is state.jobs


def always(value: object) -> Callable[..., object]:
    return lambda *_args, **_kwargs: value


def any_attempt(state: ClusterState, run_id: str, _token: int) -> tuple[Any, Any]:
    row = find_run(state, run_id)
    return row, row.attempts[-1] if row and row.attempts else None


def forget_nothing(_state: ClusterState, _member_id: str, _reason: str) -> None:
    return None


def two_grants(state: ClusterState, job: Any, row: Any) -> None:
    """take_turn without the rule of one grant for each command."""
    choice = placement.choose(state, job, row)
    if run.turn_has_come(state, job, row) and choice.member is not None:
        state.last_token = -1
        run.grant(state, job, row, choice.member, choice.why)


#: Rules that protect something, each broken in one place: module, name, what stands there instead.
MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "an ended session keeps what it held": (session, "_give_up", forget_nothing),
    "the dead get work": (eligibility, "not_for", always("")),
    "any result ends an attempt, whatever has ended": (attempt, "_held", any_attempt),
    "one command grants twice": (run, "take_turn", two_grants),
    "the line is ignored": (run, "turn_has_come", always(True)),
    "nobody waits for anybody": (run, "admission", always(Admission.START)),
    "the line does not advance": (attempt, "advance", always(None)),
    "an edited line is left as it was": (job, "reline", always(None)),
    "ended runs are not recorded": (ledger, "record_run", always(None)),
    "plans are not checked": (fire, "_flaw", always("")),
    "a delivery that ends keeps its items": (delivery, "give_back", always(None)),
    "a delivery goes on without its items": (
        delivery,
        "settled",
        lambda state, token, _: state.deliveries[token].items,
    ),
    "items that are gone are counted": (delivery, "forget", always(None)),
    "a group is no order": (Line, "_stand_in_group", always(True)),
    "plans may be stale": (fire, "_fits", always(True)),
    "two nodes' words on one slot are both taken": (slices, "_known", always(False)),
    "whatever a node tells of its slices is taken": (slices, "_refusal", always(None)),
    "a lock has room for everybody": (line, "has_room", always(True)),
    "who is waited for by a dead node stays in line": (session, "drop_waiters_of", always(None)),
    "an attempt that has ended keeps its locks": (attempt, "free_locks_of_attempt", always(None)),
}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_broken_rule_is_noticed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead = MUTATIONS[rule]
    monkeypatch.setattr(module, name, instead)
    assert any(first_violation(Random(seed)) for seed in range(90)), f"nobody noticed: {rule}"
