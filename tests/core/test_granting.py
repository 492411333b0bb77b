"""The leader grants whoever has room, one command each; who waits and could have the lock is never left standing."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.commands import ExpireLease, GrantLock, ReleaseLock
from peercron.core.granting import REST_MS, Granting
from peercron.core.limits import GRANTS_PER_LOCK_MAX
from peercron.core.line import due_ms, grantable
from peercron.core.lock import Grant, LockKind, has_room
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict
from tests.core.builders import NOW, cluster, done
from tests.core.test_lock import ask, read, sem, write


def carry_out(state: ClusterState, granting: Granting, now_ms: int = NOW, room: int = 99) -> int:
    """Plan and apply until there is nothing more to plan; how many commands that took."""
    count = 0
    granting.observe()
    while grants := granting.plan(now_ms, room):
        for command in grants:
            granting.settle(command, apply(state, command, now_ms), now_ms)
            count += 1
        granting.observe()
    return count


def held(state: ClusterState, key: str) -> list[str]:
    return [grant.claim.owner for grant in state.lock_grants.get(key, {}).values() if not grant.free_ms]


def twin(state: ClusterState, key: str, most: int) -> int:
    """How many of the line can hold the lock together with those who do, by trying one after another."""
    grants, count = list(state.lock_grants.get(key, {}).values()), 0
    for waiter in state.lock_waiters.get(key, {}).values():
        if not has_room(state.locks[key], grants, state.now_ms, shared=waiter.claim.shared):
            break
        grants.append(Grant(waiter.claim, state.now_ms, 0))
        count += 1
    return min(most, count)


def waited_for() -> ClusterState:
    """A writer holds, and three readers wait behind it."""
    state = cluster("a")
    done(state, write("w"))
    for owner in ("r1", "r2", "r3"):
        done(state, read(owner))
    return state


def release(state: ClusterState, key: str) -> None:
    token = next(token for token, grant in state.lock_grants[key].items() if not grant.free_ms)
    done(state, ReleaseLock(*key.split("/"), token))


def test_readers_behind_a_writer_are_all_granted_each_with_a_token_of_its_own() -> None:
    state = waited_for()
    granting = Granting(state)
    assert carry_out(state, granting) == 0
    release(state, "default/r")  # which grants the first of them
    assert carry_out(state, granting) == 2
    assert held(state, "default/r") == ["r1", "r2", "r3"]
    assert len(state.lock_grants["default/r"]) == 3
    assert len(granting) == 0


def test_a_new_leader_finds_what_was_there_before_it() -> None:
    state = waited_for()
    release(state, "default/r")
    granting = Granting(state)
    assert granting.next_ms() == state.now_ms, "there is something to look at"
    assert carry_out(state, granting) == 2
    assert granting.next_ms() is None


def test_no_more_is_proposed_than_there_is_room_for_and_none_twice() -> None:
    state = waited_for()
    release(state, "default/r")
    granting = Granting(state)
    granting.observe()
    (first,) = granting.plan(NOW, 1)
    assert (granting.plan(NOW, 9), len(granting)) == ([], 1)
    granting.settle(first, apply(state, first, NOW), NOW)
    granting.observe()
    assert len(granting.plan(NOW, 9)) == 1


def test_a_place_that_was_lost_is_granted_when_its_delay_is_over_and_not_before() -> None:
    state = cluster("a")
    token = int(done(state, ask("x", delay_ms=500)).value or 0)
    done(state, ask("y"))
    done(state, ExpireLease(token))
    granting = Granting(state)
    assert carry_out(state, granting) == 0
    assert granting.next_ms() == NOW + 500
    assert carry_out(state, granting, NOW + 500) == 1
    assert held(state, "default/m") == ["y"]


def test_what_somebody_else_has_settled_meanwhile_is_not_proposed() -> None:
    state = waited_for()
    release(state, "default/r")
    granting = Granting(state)
    granting.observe()
    for _ in range(2):
        done(state, GrantLock("default", "r"))
    assert granting.plan(NOW, 9) == []


@pytest.mark.parametrize(
    ("verdict", "again_ms"),
    [
        (Refused(0, Refusal.INTERNAL, "a defect"), NOW + REST_MS),
        (Refused(0, Refusal.NOT_READY, "a race"), 0),
        (None, 0),
    ],
)
def test_a_defect_rests_and_a_race_does_not(verdict: Verdict | None, again_ms: int) -> None:
    state = waited_for()
    release(state, "default/r")
    granting = Granting(state)
    granting.observe()
    for command in granting.plan(NOW, 9):
        granting.settle(command, verdict, NOW)
    state.changed_locks = {}
    assert granting.next_ms() == again_ms


def test_who_leads_no_more_is_told_of_no_changes() -> None:
    state = cluster("a")
    granting = Granting(state)
    done(state, ask("x"))
    assert state.changed_locks
    granting.close()
    assert state.changed_locks is None


def test_a_run_in_front_of_the_line_is_not_granted_by_this() -> None:
    """It is granted together with its attempt, or not at all."""
    state = cluster("a")
    done(state, ask("x"))
    done(state, ask("y"))
    waiters = state.lock_waiters["default/m"]
    (first,) = waiters
    waiters[first] = replace(waiters[first], claim=replace(waiters[first].claim, run_id="u/1"))
    state.lock_grants["default/m"].clear()
    assert (grantable(state, "default/m", 9), due_ms(state, "default/m")) == (0, None)


def test_nobody_is_grantable_where_nobody_waits() -> None:
    assert (grantable(cluster("a"), "default/m", 9), due_ms(cluster("a"), "default/m")) == (0, None)


KINDS = {"default/m": ask, "default/s": sem, "default/r": read}


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_in_the_end_nobody_waits_who_could_hold(dice: Random) -> None:
    state = cluster("a")
    granting = Granting(state)
    for n in range(40):
        key = dice.choice(tuple(KINDS))
        tokens = [token for token, grant in state.lock_grants.get(key, {}).items() if not grant.free_ms]
        if dice.random() < 0.4 and tokens:
            deed = ReleaseLock(*key.split("/"), dice.choice(tokens))
            if dice.random() < 0.3:
                deed = ExpireLease(deed.token)  # type: ignore[assignment]
        elif key == "default/r" and dice.random() < 0.4:
            deed = write(f"o{n}")  # type: ignore[assignment]
        else:
            deed = KINDS[key](f"o{n}")  # type: ignore[assignment]
        apply(state, deed, NOW)
        for each in state.locks:
            most = dice.randint(1, GRANTS_PER_LOCK_MAX)
            assert grantable(state, each, most) == twin(state, each, most)
        if dice.random() < 0.5:
            carry_out(state, granting, room=dice.randint(1, 5))
            assert all(twin(state, each, 1) == 0 for each in state.locks)


def test_a_grant_that_is_done_is_no_refusal() -> None:
    state = waited_for()
    release(state, "default/r")
    assert isinstance(apply(state, GrantLock("default", "r"), NOW), Done)


def test_a_semaphore_grants_no_more_than_its_permits() -> None:
    state = cluster("a")
    for owner in "vwxyz":
        done(state, sem(owner))
    assert held(state, "default/s") == ["v", "w"]
    release(state, "default/s")
    carry_out(state, Granting(state))
    assert held(state, "default/s") == ["w", "x"]
    assert LockKind.SEMAPHORE is state.locks["default/s"].kind


def test_places_that_became_free_at_once_are_counted_for_those_in_line() -> None:
    state = cluster("a")
    for owner in "vwxyz":
        done(state, sem(owner, permits=3))
    tokens = list(state.lock_grants["default/s"])
    for token in tokens[:2]:  # lost together, with no command in between that could grant
        del state.lock_grants["default/s"][token]
    assert [grantable(state, "default/s", most) for most in (1, 2, 9)] == [1, 2, 2]
