"""Conditions: what the language says, and that each crossing starts a job once."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.apply import apply, apply_proposal
from peercron.core.commands import (
    DeleteKey,
    ExpireLease,
    ExpireSession,
    IncrKey,
    OpenSession,
    PauseJob,
    Proposal,
    PutJob,
    PutKey,
)
from peercron.core.condition import ConditionError, holds, keys, parse
from peercron.core.history import entries_of, runs_of
from peercron.core.job import Overlap
from peercron.core.limits import CONDITION_DEPTH_MAX, CONDITION_VALUE_BYTES_MAX, LISTENERS_MAX
from peercron.core.occasion import ConditionTrigger
from peercron.core.planner import Planner
from peercron.core.run import RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused
from peercron.wire.snapshot import blocks, digest, freeze, thaw
from tests.core.builders import NOW, all_runs, cluster, complaint, definition, done, finished, info, job, only_run, put

LOW = ConditionTrigger('state("stock") < 10')

VALUES = {
    "nine": b"9",
    "half": b"0.5",
    "yes": b"true",
    "no": b"false",
    "null": b"null",
    "text": b'"blue"',
    "raw": b"blue sky",
    "list": b"[1]",
    "bytes": b"\xff",
    "nan": b"NaN",
    "long": b"1" * (CONDITION_VALUE_BYTES_MAX + 1),
    "a/b": b"1",
}


def look(namespace: str, key: str) -> bytes | None:
    return VALUES.get(key) if namespace == "default" else None


# The language.


@pytest.mark.parametrize(
    "text",
    [
        'state("nine") < 10',
        'state("nine") == 9.0 and 9 == state("nine")',
        'state("nine") >= 9 and state("nine") <= 9',
        'not state("nine") < 9',
        'state("nine") - 1 - 1 == 7',
        'state("nine") - (1 - 1) == 9',
        '1 + state("nine") * 2 == 19',
        'state("nine") / 2 == 4.5 and state("nine") % 4 == 1',
        '-state("nine") < -8.5',
        '- -state("nine") == 9',
        'state("yes")',
        'not state("no") and state("yes") == true',
        'state("null") == null and state("none") == null',
        'state("text") == "blue" and state("text") == \'blue\'',
        'state("raw") == "blue sky"',
        'state("text") < "red"',
        'exists("nine") and not exists("none")',
        'exists("default/a/b") and state("default/a/b") == 1',
        'state("no") or state("yes")',
        'state("no") and state("text") < 3 or state("yes")',
        'exists("none") and state("none") < 3 or true',
        'state("nine") != "9" and state("yes") != 1',
        'state("nan") == "NaN"',
        '"\\u00e9" != state("text")',
    ],
)
def test_it_holds(text: str) -> None:
    assert holds(text, look) is True


@pytest.mark.parametrize(
    "text",
    [
        'state("none") < 10',
        'state("text") < 10',
        'state("nine") / 0 < 1',
        'not state("nine") / 0 < 1',
        'state("nine")',
        'not state("nine")',
        'state("list") == 1',
        'state("bytes") == "x"',
        'state("long") > 1',
        'state("yes") < state("no")',
        'state("nine") and true',
        '-state("text") == 1',
    ],
)
def test_what_cannot_be_judged_does_not_hold(text: str) -> None:
    assert holds(text, look) is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: a value is missing at the end"),
        ('state("a") <', "column 13: a value is missing at the end"),
        ('state("a") < 1 < 2', "column 16: comparisons do not chain; write a < b and b < c"),
        ('state("a") & 1', "column 12: '&' means nothing here"),
        ('state("a < 1', "column 7: the quotes are not closed"),
        ('state("a" < 1', "column 11: ')' is expected, not '<'"),
        ("state(a) < 1", 'column 7: state wants a key in quotes: state("stock") or state("namespace/stock")'),
        ('(state("a") < 1', "column 16: ')' is expected at the end"),
        ('state("a") 3', "column 12: '3' is not expected here"),
        ("__import__('os')", "column 1: '__import__' is no value; expected"),
        ("1 < 2", 'it reads no key: state("key") or exists("key") is missing'),
        ('state("\\x") < 1', "is no text as JSON writes it"),
        ("(" * 40, f"nested more than {CONDITION_DEPTH_MAX} deep"),
        ("not " * 40, f"nested more than {CONDITION_DEPTH_MAX} deep"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert message in str(caught.value)


@given(st.text('state("k")<>=!+-*/%() \'exists12.5andornottruefalse', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert keys(parse(text))
    except ConditionError:
        return
    holds(text, look)


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 20))
def test_it_reckons_as_python_does(a: int, b: int, c: int) -> None:
    values = {"a": a, "b": b, "c": c}
    for text in ("a + b * c < a - b", "a - b - c >= 0 or a * b == c", "not (a < b and b < c) or a % c != b / c"):
        theirs = "".join(f'state("{word}")' if word in values else word for word in _words(text))
        ours = eval(text, {}, values)
        assert holds(theirs, lambda _, key: json.dumps(values[key]).encode()) is ours


def _words(text: str) -> list[str]:
    found = [""]
    for sign in text:
        found += [sign, ""] if not sign.isalpha() else []
        found[-1] += sign if sign.isalpha() else ""
    return found


# Edges.


def write(state: ClusterState, value: object, key: str = "stock") -> None:
    done(state, PutKey("default", key, json.dumps(value).encode()))


def waiting(trigger: ConditionTrigger = LOW, overlap: Overlap = Overlap.QUEUE_ALL) -> ClusterState:
    state = cluster("a", "b")
    put(state, trigger=trigger, overlap=overlap)
    return state


def end(state: ClusterState) -> None:
    done(state, finished(only_run(state)))


def test_a_crossing_starts_the_job_once() -> None:
    state = waiting()
    write(state, 20)
    assert not state.runs
    write(state, 9)
    run = only_run(state)
    assert run.id == f"{job(state).uid}/e{state.index}"
    assert (run.slot_ms, run.manual, run.state) == (NOW, False, RunState.RUNNING)
    assert run.cause == f"condition, as of default/stock at revision {state.index}"
    for value in (8, 9, 3):
        write(state, value)
    assert len(all_runs(state)) == 1
    write(state, 10)
    write(state, 9)
    assert len(all_runs(state)) == 2


def test_what_holds_when_the_job_is_made_is_no_crossing() -> None:
    state = cluster("a")
    write(state, 1)
    put(state, trigger=LOW)
    write(state, 2)
    assert not state.runs
    put(state, trigger=ConditionTrigger('state("stock") < 5'))
    write(state, 3)
    assert not state.runs


def test_every_way_in_which_a_key_changes_counts() -> None:
    state = waiting(ConditionTrigger('not exists("stock") or state("stock") > 2'))
    done(state, IncrKey("default", "stock", 1))
    assert not state.runs
    done(state, IncrKey("default", "stock", 5))
    end(state)
    write(state, 0)
    done(state, DeleteKey("default", "stock"))
    end(state)
    lease = done(state, PutKey("default", "stock", b"0", ttl_ms=1_000)).index
    done(state, ExpireLease(lease))
    end(state)
    assert len(all_runs(state)) == 3


def test_a_condition_reads_several_keys() -> None:
    state = waiting(ConditionTrigger('state("a") + state("ops/b") > 10'))
    write(state, 6, "a")
    done(state, PutKey("ops", "b", b"5"))
    assert only_run(state).cause.startswith("condition, as of ops/b")
    assert list(state.listening) == ["key default/a", "key ops/b"]


def test_a_crossing_meets_the_overlap_policy() -> None:
    state = waiting(overlap=Overlap.FORBID)
    for value in (9, 20, 9):
        write(state, value)
    (skipped,) = entries_of(state, job(state).uid)
    assert skipped.run_id == f"{job(state).uid}/e{state.index}"
    assert (skipped.outcome, skipped.manual) == (RunState.SKIPPED, False)
    end(state)
    assert [run.id for run in runs_of(state, job(state).uid)] == [f"{job(state).uid}/e{state.index - 3}"]


def test_a_paused_job_skips_its_crossings_and_says_so() -> None:
    state = waiting()
    done(state, PauseJob("default/job"))
    write(state, 1)
    (skipped,) = entries_of(state, job(state).uid)
    assert skipped.reason == f"the job was paused; condition, as of default/stock at revision {state.index}"
    assert not state.runs


def test_several_jobs_wait_for_one_key_and_each_gets_its_grant() -> None:
    state = cluster("a")
    for name in ("x", "y", "z"):
        put(state, name, trigger=LOW)
    planner = Planner(state)
    write(state, 1)
    assert len(state.runs) == 3
    assert len(state.unplaced) == 2
    for command in planner.plan(NOW):
        if type(command).__name__ == "PlaceRun":
            done(state, command)
    assert not state.unplaced


def test_so_many_may_wait_for_one_key() -> None:
    state = cluster("a")
    for number in range(LISTENERS_MAX):
        put(state, f"job{number}", trigger=LOW)
    verdict = apply(state, PutJob(definition("more", trigger=LOW)), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.LIMIT
    put(state, "job0", trigger=LOW, timeout_ms=5)
    put(state, "other", trigger=ConditionTrigger('exists("other")'))


def test_a_condition_that_cannot_be_read_is_refused_with_its_column() -> None:
    wrong = PutJob(definition(trigger=ConditionTrigger('state("a") <')))
    assert complaint(cluster("a"), wrong) == "when"


def test_a_restart_and_a_snapshot_change_nothing() -> None:
    state = waiting()
    write(state, 20)
    again = thaw(blocks(freeze(state)))
    for each in (state, again):
        write(each, 9)
        write(each, 8)
        assert len(all_runs(each)) == 1
    assert digest(state) == digest(again)


def test_a_thousand_writes_that_cross_37_times_give_37_runs_whoever_leads() -> None:
    """Done-when 9: the writes come from members whose sessions end, are retried, and are planned for by new leaders."""
    dice, state = Random(37), waiting()
    planner, sessions, crossings, written = Planner(state), {"a": 1, "b": 1}, 0, 0
    write(state, 50)
    low = False
    cross_at = set(dice.sample(range(1_000), 74))
    for number in range(1_000):
        low ^= number in cross_at
        crossings += number in cross_at and low
        value = dice.randrange(10) if low else dice.randrange(10, 99)
        name = dice.choice("ab")
        command = PutKey("default", "stock", str(value).encode())
        proposal = Proposal(f"id-{name}", sessions[name], number, number, command)
        first = apply_proposal(state, proposal, NOW)
        assert isinstance(first, Done)
        written += 1
        for _ in range(dice.randrange(3)):
            assert apply_proposal(state, proposal, NOW) == first
        if dice.random() < 0.05:
            planner.close()
            planner = Planner(state)
        if dice.random() < 0.05:
            done(state, ExpireSession(f"id-{name}", sessions[name]))
            sessions[name] += 1
            done(state, OpenSession(info(name), sessions[name]))
        if dice.random() < 0.02:
            state = thaw(blocks(freeze(state)))
            planner = Planner(state)
        for plan in planner.plan(NOW):
            planner.settle(plan, apply(state, plan, NOW))
        for run in list(state.runs.values()):
            if run.live_attempt is not None:
                done(state, finished(run))
    assert (written, crossings) == (1_000, 37)
    assert state.run_count == 37
    entries = [entry for entry in entries_of(state, job(state).uid) if entry.outcome is RunState.SUCCEEDED]
    assert len(entries) + len(state.runs) == 37
