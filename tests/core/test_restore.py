"""A snapshot comes in part by part and then takes the place of what a cluster has: all of it, or nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply, restore
from peercron.core.apply.restore import GROWING, KEPT, LOST, adopt, taken
from peercron.core.commands import (
    AbandonRestore,
    AdoptSnapshot,
    BeginRestore,
    Command,
    EndRuns,
    OpenSession,
    PlaceRun,
    PutKey,
    StageSnapshot,
)
from peercron.core.job import Guarantee, Overlap
from peercron.core.level import LEVEL
from peercron.core.limits import (
    GENERATION_MAX,
    GENERATION_SHIFT,
    RESTORE_BYTES_MAX,
    RESTORE_IDLE_MS_MAX,
    RESTORE_PART_BYTES_MAX,
    RESTORE_PARTS_MAX,
)
from peercron.core.member import MemberInfo
from peercron.core.planner import Planner
from peercron.core.run import LIVE_RUN_STATES, AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    done,
    finished,
    fired,
    node_of,
    only_run,
    outcomes,
    put,
    refused,
    started,
)
from tests.core.chance import some_command
from tests.core.invariants import History, violations

PARTS = (b"first part", b"second", b"third")
DIGEST = blake2b(b"".join(PARTS), digest_size=32).digest()
SIZE = sum(map(len, PARTS))


def begin(restore_id: str = "r", **changes: object) -> BeginRestore:
    return replace(BeginRestore(restore_id, len(PARTS), SIZE), **changes)  # type: ignore[arg-type]


def parts(restore_id: str = "r") -> Iterator[StageSnapshot]:
    return (StageSnapshot(restore_id, number, data) for number, data in enumerate(PARTS))


def adoption(restore_id: str = "r", **changes: object) -> AdoptSnapshot:
    return replace(AdoptSnapshot(restore_id, len(PARTS), DIGEST), **changes)  # type: ignore[arg-type]


def stage(state: ClusterState, holds: ClusterState | None, *, force: bool = False) -> None:
    """All is there; what the parts hold was read by whoever reads bytes."""
    done(state, begin(force=force))
    for part in parts():
        done(state, part)
    state.staged_state = copy.deepcopy(holds)


def restored(holds: ClusterState, into: ClusterState, *, force: bool = False) -> ClusterState:
    stage(into, holds, force=force)
    done(into, adoption(force=force))
    into.staged_state = None
    return into


def some_state(dice: Random, steps: int) -> ClusterState:
    state, now_ms = ClusterState(), NOW
    for _ in range(steps):
        now_ms += dice.choice((0, 0, 400, SECOND, 5 * SECOND))
        apply(state, some_command(dice, state), now_ms)
    return state


def tables(state: ClusterState) -> dict[str, object]:
    """All that is replicated, but for the restore itself and what each command moves."""
    left_out = {"index", "now_ms", "stage", "staged", "staged_state", "changed_jobs", "lines"}
    return {f.name: copy.deepcopy(getattr(state, f.name)) for f in fields(state) if f.name not in left_out}


#: Who stood where in the old cluster, nobody of which is here.
NOBODYS = frozenset({"turns", "incumbents", "contests"})


def test_every_table_is_either_taken_over_or_named() -> None:
    """A new table comes along by itself. Said once more here, so that whoever adds one thinks of which it is."""
    replicated = {f.name for f in fields(ClusterState) if not f.metadata.get("transient")}
    assert set(taken()) | KEPT == replicated
    assert set(taken()) == {
        *("jobs", "job_uids", "cursors", "runs", "live_runs", "ended_runs", "run_count", "recent_runs", "ledger"),
        *("deleted_jobs", "live_attempts", "unplaced", "keys", "key_count"),
        *("leases", "client_leases", "slices", "slices_through", "listening"),
        *("queues", "items", "item_count", "item_bytes", "last_place", "deliveries"),
        *("done_keys", "followers", "joins", "pools", "pool_lines", "paused", "paused_through_ms", "calendars"),
        *NOBODYS,
        *("locks", "lock_grants", "lock_waiters", "lock_requests", "lock_owners", "lock_waiting"),
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_what_is_restored_is_what_was_saved(seed: int, steps: int) -> None:
    dice = Random(seed)
    old = some_state(dice, steps)
    shared = old.contests or any(run.shards for run in old.runs.values())
    somebody_hangs_on_it = bool(old.live_attempts or old.lock_waiters or shared)
    new = cluster("p", "q")
    here = tables(new)
    restored(old, new)
    for name in ("jobs", "job_uids", "cursors", "keys", "key_count"):
        assert repr(getattr(new, name)) == repr(getattr(old, name)), name
    ended = {run_id: run for run_id, run in old.runs.items() if run.state not in LIVE_RUN_STATES}
    assert all(new.runs.get(run_id) in (run, None) for run_id, run in ended.items())
    if not somebody_hangs_on_it:
        assert all(repr(getattr(new, name)) == repr(getattr(old, name)) for name in set(taken()) - NOBODYS)
        assert not any(getattr(new, name) for name in NOBODYS)
    changes = {name for name in KEPT if name.startswith("change")}  # who watches begins anew
    for name in KEPT - GROWING - changes - {"stage", "staged", "adopted", "roster_revision", "tokens"}:
        assert getattr(new, name) == here[name], name
    assert new.index > old.index
    assert new.last_token >= old.last_token
    assert new.now_ms >= max(old.now_ms, NOW)
    assert (new.changes, new.changes_floor) == ({}, new.index)
    assert violations(new) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_a_restored_cluster_goes_on(seed: int) -> None:
    """Nothing that any command does afterwards is out of order, and every token is beyond all of the old cluster."""
    dice = Random(seed)
    old = some_state(dice, 150)
    new = restored(old, cluster("p", "q"))
    now_ms, latest = new.now_ms, max(old.index, old.last_token)
    history = History(last_token=new.last_token, lines=dict(new.live_runs))
    for _ in range(150):
        now_ms += dice.choice((0, SECOND, 5 * SECOND))
        apply(new, some_command(dice, new), now_ms)
        assert history.violations(new) == []
    tokens = {attempt.token for run in new.runs.values() for attempt in run.attempts}
    old_tokens = {attempt.token for run in old.runs.values() for attempt in run.attempts}
    assert all(token > latest and token >= 1 << GENERATION_SHIFT for token in tokens - old_tokens)


def running(name: str = "job", **changes: object) -> ClusterState:
    """A cluster in which one run of one job is under way."""
    state = cluster("a", "b")
    put(state, name, **changes)
    fired(state, NOW + SECOND, name=name)
    return state


def test_a_run_that_was_alive_goes_on_here_with_a_larger_token() -> None:
    old = running()
    before = only_run(old)
    new = restored(old, cluster("p"))
    run = only_run(new)
    assert [a.state for a in run.attempts] == [AttemptState.LOST, AttemptState.ASSIGNED]
    assert (run.attempts[0].reason, node_of(new, run)) == (LOST, "p")
    assert attempt_of(run).token > attempt_of(before).token
    assert attempt_of(run).token >> GENERATION_SHIFT == new.generation - 1 == 1
    done(new, finished(run), NOW + 2 * SECOND)
    assert outcomes(new) == {NOW + SECOND: "succeeded"}


def test_what_may_start_once_is_not_started_again() -> None:
    old = running(guarantee=Guarantee.AT_MOST_ONCE)
    done(old, started(only_run(old)))
    new = restored(old, cluster("p"))
    assert outcomes(new) == {NOW + SECOND: "lost"}


def test_one_command_grants_one_attempt_and_the_others_wait_for_theirs() -> None:
    old = cluster("a")
    put(old, overlap=Overlap.ALLOW)
    for second in (1, 2, 3):
        fired(old, NOW + second * SECOND)
    new = restored(old, cluster("p"))
    assert len(new.unplaced) == 2
    for run_id in tuple(new.unplaced):
        done(new, PlaceRun(run_id))
    tokens = [attempt_of(run).token for run in new.runs.values()]
    assert len(set(tokens)) == 3
    assert violations(new) == []


def test_the_position_of_a_job_is_where_it_was() -> None:
    old = cluster("a")
    put(old)
    fired(old, NOW + SECOND, NOW + 2 * SECOND)
    new = restored(old, cluster("p"))
    assert new.cursors == old.cursors
    plans = Planner(new).plan(NOW + 5 * SECOND)
    assert [getattr(plan, "slots", ()) for plan in plans] == [tuple(NOW + n * SECOND for n in (3, 4, 5))]


def test_a_cluster_on_a_later_clock_or_generation_does_not_go_back() -> None:
    old = running()
    old.generation, old.index, old.now_ms = 7, (6 << GENERATION_SHIFT) + 5, NOW + 9 * SECOND
    new = restored(old, cluster("p"))
    assert (new.generation, new.now_ms) == (8, NOW + 9 * SECOND)
    again = cluster("q")
    again.generation = 9
    assert restored(old, again).generation == 10


def test_a_directory_that_is_wiped_after_a_restore_is_known_for_what_it_is() -> None:
    state = ClusterState()
    born = MemberInfo("id-a", "a", "a:1", "a:2", incarnation="first")
    done(state, OpenSession(born, 1))
    adopt(state, cluster("old"))
    assert refused(state, OpenSession(replace(born, incarnation="second"), 2)) is Refusal.WIPED


def test_at_the_last_generation_tokens_still_grow() -> None:
    old = running()
    old.generation, old.index = GENERATION_MAX, (GENERATION_MAX << GENERATION_SHIFT) - 5
    new = restored(old, cluster("p"))
    assert new.generation == GENERATION_MAX
    assert attempt_of(only_run(new)).token > old.index


def test_parts_come_in_any_order_and_more_than_once() -> None:
    state = cluster("p")
    done(state, begin())
    for part in (*reversed(list(parts())), *parts()):
        done(state, part)
    assert state.stage is not None
    assert state.stage.arrived == SIZE
    state.staged_state = cluster("a")
    done(state, adoption())
    assert (state.stage, state.staged, state.adopted) == (None, {}, "r")


def test_begun_again_it_goes_on_where_it_was() -> None:
    state = cluster("p")
    first = done(state, begin())
    done(state, next(parts()))
    assert done(state, begin(), NOW + SECOND).value == first.value
    assert (len(state.staged), state.stage and state.stage.touched_ms) == (1, NOW + SECOND)


def test_another_restore_takes_its_place() -> None:
    state = cluster("p")
    done(state, begin())
    done(state, next(parts()))
    done(state, begin("other"))
    assert state.staged == {}
    assert refused(state, next(parts())) is Refusal.CONFLICT
    assert refused(state, adoption()) is Refusal.CONFLICT
    assert refused(state, AbandonRestore("r")) is Refusal.CONFLICT
    assert state.stage is not None


def test_a_part_is_missing() -> None:
    state = cluster("p")
    done(state, begin())
    for part in list(parts())[1:]:
        done(state, part)
    state.staged_state = running()
    before = tables(state)
    assert refused(state, adoption()) is Refusal.NOT_READY
    assert refused(state, adoption(parts=2)) is Refusal.NOT_READY
    assert tables(state) == before


def test_the_parts_are_not_those_of_the_digest() -> None:
    state = cluster("p")
    stage(state, running())
    before = tables(state)
    assert refused(state, adoption(digest=bytes(32))) is Refusal.INVALID
    assert tables(state) == before


def test_the_parts_hold_no_snapshot() -> None:
    state = cluster("p")
    stage(state, None)
    before = tables(state)
    assert refused(state, adoption()) is Refusal.INVALID
    assert tables(state) == before


@pytest.mark.parametrize(
    "part",
    [
        StageSnapshot("r", -1, b"x"),
        StageSnapshot("r", 3, b"x"),
        StageSnapshot("r", 0, b""),
        StageSnapshot("r", 0, bytes(SIZE + 1)),
        StageSnapshot("r", 0, bytes(RESTORE_PART_BYTES_MAX + 1)),
    ],
    ids=repr,
)
def test_a_part_that_does_not_fit_is_refused(part: StageSnapshot) -> None:
    state = cluster("p")
    done(state, begin())
    assert refused(state, part) is Refusal.INVALID
    assert state.staged == {}


def test_a_part_does_not_change_once_it_is_there() -> None:
    state = cluster("p")
    done(state, begin())
    done(state, next(parts()))
    assert refused(state, StageSnapshot("r", 0, b"other")) is Refusal.CONFLICT


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"parts": 0}, Refusal.LIMIT),
        ({"parts": RESTORE_PARTS_MAX + 1, "size": RESTORE_BYTES_MAX}, Refusal.LIMIT),
        ({"size": RESTORE_BYTES_MAX + 1}, Refusal.LIMIT),
        ({"size": 2}, Refusal.LIMIT),
        ({"restore_id": ""}, Refusal.INVALID),
        ({"restore_id": "x" * 129}, Refusal.INVALID),
    ],
)
def test_what_is_announced_has_bounds(changes: dict[str, object], why: Refusal) -> None:
    state = cluster("p")
    assert refused(state, begin(**changes)) is why
    assert state.stage is None


def test_a_snapshot_in_words_that_not_all_members_know_waits_for_them() -> None:
    state, old = cluster("p"), running()
    assert refused(state, begin(level=LEVEL + 1)) is Refusal.UNSUPPORTED
    assert state.stage is None
    old.level = LEVEL + 1
    stage(state, old)
    before = tables(state)
    assert refused(state, adoption()) is Refusal.UNSUPPORTED
    assert tables(state) == before
    state.level = LEVEL + 2
    done(state, adoption())
    assert state.level == LEVEL + 2, "a cluster does not unlearn"


@pytest.mark.parametrize("has", [running(), cluster("a")], ids=["jobs", "a key"])
def test_a_cluster_that_has_something_is_left_alone(has: ClusterState) -> None:
    state = copy.deepcopy(has)
    if not state.jobs:
        done(state, PutKey("default", "k", b"v"))
    assert refused(state, begin()) is Refusal.CONFLICT
    assert state.stage is None


def test_what_came_while_the_parts_came_is_not_replaced_either() -> None:
    state = cluster("p")
    stage(state, running())
    done(state, PutKey("default", "k", b"v"))
    before = tables(state)
    assert refused(state, adoption()) is Refusal.CONFLICT
    assert tables(state) == before


def test_by_force_everything_is_replaced() -> None:
    state = cluster("p")
    put(state, "mine")
    done(state, PutKey("default", "k", b"v"))
    new = restored(running(), state, force=True)
    assert [row.key for row in new.jobs.values()] == ["default/job"]
    assert (new.keys, new.key_count) == ({}, 0)
    assert violations(new) == []


def test_no_attempt_of_the_cluster_may_be_alive_when_another_state_takes_its_place() -> None:
    """The same run might live here and come back with the snapshot: it would run twice at once."""
    state = running()
    stage(state, running(), force=True)
    assert refused(state, adoption(force=True)) is Refusal.NOT_READY
    put(state, "other")
    assert done(state, EndRuns("r")).value == 1
    run = only_run(state)
    assert run.cancel_requested
    fired(state, NOW + 2 * SECOND, name="other")
    assert only_run(state, "other").state is RunState.QUEUED, "nothing is granted any more"
    assert refused(state, PlaceRun(only_run(state, "other").id)) is Refusal.NOT_READY
    assert refused(state, adoption(force=True)) is Refusal.NOT_READY
    done(state, finished(run, AttemptState.CANCELLED))
    done(state, adoption(force=True))
    assert only_run(state).live_attempt is not None
    assert violations(state) == []


def test_what_waited_for_a_restore_that_was_given_up_goes_on() -> None:
    state = cluster("p")
    put(state)
    stage(state, running(), force=True)
    done(state, EndRuns("r"))
    fired(state, NOW + SECOND)
    planner = Planner(state)
    assert not [plan for plan in planner.plan(NOW + SECOND) if isinstance(plan, PlaceRun)]
    done(state, AbandonRestore("r"))
    assert [plan for plan in planner.plan(NOW + SECOND) if isinstance(plan, PlaceRun)]
    assert (state.stage, state.staged) == (None, {})


def test_said_twice_it_is_done_once() -> None:
    """The answer was lost: who asks again is told that it is done, and nothing is put back."""
    state = restored(running(), cluster("p"))
    done(state, PutKey("default", "k", b"v"))
    before = tables(state)
    assert done(state, adoption()).value == state.generation
    assert refused(state, begin()) is Refusal.CONFLICT
    assert tables(state) == before


def test_a_defect_on_the_way_leaves_the_state_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(restored: ClusterState) -> None:
        raise KeyError(restored.index)

    state = cluster("p")
    stage(state, running())
    before = tables(state)
    monkeypatch.setattr(restore, "_let_go", broken)
    assert refused(state, adoption()) is Refusal.INTERNAL
    assert tables(state) == before


def test_a_restore_that_nobody_goes_on_with_is_given_up() -> None:
    state = cluster("p")
    planner = Planner(state)
    assert planner.next_due_ms() is None
    done(state, begin())
    planner.observe()
    due_ms = NOW + RESTORE_IDLE_MS_MAX
    assert planner.next_due_ms() == due_ms
    assert planner.plan(due_ms - 1) == []
    (plan,) = planner.plan(due_ms)
    assert plan == AbandonRestore("r", NOW)
    assert planner.plan(due_ms) == [], "it is on its way"
    planner.settle(plan, None)
    assert planner.plan(due_ms) == [plan], "nobody knows what became of it"
    done(state, next(parts()), due_ms)
    assert refused(state, plan, due_ms) is Refusal.STALE_PLAN, "somebody went on with it"
    (plan,) = planner.plan(due_ms + RESTORE_IDLE_MS_MAX)
    done(state, plan, due_ms + RESTORE_IDLE_MS_MAX)
    assert (state.stage, planner.next_due_ms()) == (None, None)


@pytest.mark.parametrize("command", [next(parts()), EndRuns("r"), adoption(), AbandonRestore("r")], ids=repr)
def test_nothing_is_under_way(command: Command) -> None:
    state = cluster("p")
    assert refused(state, command) is Refusal.CONFLICT


def test_adopting_uses_nothing_up_but_what_it_was_given() -> None:
    old, new = running(), cluster("p")
    kept = new.members
    adopt(new, copy.deepcopy(old))
    assert new.members is kept
    assert new.staged == {}
