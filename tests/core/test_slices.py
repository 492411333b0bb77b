"""Slices: every slot has one owner, what runs is dead before the next slice, and what was told is told once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.absence import absence
from peercron.core.apply.configuration import configure
from peercron.core.commands import ApplyJobs, ArrangeSlices, DeleteJob, PutJob, RecordSlices, RunJob
from peercron.core.history import entries_of, find_run
from peercron.core.job import AtTrigger, CronTrigger, EveryTrigger, ManualTrigger, Mode, OnAbsent, Overlap, Retry
from peercron.core.limits import (
    CLOCK_BOUND_MS,
    DELETED_JOBS_KEPT,
    GAP_SLOTS_MAX,
    SLICE_ENTRIES_PER_RECORD_MAX,
    SLICE_GUARD_MS,
    SLICE_HANDOVER_MS,
    SLICE_MS_MIN,
    SLICE_ROOM_MS_MIN,
    SLICE_SHARES_KEPT,
)
from peercron.core.member import Configuration, Role, Seat
from peercron.core.planner import Planner
from peercron.core.roster import roster
from peercron.core.run import RunState
from peercron.core.schedule import slots_between
from peercron.core.slices import (
    INSTANT_NEVER,
    Own,
    Share,
    Slice,
    SliceEntry,
    Slices,
    room,
    shared_anew,
    slice_at,
)
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    cluster,
    complaint,
    definition,
    done,
    entries,
    fire,
    fired,
    job,
    node_of,
    only_run,
    put,
    refused,
)

TEN = 10 * SECOND
SLICED = {"mode": Mode.SLICE, "slice_ms": TEN}


def seats(*names: str, **roles: Role) -> Configuration:
    everybody = (*names, *roles)
    return Configuration(tuple(Seat(f"id-{n}", n, f"{n}:7400", roles.get(n, Role.VOTER)) for n in everybody))


def seated(*names: str, **roles: Role) -> ClusterState:
    state = cluster(*names, *roles)
    configure(state, seats(*names, **roles))
    return state


def entry(slot_ms: int, outcome: RunState = RunState.SUCCEEDED, **more: int | str) -> SliceEntry:
    reason = "why" if outcome in {RunState.SKIPPED, RunState.MISSED} else ""
    return SliceEntry(slot_ms, outcome, reason, **({"started_ms": slot_ms + 1, "finished_ms": slot_ms + 9} | more))  # type: ignore[arg-type]


def record(state: ClusterState, node: str, *told: SliceEntry, through_ms: int = 0) -> RecordSlices:
    return RecordSlices(node, job(state).uid, told, through_ms or told[-1].slot_ms)


# Who owns what.

TRIGGERS = st.one_of(
    st.builds(EveryTrigger, st.integers(1_000, 40_000), st.integers(0, 9_999)),
    st.sampled_from([CronTrigger("*/7 * * * *"), CronTrigger("0 0 * * * *"), AtTrigger(NOW + 77_777)]),
)


@st.composite
def some_shares(draw: st.DrawFn) -> tuple[Share, ...]:
    """As apply makes them: the nodes change at the end of a slice."""
    lengths, names = st.integers(SLICE_MS_MIN, 60_000), st.lists(st.sampled_from("abcd"), max_size=4, unique=True)
    shares = Slices((Share(NOW, draw(lengths), tuple(draw(names))),))
    for later_ms in draw(st.lists(st.integers(0, 600_000), max_size=3)):
        now_ms = shares.shares[-1].since_ms + later_ms
        shares = shared_anew(shares, draw(lengths), tuple(draw(names)), now_ms, SLICE_SHARES_KEPT)
    return shares.shares


def owner(shares: tuple[Share, ...], slot_ms: int) -> str:
    found = slice_at(shares, slot_ms)
    assert found is not None
    return found.owner


@given(some_shares(), TRIGGERS, st.integers(0, 900_000))
def test_each_slot_belongs_to_one_node_and_the_nodes_together_have_all(
    shares: tuple[Share, ...], trigger: EveryTrigger, span_ms: int
) -> None:
    everything = slots_between(trigger, NOW, NOW + span_ms, "1", 1_000)
    parts = [Own(name, trigger, "1", shares).between(0, NOW + span_ms, 1_000) for name in "abcd"]
    nobodys = [slot for slot in everything if owner(shares, slot) == ""]
    assert sorted([slot for part in parts for slot in part] + nobodys) == list(everything)


@given(some_shares(), st.integers(1_000, 40_000), st.integers(0, 900_000))
def test_the_next_own_slot_is_that_of_a_walk_over_all(shares: tuple[Share, ...], every_ms: int, ahead_ms: int) -> None:
    own = Own("b", EveryTrigger(every_ms), "1", shares)
    slot = (NOW + ahead_ms) // every_ms * every_ms
    walked = next((at for n in range(1, 400) if own.owns(at := slot + n * every_ms)), None)
    found, looked_ms = own.next_after(NOW + ahead_ms)
    if walked is not None:
        assert found == walked
    elif found is not None:
        assert found > slot + 399 * every_ms
    else:
        assert looked_ms > slot + 399 * every_ms


@given(some_shares(), st.integers(NOW, NOW + 3_600_000))
def test_a_slice_holds_its_instant_and_has_one_owner_throughout(shares: tuple[Share, ...], at_ms: int) -> None:
    found = slice_at(shares, at_ms + 1)
    assert found is not None
    assert found.begin_ms <= at_ms + 1 < found.end_ms
    for instant in (found.begin_ms, found.end_ms - 1):
        assert slice_at(shares, instant) == found
    assert found.end_ms - found.begin_ms <= 60_000


def test_before_the_first_share_time_is_nobody_s() -> None:
    assert slice_at((Share(NOW, TEN, ("a",)),), NOW) is None
    assert slice_at((Share(NOW, TEN, ()),), NOW + 1) == Slice("", NOW + 1, NOW + TEN)


def test_a_node_whose_turn_never_meets_a_slot_is_not_looked_for_all_day() -> None:
    """Daily at midnight, and every slice that begins there has an even number."""
    shares = (Share(NOW, TEN, ("a", "b")),)
    own = Own("b", CronTrigger("0 0 * * *"), "1", shares)
    found, looked_ms = own.next_after(NOW)
    assert found is None
    assert NOW < looked_ms < INSTANT_NEVER
    assert own.between(NOW, NOW + 400 * 86_400_000, 9) == ()


def test_who_is_in_no_share_to_come_has_no_slot_ever() -> None:
    shares = (Share(NOW, TEN, ("a", "b")), Share(NOW + 2 * TEN - 1, TEN, ("a",)))
    own = Own("b", EveryTrigger(SECOND), "1", shares)
    assert own.next_after(NOW + 2 * TEN) == (None, INSTANT_NEVER)
    assert Own("a", AtTrigger(NOW), "1", shares).next_after(NOW) == (None, INSTANT_NEVER)


# The guard band.


@given(
    st.integers(SLICE_MS_MIN, 10**6), st.integers(0, 10**6), st.integers(0, 60_000),
    st.integers(-CLOCK_BOUND_MS, CLOCK_BOUND_MS), st.integers(-CLOCK_BOUND_MS, CLOCK_BOUND_MS),
)  # fmt: skip
def test_what_runs_is_dead_before_the_next_slice_begins_by_any_clock_within_the_bound(
    length_ms: int, into_ms: int, grace_ms: int, own_off_ms: int, other_off_ms: int
) -> None:
    """Both nodes start as early, and run as long, as their own wrong clocks allow."""
    mine = Slice("a", NOW, NOW + length_ms)
    own_now_ms = NOW + into_ms
    left = room(mine, own_now_ms, grace_ms)
    if left is None:
        assert length_ms - into_ms < SLICE_GUARD_MS + SLICE_ROOM_MS_MIN
        return
    dead_at_ms = own_now_ms - own_off_ms + left.kill_ms
    next_begins_ms = mine.end_ms - other_off_ms
    assert dead_at_ms < next_begins_ms
    assert 0 < left.stop_ms <= left.kill_ms
    assert left.kill_ms - left.stop_ms == min(grace_ms, left.kill_ms // 4)


# How a job comes to its slices.


def test_the_roster_is_the_voters_in_the_order_of_the_configuration() -> None:
    state = seated("c", "a", w=Role.WITNESS, b=Role.VOTER, late=Role.LEARNER)
    assert roster(state, put(state, **SLICED).definition) == ("c", "a", "b")
    assert state.slices[job(state).uid].shares == (Share(NOW, TEN, ("c", "a", "b")),)
    put(state, nodes=("b", "nobody"), **SLICED)
    assert roster(state, job(state).definition) == ("b", "nobody")


def test_another_roster_acts_at_the_end_of_a_slice_that_all_in_touch_have_time_to_hear_of() -> None:
    state = seated("a", "b")
    put(state, **SLICED)
    configure(state, seats("a", "b", "c"))
    assert len(state.slices[job(state).uid].shares) == 1, "the configuration carries no time"
    asked = ArrangeSlices(state.roster_revision)
    done(state, asked, NOW + 3)
    _, later = state.slices[job(state).uid].shares
    assert later == Share(NOW + 2 * TEN - 1, TEN, ("a", "b", "c"))
    assert later.since_ms - NOW >= SLICE_HANDOVER_MS
    assert done(state, asked, NOW + 5).value == 0
    assert refused(state, ArrangeSlices(state.roster_revision - 1)) is Refusal.STALE_PLAN


def test_a_change_that_lies_far_ahead_is_taken_back_and_one_that_is_near_is_not() -> None:
    begin = Slices((Share(NOW, 600_000, ("a", "b")),))
    ahead = shared_anew(begin, 600_000, ("a",), NOW, SLICE_SHARES_KEPT)
    assert len(ahead.shares) == 2
    assert shared_anew(ahead, 600_000, ("a", "b"), NOW, SLICE_SHARES_KEPT) == begin
    near_ms = ahead.shares[-1].since_ms - 1
    again = shared_anew(ahead, 600_000, ("a", "b"), near_ms, SLICE_SHARES_KEPT)
    assert [share.nodes for share in again.shares] == [("a", "b"), ("a",), ("a", "b")]


def test_of_many_orders_the_last_are_remembered() -> None:
    shares = Slices((Share(NOW, TEN, ("a",)),))
    for n in range(40):
        shares = shared_anew(shares, TEN, (f"n{n}",), NOW + n * 1_000_000, SLICE_SHARES_KEPT)
    assert len(shares.shares) == SLICE_SHARES_KEPT
    assert shares.shares[-1].nodes == ("n39",)


def test_a_job_that_comes_to_slices_begins_where_it_stands() -> None:
    state = seated("a", "b")
    put(state)
    fired(state, NOW + SECOND)
    put(state, now_ms=NOW + 5 * SECOND, **SLICED)
    assert state.slices[job(state).uid].shares[0].since_ms == NOW + SECOND


def test_a_job_does_not_leave_them_since_its_tokens_would_go_back() -> None:
    state = seated("a", "b")
    put(state, **SLICED)
    for other in (definition(), definition(on_absent=OnAbsent.FILL, **SLICED)):
        assert complaint(state, PutJob(other)) == "mode, on_absent"
        assert refused(state, ApplyJobs((other,))) is Refusal.INVALID
    put(state, **(SLICED | {"slice_ms": 2 * TEN}))
    assert len(state.slices[job(state).uid].shares) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slice_ms": TEN}, "slice"),
        ({"on_absent": OnAbsent.FILL}, "on_absent"),
        ({"mode": Mode.SLICE}, "slice"),
        ({"mode": Mode.SLICE, "slice_ms": SLICE_MS_MIN - 1}, "slice"),
        (SLICED | {"overlap": Overlap.REPLACE}, "overlap"),
        (SLICED | {"overlap": Overlap.QUEUE_ALL}, "overlap"),
        (SLICED | {"trigger": ManualTrigger()}, "on_absent"),
        (SLICED | {"retry": Retry(1)}, "retry"),
        (SLICED | {"jitter_ms": 5}, "jitter"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], field: str) -> None:
    assert complaint(cluster("a"), PutJob(definition(**changes))) == field


def test_nobody_runs_it_in_between() -> None:
    state = seated("a")
    put(state, **SLICED)
    assert refused(state, RunJob("default/job")) is Refusal.INVALID


# Filled slices: an ordinary fire, on the owner if it is there.


def test_a_slot_is_placed_on_its_owner_and_else_on_the_next_in_the_order() -> None:
    state = seated("a", "b", "c")
    put(state, on_absent=OnAbsent.FILL, **(SLICED | {"overlap": Overlap.ALLOW}))
    assert state.slices == {}
    slots = [NOW + n * TEN for n in range(1, 4)]
    for slot in slots:
        fired(state, slot)
    placed = [node_of(state, state.runs[f"{job(state).uid}/{slot}"]) for slot in slots]
    assert placed == [("a", "b", "c")[slot // TEN % 3] for slot in slots]


def test_the_slices_of_who_is_not_there_are_filled() -> None:
    state = cluster("a", "c")
    configure(state, seats("a", "b", "c"))
    put(state, on_absent=OnAbsent.FILL, **SLICED)
    slot = next(NOW + n * TEN for n in range(1, 4) if (NOW // TEN + n) % 3 == 1)
    fired(state, slot)
    assert node_of(state, only_run(state)) == "c"


# What the nodes tell.


def test_what_a_node_tells_is_entered_once() -> None:
    state = seated("a", "b")
    put(state, **SLICED)
    command = record(state, "a", entry(NOW + 1, exit_code=3, output_tail="x" * 3_000), entry(NOW + 2, RunState.MISSED))
    assert done(state, command).value == 2
    before = dict(state.ledger)
    assert done(state, command).value == 0
    assert state.ledger == before
    more = record(state, "a", *command.entries, entry(NOW + TEN, RunState.FAILED))
    assert done(state, more).value == 1
    assert {slot: row.outcome.value for slot, row in entries(state).items()} == {
        NOW + 1: "succeeded",
        NOW + 2: "missed",
        NOW + TEN: "failed",
    }
    run = find_run(state, f"{job(state).uid}/{NOW + 1}")
    assert run is not None
    (attempt,) = run.attempts
    assert (attempt.member, attempt.token, attempt.session, attempt.exit_code) == ("id-a", NOW + 1, 0, 3)
    assert attempt.why == "its slice"
    assert (run.created_ms, run.finished_ms) == (NOW + 2, NOW + 10)
    assert len(attempt.output_tail) <= 2_048
    assert state.last_token == 0


def test_two_that_took_one_slot_for_their_own_leave_one_entry() -> None:
    """One of them knew an older order of the nodes."""
    state = seated("a", "b")
    put(state, **SLICED)
    done(state, record(state, "a", entry(NOW + 1)))
    assert done(state, record(state, "b", entry(NOW + 1, RunState.FAILED), entry(NOW + 2))).value == 1
    assert entries(state)[NOW + 1].member == "id-a"
    assert state.slices_through[job(state).uid] == {"a": NOW + 1, "b": NOW + 2}


@pytest.mark.parametrize("fault", range(6))
def test_what_no_node_tells_is_refused(fault: int) -> None:
    state = seated("a", "b")
    put(state, **SLICED)
    first = entry(NOW + 1)
    commands = (
        RecordSlices("a", "gone", (first,), NOW + 1),
        record(state, "stranger", first),
        record(state, "a", first, first),
        record(state, "a", entry(NOW + 2), through_ms=NOW + 1),
        record(state, "a", entry(NOW + 1, RunState.RUNNING)),
        record(state, "a", *[entry(NOW + n) for n in range(SLICE_ENTRIES_PER_RECORD_MAX + 1)]),
    )
    expected = Refusal.NOT_FOUND if fault < 2 else Refusal.INVALID
    assert refused(state, commands[fault]) is expected
    assert state.ledger == {}
    assert state.slices_through == {}


def test_what_ran_before_the_job_was_deleted_can_be_told_after() -> None:
    state = seated("a", "b")
    uid = put(state, **SLICED).uid
    done(state, DeleteJob("default/job"))
    told = RecordSlices("a", uid, (entry(NOW + 1),), NOW + 1)
    assert done(state, told).value == 1
    assert [row.slot_ms for row in entries_of(state, uid)] == [NOW + 1]
    for n in range(DELETED_JOBS_KEPT):
        put(state, f"other{n}")
        done(state, DeleteJob(f"default/other{n}"))
    assert uid not in state.slices
    assert uid not in state.slices_through
    assert refused(state, told) is Refusal.NOT_FOUND


# The leader's part.


def planned(state: ClusterState, planner: Planner, now_ms: int) -> list[object]:
    said: list[object] = []
    while commands := planner.plan(now_ms):
        for command in commands:
            planner.settle(command, done(state, command, now_ms))
        said += commands
    return said


def test_the_leader_does_not_fire_what_fires_by_itself() -> None:
    state = seated("a", "b")
    planner = Planner(state)
    put(state, **SLICED)
    assert planned(state, planner, NOW + 60 * SECOND) == []
    assert planner.next_due_ms() is None
    assert refused(state, fire(state, NOW + SECOND), NOW + SECOND) is Refusal.STALE_PLAN


def test_the_leader_shares_time_anew_when_the_roster_is_another() -> None:
    state = seated("a", "b")
    put(state, **SLICED)
    put(state, "named", nodes=("a",), **SLICED)
    planner = Planner(state)
    assert planned(state, planner, NOW) == []
    configure(state, seats("a", "b", "c"))
    assert planner.next_due_ms() == NOW
    assert planned(state, planner, NOW) == [ArrangeSlices(state.roster_revision)]
    assert len(state.slices[job(state).uid].shares) == 2
    assert len(state.slices[job(state, "named").uid].shares) == 1
    assert planner.next_due_ms() is None


def test_the_slots_of_who_was_removed_are_told_by_the_leader() -> None:
    state = seated("a", "b")
    put(state, trigger=EveryTrigger(TEN), **SLICED)
    planner = Planner(state)
    done(state, record(state, "b", entry(NOW + TEN)))
    configure(state, seats("a"))
    now_ms = NOW + 6 * TEN
    (arranged, *told) = planned(state, planner, now_ms)
    assert isinstance(arranged, ArrangeSlices)
    own = Own("b", EveryTrigger(TEN), job(state).uid, state.slices[job(state).uid].shares)
    expected = own.between(NOW + TEN, now_ms, 99)
    assert expected
    assert {slot: row.outcome.value for slot, row in entries(state).items() if slot in expected} == dict.fromkeys(
        expected, "lost"
    )
    assert len(told) == 1
    handed_over_ms = state.slices[job(state).uid].shares[-1].since_ms
    planned(state, planner, handed_over_ms + 9 * TEN)
    assert max(entries(state)) <= handed_over_ms, "from there on its time is another's"
    assert planner.next_due_ms() is None


def test_the_slots_of_a_node_that_never_came_are_missed_as_they_go_by() -> None:
    state = seated("a")
    put(state, nodes=("a", "x"), trigger=EveryTrigger(TEN), **SLICED)
    planner = Planner(state)
    assert planned(state, planner, NOW) == []
    due_ms = planner.next_due_ms()
    assert due_ms is not None
    own = Own("x", EveryTrigger(TEN), job(state).uid, state.slices[job(state).uid].shares)
    assert due_ms == own.next_after(NOW)[0]
    planned(state, planner, due_ms)
    assert entries(state)[due_ms].outcome is RunState.MISSED
    assert entries(state)[due_ms].reason == "there is no node x"


def test_a_long_absence_is_told_in_several_commands_and_what_is_too_much_as_one_entry() -> None:
    state = seated("a")
    put(state, nodes=("a", "x"), trigger=EveryTrigger(SECOND), **SLICED)
    said = planned(state, Planner(state), NOW + 86_400_000)
    counts = [len(command.entries) for command in said if isinstance(command, RecordSlices)]
    assert sum(counts) == GAP_SLOTS_MAX
    assert max(counts) == SLICE_ENTRIES_PER_RECORD_MAX
    slots = list(entries(state))
    assert all(later > earlier for earlier, later in pairwise(slots))
    assert "stands for all before it" in entries(state)[slots[0]].reason


def test_where_the_trigger_cannot_be_read_the_leader_rests() -> None:
    state = seated("a")
    put(state, nodes=("x",), trigger=CronTrigger("0 0 * * *", "Mars/Olympus"), **SLICED)
    planner = Planner(state)
    assert planner.plan(NOW) == []
    due_ms = planner.next_due_ms()
    assert due_ms is not None
    assert due_ms > NOW


def test_absence_is_a_matter_of_names() -> None:
    state = cluster("a")
    put(state, nodes=("a", "x"), **SLICED)
    told, _ = absence(state, job(state), NOW + 3 * TEN)
    assert told is not None
    assert told.node == "x"


def test_a_node_that_is_called_otherwise_keeps_its_slices_from_that_instant_on() -> None:
    """A founder is called by its address at first, and by the name that it was given as soon as it has said so."""
    state = seated("a", "b")
    put(state, **SLICED)
    put(state, "named", nodes=("a", "b"), **SLICED)
    done(state, record(state, "b", entry(NOW + 1)))
    configure(state, Configuration((Seat("id-a", "a", "a:7400"), Seat("id-b", "bee", "b:7400"))))
    assert [share.nodes for share in state.slices[job(state).uid].shares] == [("a", "bee")]
    assert state.slices_through[job(state).uid] == {"bee": NOW + 1}
    assert [share.nodes for share in state.slices[job(state, "named").uid].shares] == [("a", "b")]
    assert planned(state, Planner(state), NOW + 2) == []
