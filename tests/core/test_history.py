"""What has ended comes back from its bytes as it was, is found by its name, and the newest are listed first."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core import history
from peercron.core.apply import ledger, run
from peercron.core.commands import DeleteJob, RunJob
from peercron.core.job import Overlap
from peercron.core.run import LedgerEntry, Run, RunState
from peercron.core.state import ClusterState
from tests.core.builders import cluster, done, finished, put, run_row
from tests.wire.rows import values

KEY = "default/job"


@st.composite
def names(draw: st.DrawFn) -> tuple[str, int, bool]:
    """(run id, slot, manual) as apply names them."""
    slot_ms, kind = draw(st.integers(0, 2**53)), draw(st.sampled_from(("", "m", "e")))
    return f"a1/{f'{kind}{draw(st.integers(1, 2**53))}' if kind else slot_ms}", slot_ms, kind == "m"


@given(names(), values(Run))
def test_a_run_comes_back_as_it_was(name: tuple[str, int, bool], row: Run) -> None:
    run_id, slot_ms, manual = name
    row = replace(
        row, id=run_id, job_uid="a1", job_key=KEY, slot_ms=slot_ms, manual=manual, definition=None, checkpoint=b""
    )
    packed = history.pack_run(row)
    assert history.unpack_run("a1", KEY, packed) == row
    assert history.is_of(run_id, packed)
    # What a plainer way of writing it would write.
    attempts = [[*astuple(attempt)[:-1], *_without_end([attempt.why])] for attempt in row.attempts]
    named = run_id.partition("/")[2].removeprefix(str(slot_ms))
    fields = [named, slot_ms, row.state, row.created_ms, attempts, row.finished_ms, row.reason]
    shards = [astuple(shard) for shard in row.ended]
    late = [row.params, row.not_before_ms, row.cause, row.delivery, row.parent, row.shard, row.member]
    late = _without_end([*late, row.shards, shards, row.barrier_by_ms, row.opened_ms, row.posted])
    plain = json.dumps([*fields, int(row.cancel_requested), *late], separators=(",", ":"), ensure_ascii=False)
    assert packed == plain.encode()


def _without_end(late: list[object]) -> list[object]:
    """Without the last of the fields that came later, as far as they say nothing."""
    while late and not late[-1]:
        late.pop()
    return late


@given(names(), values(LedgerEntry))
def test_an_entry_comes_back_as_it_was(name: tuple[str, int, bool], entry: LedgerEntry) -> None:
    run_id, slot_ms, manual = name
    entry = replace(entry, run_id=run_id, slot_ms=slot_ms, manual=manual)
    packed = history.pack_entry(entry)
    assert history.unpack_entry("a1", packed) == entry
    assert history.is_of(run_id, packed)
    assert [outcome for outcome in RunState if history.has_outcome(packed, outcome)] == [entry.outcome]
    state = ClusterState(ledger={"a1": (packed,)})
    since = [history.packed_since(state, "a1", entry.decided_ms + later) for later in (-1, 0, 1)]
    assert since == [(packed,), (packed,), ()]


def test_text_that_no_message_could_carry_does_no_harm() -> None:
    state = cluster("a")
    put(state)
    done(state, RunJob("default/job"))
    (live,) = state.runs.values()
    done(state, finished(live, reason="half a \ud800 pair"))
    assert run_row(state, live.id).reason == "half a \ud800 pair"


@pytest.mark.parametrize("like", ["{}", "{},1", '{}"', "", "/", "m", "nobody/1", "{0}x", "x{0}", '{0},"succeeded"'])
def test_only_the_whole_name_finds_it(like: str) -> None:
    state = cluster("a")
    put(state, overlap=Overlap.ALLOW)
    for _ in range(3):
        done(state, RunJob("default/job"))
        done(state, finished(next(iter(state.runs.values()))))
    wanted = next(history.runs_of(state, next(iter(state.jobs)))).id
    found, entry = history.find_run(state, like.format(wanted)), history.find_entry(state, like.format(wanted))
    assert (found.id if found else None) == (wanted if like == "{}" else None)
    assert (entry.run_id if entry else None) == (wanted if like == "{}" else None)


def listed(state: ClusterState) -> list[str]:
    return [row.id for row in history.recent_runs(state)]


def test_runs_over_all_jobs_are_listed_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (history, run):
        monkeypatch.setattr(module, "RECENT_RUNS_KEPT", 4)
    state, made = cluster("a"), list[str]()
    put(state, "long")
    for n in range(7):
        job = "long" if n == 1 else f"job-{n}"
        put(state, job)
        made.append(str(done(state, RunJob(f"default/{job}")).value))
        if job != "long":
            done(state, finished(state.runs[made[-1]]))
        # The one that lives on is listed however many came after it.
        assert listed(state) == [*made[-4:][::-1], *(made[1:2] if n > 4 else ())]
    assert len(state.recent_runs) == 4


def test_what_is_kept_no_more_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DELETED_JOBS_KEPT", 0)
    state = cluster("a")
    for name in ("a", "b"):
        put(state, name)
        done(state, RunJob(f"default/{name}"))
        done(state, finished(next(iter(state.runs.values()))))
    done(state, DeleteJob("default/a"))
    assert [row.job_key for row in history.recent_runs(state)] == ["default/b"]
