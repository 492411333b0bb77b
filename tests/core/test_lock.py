"""Locks: who holds, who waits, in which order, and what becomes of both when something ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core import deadlock as search
from peercron.core.apply import apply, claim
from peercron.core.apply.restore import adopt
from peercron.core.commands import (
    AcquireLock,
    CloseClient,
    ExpireLease,
    ExpireSession,
    ForsakeLock,
    GrantLock,
    OpenClient,
    OpenSession,
    ReleaseLock,
    RunJob,
)
from peercron.core.job import ManualTrigger
from peercron.core.limits import LEASE_MS_MAX
from peercron.core.line import due_ms
from peercron.core.lock import Claim, LockKind
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused
from tests.core.builders import NOW, attempt_of, cluster, done, finished, info, only_run, put, refused
from tests.core.invariants import violations

TTL = 10_000


def ask(
    owner: str, name: str = "m", *, wait: bool = True, kind: LockKind = LockKind.MUTEX, permits: int = 1, **more: Any
) -> AcquireLock:
    """Owner and request have one name, unless `request` says otherwise."""
    asked = replace(Claim(owner, TTL, f"{owner}-{name}"), **more)
    return AcquireLock("default", name, asked, wait, kind, permits, "id-a", 1)


def sem(owner: str, permits: int = 2, **more: Any) -> AcquireLock:
    return ask(owner, "s", kind=LockKind.SEMAPHORE, permits=permits, **more)


def read(owner: str, **more: Any) -> AcquireLock:
    return ask(owner, "r", kind=LockKind.RW, shared=True, **more)


def write(owner: str, **more: Any) -> AcquireLock:
    return ask(owner, "r", kind=LockKind.RW, **more)


def take(state: ClusterState, command: AcquireLock, now_ms: int = NOW) -> int:
    """The token that it gets at once."""
    value = done(state, command, now_ms).value
    assert value == state.index
    return int(value)


def queue(state: ClusterState, command: AcquireLock) -> int:
    """The id of the waiter that it becomes."""
    value = done(state, command).value
    assert isinstance(value, str), f"{command.claim.owner} got it at once"
    return int(value)


def release(state: ClusterState, name: str, token: int) -> None:
    done(state, ReleaseLock("default", name, token))


def holders(state: ClusterState, name: str = "m") -> dict[str, int]:
    """Owner -> token of the grants in force."""
    grants = state.lock_grants.get(f"default/{name}", {})
    return {grant.claim.owner: token for token, grant in grants.items() if not grant.free_ms}


def line(state: ClusterState, name: str = "m") -> list[str]:
    return [waiter.claim.owner for waiter in state.lock_waiters.get(f"default/{name}", {}).values()]


def settle(state: ClusterState, now_ms: int = NOW) -> None:
    """What the leader's planner does, until nothing is left to do."""
    going = True
    while going:
        going = False
        for key in tuple(state.locks):
            at_ms = due_ms(state, key)
            if at_ms is not None and at_ms <= now_ms:
                done(state, GrantLock(*key.split("/")), now_ms)
                going = True


def test_a_mutex_is_held_by_one_and_passed_on_in_order() -> None:
    state = cluster("a")
    token = take(state, ask("A"))
    for owner in "BCD":
        queue(state, ask(owner))
    passed = [token]
    for owner in "BCD":
        release(state, "m", passed[-1])
        assert list(holders(state)) == [owner]
        passed.append(holders(state)[owner])
    assert passed == sorted(set(passed))
    assert state.last_token == passed[-1]
    release(state, "m", passed[-1])
    tables = (state.locks, state.lock_grants, state.lock_waiters, state.lock_requests, state.lock_owners, state.leases)
    assert not any(tables)


def test_who_does_not_wait_is_told_who_has_it() -> None:
    state = cluster("a")
    token = take(state, ask("n1/7/main"))
    verdict = apply(state, ask("B", wait=False), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.LOCKED
    assert verdict.detail == f"lock default/m is taken (held by n1/7/main with token {token})"
    assert line(state) == []


def test_nobody_overtakes_the_line() -> None:
    state = cluster("a")
    tokens = [take(state, sem("A")), take(state, sem("B"))]
    for owner in "CD":
        queue(state, sem(owner))
    done(state, ExpireLease(tokens[0]))
    assert list(holders(state, "s")) == ["B", "C"]
    assert refused(state, sem("E", wait=False)) is Refusal.LOCKED


def test_a_semaphore_has_as_many_places_as_permits() -> None:
    state = cluster("a")
    for owner in "ABC":
        take(state, sem(owner, permits=3))
    queue(state, sem("D", permits=3))
    assert len(holders(state, "s")) == 3


def test_readers_share_and_a_writer_that_waits_is_not_starved() -> None:
    state = cluster("a")
    first, second = take(state, read("R1")), take(state, read("R2"))
    queue(state, write("W"))
    queue(state, read("R3"))
    queue(state, read("R4"))
    release(state, "r", first)
    assert list(holders(state, "r")) == ["R2"], "the writer waits for both, and the new readers for the writer"
    release(state, "r", second)
    assert list(holders(state, "r")) == ["W"]
    release(state, "r", holders(state, "r")["W"])
    assert list(holders(state, "r")) == ["R3"], "one command grants once"
    assert due_ms(state, "default/r") == 0
    settle(state)
    assert list(holders(state, "r")) == ["R3", "R4"]
    assert refused(state, GrantLock("default", "r")) is Refusal.NOT_READY


def test_a_lock_in_use_is_what_it_is() -> None:
    state = cluster("a")
    token = take(state, sem("A", permits=2))
    for other in (sem("B", permits=3), replace(sem("B"), kind=LockKind.MUTEX, permits=1)):
        verdict = apply(state, other, NOW)
        assert isinstance(verdict, Refused)
        assert verdict.code is Refusal.CONFLICT
        assert "is in use as a semaphore of 2 permits" in verdict.detail
    release(state, "s", token)
    take(state, sem("B", permits=3))


def test_equal_names_in_two_namespaces_are_two_locks() -> None:
    state = cluster("a")
    take(state, ask("A"))
    take(state, replace(ask("B"), namespace="other"))


def test_a_stale_token_releases_nothing() -> None:
    state = cluster("a")
    token = take(state, ask("A"))
    release(state, "m", token)
    other = take(state, ask("B"))
    for stale in (token, other + 1, 0):
        assert refused(state, ReleaseLock("default", "m", stale)) is Refusal.STALE_TOKEN
    assert holders(state) == {"B": other}


def test_a_lost_lock_passes_on_after_its_delay() -> None:
    state = cluster("a")
    token = take(state, ask("A", delay_ms=500))
    queue(state, ask("B"))
    done(state, ExpireLease(token))
    assert (holders(state), due_ms(state, "default/m")) == ({}, NOW + 500)
    assert refused(state, ReleaseLock("default", "m", token)) is Refusal.STALE_TOKEN
    assert refused(state, GrantLock("default", "m"), NOW + 499) is Refusal.NOT_READY
    assert refused(state, ask("C", wait=False), NOW + 499) is Refusal.LOCKED
    done(state, GrantLock("default", "m"), NOW + 500)
    assert list(holders(state)) == ["B"]


def test_a_lost_place_that_nobody_wants_is_cleared_away() -> None:
    state = cluster("a")
    done(state, ExpireLease(take(state, sem("A", delay_ms=500))))
    assert due_ms(state, "default/s") == NOW + 500
    assert done(state, GrantLock("default", "s"), NOW + 500).value == 0
    assert state.locks == {}


def test_a_release_has_no_delay() -> None:
    state = cluster("a")
    token = take(state, ask("A", delay_ms=500))
    queue(state, ask("B"))
    release(state, "m", token)
    assert list(holders(state)) == ["B"]


def test_the_same_request_is_the_same_claim() -> None:
    state = cluster("a", "b")
    token = take(state, ask("A"))
    assert done(state, ask("A")).value == token
    first, second = queue(state, ask("B")), queue(state, ask("C"))
    elsewhere = replace(ask("B"), member="id-b")
    assert done(state, elsewhere).value == str(first)
    assert line(state) == ["B", "C"]
    done(state, ExpireSession("id-a", 1))
    assert list(state.lock_waiters["default/m"]) == [first], f"{second} was a's, and {first} is b's now"
    assert refused(state, ask("thief", request="A-m")) is Refusal.CONFLICT
    assert refused(state, replace(elsewhere, wait=False)) is Refusal.LOCKED


def test_a_waiter_goes_with_the_session_that_serves_it() -> None:
    for end in (ExpireSession("id-a", 1), OpenSession(info("a"), 2)):
        state = cluster("a", "b")
        token = take(state, ask("A"))
        queue(state, ask("B"))
        queue(state, replace(ask("C"), member="id-b"))
        done(state, end)
        assert (line(state), holders(state)) == (["C"], {"A": token})
        assert refused(state, ask("D")) is Refusal.NOT_READY, "nobody would tell it"


def test_a_waiter_that_gave_up_is_skipped() -> None:
    state = cluster("a")
    token = take(state, ask("A"))
    gone = queue(state, ask("B"))
    queue(state, ask("C"))
    done(state, ForsakeLock("default", "m", gone, gone))
    assert refused(state, ForsakeLock("default", "m", gone, gone)) is Refusal.STALE_TOKEN
    release(state, "m", token)
    assert list(holders(state)) == ["C"]


def test_a_writer_that_gives_up_lets_the_readers_behind_it_go() -> None:
    state = cluster("a")
    take(state, read("R1"))
    writer = queue(state, write("W"))
    queue(state, read("R2"))
    done(state, ForsakeLock("default", "r", writer, writer))
    assert list(holders(state, "r")) == ["R1", "R2"]


def test_who_gives_up_too_late_is_told_the_token_or_gives_it_back() -> None:
    state = cluster("a")
    token = take(state, ask("A"))
    waiter = queue(state, ask("B"))
    release(state, "m", token)
    assert done(state, ForsakeLock("default", "m", waiter, waiter)).value == holders(state)["B"]
    assert done(state, ForsakeLock("default", "m", waiter, waiter, release=True)).value == 0
    assert state.locks == {}


def test_a_place_that_is_waited_for_elsewhere_is_not_given_up() -> None:
    state = cluster("a", "b")
    token = take(state, ask("A"))
    waiter = queue(state, ask("B"))
    done(state, replace(ask("B"), member="id-b"))
    assert refused(state, ForsakeLock("default", "m", waiter, waiter)) is Refusal.STALE_TOKEN
    release(state, "m", token)
    assert done(state, ForsakeLock("default", "m", waiter, waiter, release=True)).value == holders(state)["B"]


def test_what_a_client_session_holds_ends_with_it() -> None:
    state = cluster("a")
    client = int(done(state, OpenClient("batch", TTL)).value or 0)
    take(state, ask("A", client=client, ttl_ms=0))
    take(state, ask("A", "n", client=client))
    queue(state, ask("B"))
    queue(state, ask("C", client=client))
    queue(state, ask("D"))
    done(state, CloseClient(client))
    settle(state)
    assert (list(holders(state)), holders(state, "n")) == (["B"], {})
    release(state, "m", holders(state)["B"])
    assert list(holders(state)) == ["D"], "C's session has ended"
    assert refused(state, ask("E", "x", client=client)) is Refusal.STALE_TOKEN


@pytest.mark.parametrize("looked_up", [True, False])
def test_who_waits_in_the_name_of_a_session_leaves_the_line_with_it(looked_up: bool) -> None:
    """A writer that nobody waits for any more is in the way of no reader."""
    state = cluster("a")
    client, other = (int(done(state, OpenClient("batch", TTL)).value or 0) for _ in "ab")
    reader = {"shared": True}
    take(state, replace(ask("A", **reader), kind=LockKind.RW))
    if not looked_up:
        done(state, CloseClient(int(done(state, OpenClient("early", TTL)).value or 0)))
    for owner, more in (("W", {"client": client}), ("V", {"client": client}), ("X", {"client": other}), ("B", reader)):
        queue(state, replace(ask(owner, **more), kind=LockKind.RW))
    done(state, CloseClient(client))
    assert line(state) == ["X", "B"]
    done(state, CloseClient(other))
    settle(state)
    assert (line(state), list(holders(state))) == ([], ["A", "B"])
    assert violations(state) == []


def test_a_grant_without_a_time_lives_as_long_as_its_session() -> None:
    state = cluster("a")
    client = int(done(state, OpenClient("batch", TTL)).value or 0)
    token = take(state, ask("A", client=client, ttl_ms=0))
    assert state.leases[token].ttl_ms == LEASE_MS_MAX


@pytest.mark.parametrize("outcome", [AttemptState.SUCCEEDED, AttemptState.LOST])
def test_what_an_attempt_holds_ends_with_it(outcome: AttemptState) -> None:
    state = cluster("a")
    put(state, trigger=ManualTrigger())
    done(state, RunJob("default/job"))
    run = only_run(state)
    bound = {"run_id": run.id, "attempt": attempt_of(run).token, "ttl_ms": 0, "delay_ms": 500}
    take(state, ask("job", **bound))
    take(state, ask("other", "n"))
    queue(state, ask("job", "n", **bound))
    queue(state, ask("B"))
    done(state, finished(run, outcome))
    assert (line(state, "n"), list(holders(state))) == ([], [] if outcome is AttemptState.LOST else ["B"])
    settle(state, NOW + 500)
    assert list(holders(state)) == ["B"]
    assert refused(state, ask("job", "x", **bound)) is Refusal.STALE_TOKEN
    assert violations(state) == []


def test_a_cycle_of_waits_is_refused_to_the_newest() -> None:
    state = cluster("a")
    for owner, name in (("A", "x"), ("B", "y"), ("C", "z")):
        take(state, ask(owner, name))
    queue(state, ask("A", "y"))
    queue(state, ask("B", "z"))
    verdict = apply(state, ask("C", "x"), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.DEADLOCK
    assert verdict.detail == (
        "C waits for default/x, which A holds; A waits for default/y, which B holds; "
        "B waits for default/z, which C holds"
    )
    assert line(state, "x") == []


def test_three_runs_in_a_cycle_are_found_by_their_runs() -> None:
    """Whatever their processes call themselves."""
    state = cluster("a")
    bound = []
    for name in "xyz":
        put(state, name, trigger=ManualTrigger())
        done(state, RunJob(f"default/{name}"))
        run = only_run(state, name)
        bound.append({"run_id": run.id, "attempt": attempt_of(run).token, "ttl_ms": 0})
        take(state, ask(f"holds-{name}", name, **bound[-1]))
    queue(state, ask("w1", "y", **bound[0]))
    queue(state, ask("w2", "z", **bound[1]))
    assert refused(state, ask("w3", "x", **bound[2])) is Refusal.DEADLOCK


def test_a_holder_that_waits_for_itself_is_a_cycle() -> None:
    state = cluster("a")
    take(state, ask("A"))
    assert refused(state, ask("A", request="again")) is Refusal.DEADLOCK
    take(state, read("R"))
    assert refused(state, write("R", request="up")) is Refusal.DEADLOCK


def test_a_cycle_through_the_line_is_a_cycle() -> None:
    """A reader behind a writer that waits, waits for it: and so for the reader whom the writer waits for."""
    state = cluster("a")
    take(state, read("R1"))
    take(state, ask("R2", "y"))
    queue(state, write("W"))
    queue(state, read("R2"))
    verdict = apply(state, ask("R1", "y"), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.detail == (
        "R1 waits for default/y, which R2 holds; R2 waits for default/r, which W waits for before it; "
        "W waits for default/r, which R1 holds"
    )


def test_any_permit_will_do() -> None:
    """A waits for a semaphore that B holds too, and B for A; but C may give its permit back at any time."""
    state = cluster("a")
    take(state, ask("A", "x"))
    take(state, sem("B"))
    take(state, sem("C"))
    queue(state, sem("A"))
    queue(state, ask("B", "x"))
    assert refused(state, ask("C", "x")) is Refusal.DEADLOCK, "now nobody would ever give one back"


def test_a_lost_place_is_waited_for_by_time_alone() -> None:
    state = cluster("a")
    token = take(state, ask("A", "x", delay_ms=500))
    take(state, ask("B", "y"))
    done(state, ExpireLease(token))
    queue(state, ask("B", "x"))
    queue(state, ask("A", "y"))


def test_a_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "DEADLOCK_WAITS_MAX", 1)
    state = cluster("a")
    for owner, name in (("A", "x"), ("B", "y"), ("C", "z")):
        take(state, ask(owner, name))
    queue(state, ask("A", "y"))
    queue(state, ask("B", "z"))
    queue(state, ask("C", "x"))  # what was not found is left to the time-outs


@pytest.mark.parametrize(
    ("field_", "wrong"),
    [
        ("namespace", replace(ask("A"), namespace="a b")),
        ("name", ask("A", "a/b")),
        ("owner", ask("", request="r")),
        ("owner", ask("a\nb")),
        ("request", ask("A", request="")),
        ("permits", sem("A", permits=0)),
        ("permits", ask("A", permits=2)),
        ("shared", ask("A", shared=True)),
        ("delay", ask("A", delay_ms=-1)),
        ("ttl", ask("A", ttl_ms=0)),
        ("ttl", ask("A", ttl_ms=5)),
    ],
)
def test_what_is_wrong_is_named(field_: str, wrong: AcquireLock) -> None:
    verdict = apply(cluster("a"), wrong, NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.INVALID
    assert verdict.detail.split(":")[0] == field_


def test_locks_and_lines_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "LOCKS_MAX", 1)
    monkeypatch.setattr(claim, "LOCK_WAITERS_MAX", 1)
    state = cluster("a")
    take(state, ask("A"))
    queue(state, ask("B"))
    assert refused(state, ask("C")) is Refusal.LIMIT
    assert refused(state, ask("A", "other")) is Refusal.LIMIT
    monkeypatch.setattr(claim, "LOCK_WAITERS_MAX", 9)
    monkeypatch.setattr(claim, "LOCK_WAITING_MAX", 1)
    assert refused(state, ask("C")) is Refusal.LIMIT


def test_who_waits_is_told_and_nobody_else() -> None:
    state = cluster("a")
    token = take(state, ask("A"))
    ids = [queue(state, ask(owner)) for owner in "BCD"]
    state.news, state.changed_locks = {}, {}
    release(state, "m", token)
    assert state.news == {("waiter", "", str(ids[0])): None, ("lock", "default", "m"): None}
    assert state.changed_locks == {"default/m": None}


def test_a_restored_line_is_empty_and_what_was_held_is_held() -> None:
    old = cluster("a")
    token = take(old, ask("A"))
    queue(old, ask("B"))
    new = cluster("n")
    adopt(new, old)
    assert (holders(new), line(new), violations(new)) == ({"A": token}, [], [])


@dataclass
class Twin:
    """A lock as a child would write it down: one list of those who hold it, one of those who wait."""

    kind: LockKind
    permits: int
    held: list[tuple[str, bool]] = field(default_factory=list)
    lost: list[tuple[int, bool]] = field(default_factory=list)
    waits: list[tuple[str, bool]] = field(default_factory=list)

    def fits(self, shared: bool) -> bool:
        inside = [each for _, each in self.held] + [each for _, each in self.lost]
        if self.kind is LockKind.RW:
            return not inside or (shared and all(inside))
        return len(inside) < self.permits

    def pass_on(self, now_ms: int) -> None:
        self.lost = [(until_ms, shared) for until_ms, shared in self.lost if until_ms > now_ms]
        while self.waits and self.fits(self.waits[0][1]):
            self.held.append(self.waits.pop(0))


KINDS = [(LockKind.MUTEX, 1), (LockKind.SEMAPHORE, 1), (LockKind.SEMAPHORE, 3), (LockKind.RW, 1)]
DELAY = 700


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.randoms(use_true_random=False))
def test_locks_do_as_the_twin_does(what: tuple[LockKind, int], dice: Random) -> None:
    state, twin, now_ms, waiters = cluster("a"), Twin(*what), NOW, dict[str, int]()
    for step in range(60):
        now_ms += dice.choice((0, 0, 300, 1_000))
        twin.pass_on(now_ms)
        settle(state, now_ms)
        name, shared = f"o{step}", what[0] is LockKind.RW and dice.random() < 0.6
        held = holders(state)
        match dice.choice(("acquire", "acquire", "acquire", "try", "release", "lose", "leave")):
            case "acquire":
                asked = ask(name, kind=what[0], permits=what[1], shared=shared, delay_ms=DELAY)
                answer = done(state, asked, now_ms).value
                twin.waits.append((name, shared))
                twin.pass_on(now_ms)
                assert isinstance(answer, int) == (twin.held[-1:] == [(name, shared)])
                waiters |= {name: int(answer)} if isinstance(answer, str) else {}
            case "try":
                asked = ask(name, wait=False, kind=what[0], permits=what[1], shared=shared, delay_ms=DELAY)
                got = isinstance(apply(state, asked, now_ms), Done)
                assert got == (not twin.waits and twin.fits(shared))
                twin.held += [(name, shared)] if got else []
            case "release" | "lose" as deed if held:
                owner, token = dice.choice(list(held.items()))
                gone = next(each for each in twin.held if each[0] == owner)
                twin.held.remove(gone)
                if deed == "lose":
                    twin.lost.append((now_ms + DELAY, gone[1]))
                done(state, ExpireLease(token) if deed == "lose" else ReleaseLock("default", "m", token), now_ms)
            case "leave" if twin.waits:
                owner, shared = dice.choice(twin.waits)
                twin.waits.remove((owner, shared))
                done(state, ForsakeLock("default", "m", waiters[owner], waiters[owner]), now_ms)
        twin.pass_on(now_ms)
        settle(state, now_ms)
        assert (list(holders(state)), line(state)) == ([o for o, _ in twin.held], [o for o, _ in twin.waits])
        assert violations(state) == []
