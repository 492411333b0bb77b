"""Random commands: what fits the state, what once fitted, and what never did. The same dice, the same commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from peercron.core.check import TRIGGER_CHECK, Check, CommandProbe, EndpointProbe, FileProbe
from peercron.core.commands import (
    AbandonRestore,
    AckItems,
    AcquireLock,
    AdoptSnapshot,
    ApplyJobs,
    ArrangeSlices,
    AttemptFinished,
    AttemptReady,
    AttemptStarted,
    Backfill,
    BeginRestore,
    CallHook,
    CancelRun,
    Checkpoint,
    CloseClient,
    Command,
    Contend,
    CreateToken,
    DeleteCalendar,
    DeleteJob,
    DeleteKey,
    DeletePool,
    DeleteQueue,
    DrainMember,
    EmitEvent,
    EndRuns,
    ExpireLease,
    ExpireSession,
    ExtendDelivery,
    FailBack,
    Fire,
    ForsakeLock,
    GrantLock,
    IncrKey,
    Invite,
    NackItems,
    OpenClient,
    OpenSession,
    PauseCluster,
    PauseJob,
    PlaceRun,
    PurgeQueue,
    PutItem,
    PutJob,
    PutKey,
    PutQueue,
    ReceiveItems,
    RecordSlices,
    ReleaseLock,
    ReplayItems,
    ReportHealth,
    ResumeCluster,
    ResumeJob,
    RevokeToken,
    RunJob,
    SetCalendar,
    SetPool,
    StageSnapshot,
    TakeItem,
    Uninvite,
)
from peercron.core.health import HealthReport
from peercron.core.job import (
    AtTrigger,
    Definition,
    EveryTrigger,
    Failback,
    Guarantee,
    Losers,
    ManualTrigger,
    Misfire,
    MisfirePolicy,
    Mode,
    OnAbsent,
    Overlap,
    Quorum,
)
from peercron.core.limits import SLICE_MS_MIN
from peercron.core.listening import CHECKED
from peercron.core.lock import Claim, LockKind
from peercron.core.member import Role
from peercron.core.occasion import ConditionTrigger, EventTrigger, HookTrigger, ProbeTrigger, QueueTrigger
from peercron.core.pace import Backoff, Concurrency, Require, Retry, RetryOn
from peercron.core.run import AttemptState, RunState
from peercron.core.slices import SliceEntry, unled
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from tests.core.builders import HOUR, SECOND, all_runs, definition, info

NODES = ("a", "b", "c", "w")
JOBS = ("x", "y", "z")
#: Every state, wrong ones too, the usual ones more often.
ENDS = (*AttemptState, *[AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST] * 3)


CHECKS = (
    Check("port", EndpointProbe("", 80), observers=2),
    Check("web", CommandProbe(("true",))),
)


OCCASIONS = (
    ConditionTrigger('state("k") < 10'),
    ConditionTrigger('exists("k") and not exists("other/l")'),
    HookTrigger(),
    EventTrigger("default", "deployed"),
    QueueTrigger("default", "q"),
    ProbeTrigger(Check(TRIGGER_CHECK, EndpointProbe("db", 1)), well=False),
    ProbeTrigger(Check(TRIGGER_CHECK, FileProbe("/in"))),
)


def some_command(dice: Random, state: ClusterState) -> Command:
    return dice.choice(CHOICES)(dice, state)


def some_definition(dice: Random) -> Definition:
    triggers = (EveryTrigger(SECOND), EveryTrigger(SECOND, 7), AtTrigger(dice.randrange(9_999_999)), ManualTrigger())
    after = dice.choice(((), (), (), (), ("default/x",), ("default/x", "default/y")))
    if dice.random() < 0.15:
        concurrency = Concurrency(dice.choice((1, 2, 0)))
        return definition(dice.choice(JOBS), trigger=ManualTrigger(), queue="default/q", concurrency=concurrency)
    if dice.random() < 0.1:
        return _posting(dice)
    some = definition(
        dice.choice(JOBS),
        after=after,
        require=dice.choice(tuple(Require)) if after else Require.ALL_SUCCEEDED,
        trigger=ManualTrigger() if after else dice.choice(triggers if dice.random() < 0.7 else OCCASIONS),
        owner=dice.choice(("", "file")),
        nodes=dice.choice(((), (), (), (), ("a",), ("b", "w"), ("nobody",))),
        overlap=dice.choice(tuple(Overlap)),
        guarantee=dice.choice(tuple(Guarantee)),
        concurrency=dice.choice((Concurrency(), Concurrency(per_job=1), Concurrency(per_node=1))),
        pool=dice.choice(("", "", "db", "other")),
        lock=dice.choice(("", "", "default/m", "default/r")),
        jitter_ms=dice.choice((0, 0, 0, 900)),
        retry=dice.choice((Retry(), Retry(2, base_ms=500), Retry(1, Backoff.FIXED, 0, on=RetryOn.SAME_NODE))),
        misfire=Misfire(dice.choice(tuple(MisfirePolicy)), dice.choice((0, 2_500)), dice.choice((1, 3, 20))),
        timeout_ms=dice.choice((0,) * 9 + (-1,)),
        checks=dice.choice(((),) * 4 + (CHECKS, CHECKS[:1], (replace(CHECKS[0], fall=1),))),
        **_shared(dice),
    )
    return _alone(some) if unled(some) and dice.random() < 0.9 else some


def _posting(dice: Random) -> Definition:
    """Its slots go into a queue; now and then one that nobody can."""
    return definition(
        dice.choice(JOBS),
        mode=Mode.QUEUE,
        queue=dice.choice(("default/q", "default/q", "default/r", "")),
        concurrency=Concurrency(dice.choice((1, 2))),
        overlap=dice.choice(tuple(Overlap)),
        trigger=dice.choice((EveryTrigger(SECOND), EveryTrigger(SECOND), ManualTrigger(), *OCCASIONS)),
        jitter_ms=dice.choice((0, 0, 900)),
        retry=dice.choice((Retry(), Retry(1, base_ms=500))),
        lock=dice.choice(("", "default/m")),
    )


def _alone(some: Definition) -> Definition:
    """Without most of what nodes cannot do by themselves."""
    trigger = EveryTrigger(SECOND) if isinstance(some.trigger, ManualTrigger) else some.trigger
    plain = replace(some, trigger=trigger, after=(), require=Require.ALL_SUCCEEDED, retry=Retry(), jitter_ms=0)
    overlap = some.overlap if some.overlap is Overlap.ALLOW else Overlap.FORBID
    return replace(plain, overlap=overlap, concurrency=Concurrency(), pool="", lock="")


def _shared(dice: Random) -> dict[str, Any]:
    """How the nodes share it. One in four is in slices; of some the length is wrong."""
    if dice.random() < 0.75:
        after_ms = dice.choice((0, SECOND, 60_000))
        mode = dice.choice([*[Mode.SINGLE] * 5, Mode.STANDBY, Mode.TURNS, Mode.PARALLEL, Mode.CONTEND])
        return {"mode": mode, "failback": dice.choice(tuple(Failback)), "failback_after_ms": after_ms} | {
            "losers": dice.choice(tuple(Losers)),
            "quorum": dice.choice(tuple(Quorum)),
            **dice.choice(({}, {"sync": True}, {"sync": True, "count": 2}, {"order": ("b", "a")})),
            "where": dice.choice((*("",) * 17, "dc == 'p'", "dc == 'p'", "dc = ")),
        }
    absent = dice.choice((OnAbsent.SKIP, OnAbsent.SKIP, OnAbsent.FILL))
    return {"mode": Mode.SLICE, "slice_ms": dice.choice((SLICE_MS_MIN,) * 3 + (10_000, 1)), "on_absent": absent}


def _open(dice: Random, state: ClusterState) -> Command:
    name = dice.choice(NODES)
    member = state.members.get(f"id-{name}")
    session = (member.session if member else 0) + dice.choice((1, 0, 0, 0, -1, 3))
    role = Role.WITNESS if name == "w" else Role.VOTER
    # Now and then somebody takes another's name, or says something new of itself.
    return OpenSession(
        info(
            dice.choice((name,) * 9 + NODES),
            id=f"id-{name}",
            role=role,
            dc=dice.choice("pq"),
            incarnation=dice.choice(("", "x", "x", "x", "y")),
        ),
        session,
    )


def _invite(dice: Random, state: ClusterState) -> Command:
    address = f"{dice.choice('abcdef')}:7400"
    role = dice.choice((Role.VOTER, Role.VOTER, Role.WITNESS, Role.LEARNER))
    return dice.choice((Invite(address, role, dice.choice(("", "a", "e", "a b"))), Uninvite(address)))


def _drain(dice: Random, state: ClusterState) -> Command:
    return DrainMember(f"id-{dice.choice((*NODES, 'nobody'))}", dice.random() < 0.3)


def _expire(dice: Random, state: ClusterState) -> Command:
    name = dice.choice(NODES)
    member = state.members.get(f"id-{name}")
    return ExpireSession(f"id-{name}", (member.session if member else 1) - dice.choice((0, 0, 0, 1)))


def _put(dice: Random, state: ClusterState) -> Command:
    return PutJob(
        some_definition(dice), dice.choice((None, None, None, 0, state.index)), dice.choice((None, None, True, False))
    )


def _apply(dice: Random, state: ClusterState) -> Command:
    definitions = tuple(some_definition(dice) for _ in range(dice.randrange(4)))
    paused = tuple((f"default/{name}", dice.random() < 0.2) for name in JOBS if dice.random() < 0.3)
    return ApplyJobs(definitions, dice.choice((None, "file")), dice.choice((False, False, True)), paused)


def _named(*kinds: Callable[[str], Command]) -> Callable[[Random, ClusterState], Command]:
    return lambda dice, _: dice.choice(kinds)(f"default/{dice.choice((*JOBS, 'nobody'))}")


def _run(dice: Random, state: ClusterState) -> Command:
    params = dice.choice(((), (), (("day", "mon"),), (("no good", ""),)))
    again = _run_id(dice, state) if dice.random() < 0.1 else ""
    key = state.runs[again].job_key if again in state.runs else f"default/{dice.choice((*JOBS, 'nobody'))}"
    return RunJob(key, params, again)


def _run_id(dice: Random, state: ClusterState) -> str:
    live = [run_id for line in state.live_runs.values() for run_id in line]
    known = [run.id for run in all_runs(state)]
    return dice.choice(live or known or ["1/1"]) if dice.random() < 0.9 else dice.choice(["1/1", *known])


def _cancel(dice: Random, state: ClusterState) -> Command:
    return CancelRun(_run_id(dice, state))


def _place(dice: Random, state: ClusterState) -> Command:
    return PlaceRun(
        dice.choice(list(state.unplaced)) if state.unplaced and dice.random() < 0.9 else _run_id(dice, state)
    )


def _fire(dice: Random, state: ClusterState) -> Command:
    """Mostly a plan that fits; one in four has something wrong with it, most often the cursor."""
    uid = dice.choice([*state.jobs, "gone"])
    job, cursor = state.jobs.get(uid), state.cursors.get(uid)
    revision, after_ms = (job.revision, cursor.after_ms) if job and cursor else (1, 1)
    recent = range(
        max(after_ms + 1, state.now_ms - dice.choice((SECOND, SECOND, 10 * SECOND, 2 * HOUR))), state.now_ms + 1
    )
    slots = tuple(sorted(dice.sample(recent, min(len(recent), dice.choice((0, 1, 1, 1, 2, 5))))))
    through_ms = slots[-1] if slots else after_ms
    fire = Fire(
        uid, revision, after_ms, slots, through_ms, dice.choice((-1, through_ms + SECOND)), later=dice.choice((0, 0, 3))
    )
    if dice.random() < 0.75:
        return fire
    back_ms = after_ms - dice.choice((1, SECOND, HOUR))
    return dice.choice(
        (
            replace(fire, after_ms=back_ms, slots=(max(0, after_ms), *slots)),
            replace(fire, revision=revision - 1),
            replace(fire, slots=(*slots, *slots)),
            replace(fire, slots=(*slots, through_ms + HOUR), through_ms=through_ms + HOUR),
            replace(fire, unlisted_through_ms=after_ms + 1),
            replace(fire, next_ms=after_ms),
        )
    )


def _token(dice: Random, state: ClusterState) -> tuple[str, int]:
    """Of a live attempt, or of any that ever was, or nobody's."""
    held = [pair for tokens in state.live_attempts.values() for pair in tokens.items()]
    past = [(run.id, attempt.token) for run in all_runs(state) for attempt in run.attempts]
    if held and dice.random() < 0.8:
        return dice.choice(held)
    return dice.choice(past) if past and dice.random() < 0.9 else ("1/1", dice.randrange(99))


def _started(dice: Random, state: ClusterState) -> Command:
    run_id, token = _token(dice, state)
    return AttemptStarted(run_id, token, state.now_ms)


def _ready(dice: Random, state: ClusterState) -> Command:
    return AttemptReady(*_token(dice, state))


def _contend(dice: Random, state: ClusterState) -> Command:
    """Mostly of who is asked."""
    member_id = f"id-{dice.choice(NODES)}"
    run_id = _run_id(dice, state)
    if state.contests and dice.random() < 0.8:
        run_id, called = dice.choice(list(state.contests.items()))
        member_id = dice.choice((*called, member_id))
    member = state.members.get(member_id)
    return Contend(run_id, member_id, (member.session if member else 1) - dice.choice((0, 0, 0, 1)))


def _finished(dice: Random, state: ClusterState) -> Command:
    run_id, token = _token(dice, state)
    return AttemptFinished(run_id, token, dice.choice(ENDS), state.now_ms, dice.choice((None, 0, 1)), "why", "out")


def _checkpoint(dice: Random, state: ClusterState) -> Command:
    run_id, token = _token(dice, state)
    return Checkpoint(run_id, token, dice.randbytes(3))


def _calendar(dice: Random, state: ClusterState) -> Command:
    return dice.choice((SetCalendar("c", ("sat",)), SetCalendar("c", ("no day",)), DeleteCalendar("c")))


def _pause_all(dice: Random, state: ClusterState) -> Command:
    return dice.choice((PauseCluster(), ResumeCluster(), ResumeCluster()))


def _backfill(dice: Random, state: ClusterState) -> Command:
    back = sorted({max(0, state.now_ms - dice.randrange(-500, 9_000)) for _ in range(dice.randrange(4))})
    return Backfill(f"default/{dice.choice(JOBS)}", tuple(back), dice.random() < 0.3)


def _pool(dice: Random, state: ClusterState) -> Command:
    return dice.choice((*[SetPool("db", dice.choice((0, 1, 3, -1)))] * 5, DeletePool("db")))


def _access(dice: Random, state: ClusterState) -> Command:
    name = dice.choice(("ci", "ops", "ops", "no good"))
    if dice.random() < 0.4:
        return RevokeToken(name, dice.random() < 0.5)
    scopes = tuple(dice.sample(tuple(Scope), dice.randrange(4)))
    return CreateToken(name, dice.randbytes(dice.choice((32, 32, 32, 31))), scopes, dice.choice((0, 5_000, -1)))


def _key(dice: Random, state: ClusterState) -> Command:
    namespace, key = dice.choice(("default", "other", "no good")), dice.choice(("k", "l", ""))
    if_revision = dice.choice((None, None, 0, state.index))
    if dice.random() < 0.4:
        return DeleteKey(namespace, key, if_revision)
    ttl_ms = dice.choice((0, 0, 0, 1_000, 5))
    if dice.random() < 0.3:
        return IncrKey(namespace, key, dice.choice((1, -7)), ttl_ms)
    return PutKey(namespace, key, dice.choice((dice.randbytes(3), b"12")), if_revision, ttl_ms)


def _lease(dice: Random, state: ClusterState) -> Command:
    known = dice.choice([*state.leases, 1]) if dice.random() < 0.9 else dice.randrange(999)
    return dice.choice((OpenClient("x", dice.choice((1_000, 1_000, 5))), CloseClient(known), ExpireLease(known)))


def _health(dice: Random, state: ClusterState) -> Command:
    """Mostly of an open session, about what is there."""
    name, about = dice.choice(NODES), f"id-{dice.choice((*NODES, 'nobody'))}"
    member = state.members.get(f"id-{name}")
    uid = dice.choice([*state.listening.get(CHECKED, ()), "gone"])
    reports = tuple(
        HealthReport(uid, dice.choice(("port", "web", "other", TRIGGER_CHECK)), about, dice.random() < 0.5, "why")
        for _ in range(dice.randrange(3))
    )
    return ReportHealth(f"id-{name}", (member.session if member else 1) + dice.choice((0, 0, 0, 1)), reports)


def _occasion(dice: Random, state: ClusterState) -> Command:
    params = dice.choice(((), (("day", "mon"),), (("no good", ""),)))
    if dice.random() < 0.5:
        return CallHook(f"default/{dice.choice((*JOBS, 'nobody'))}", params)
    return EmitEvent("default", dice.choice(("deployed", "deployed", "nothing", "no good")), params)


def _queue(dice: Random, state: ClusterState) -> Command:
    """Few queues of few items, so that all of them come to an end; the time that a delay takes does too."""
    namespace, name = dice.choice(("default",) * 9 + ("no good",)), dice.choice(("q", "q", "r", "q.dead", "q.dead", ""))
    token = dice.choice([*state.deliveries, 1]) if dice.random() < 0.9 else dice.randrange(999)
    delivery = state.deliveries.get(token)
    held = delivery.items if delivery is not None and dice.random() < 0.9 else (1,)
    some = tuple(dice.sample(held, dice.randrange(len(held) + 1)))
    client = dice.choice((0, 0, 0, *state.leases))
    put = PutItem(
        *(namespace, name, dice.randbytes(2), dice.random() < 0.5, dice.choice(("", "", "k", "l")), dice.randrange(3)),
        *(dice.choice(("", "g", "h")), dice.choice((0, 0, 1_000, -1))),
    )
    settings = PutQueue(namespace, name, dice.choice((1_000, 5)), dice.choice((0, 1, 2)), dice.choice(("", "", "r")))
    return dice.choice(
        (
            *[put] * 6,
            *[ReceiveItems(namespace, name, dice.choice((1, 1, 3, 0)), dice.choice((0, 0, 5_000, 5)), "x", client)] * 5,
            *[AckItems(token, some)] * 2,
            *[NackItems(token, some, dice.choice((0, 0, 1_000, -1)), "why", dice.random() < 0.3)] * 3,
            ExtendDelivery(token, dice.choice((2_000, 5))),
            dice.choice((settings, DeleteQueue(namespace, name), PurgeQueue(namespace, name))),
            ReplayItems(namespace, name, dice.choice((1, 9, 0))),
            *[TakeItem(dice.choice([*state.jobs, "gone"]))] * 3,
        )
    )


#: Each lock is mostly asked for as what it is.
LOCKS = {"m": (LockKind.MUTEX, 1), "s": (LockKind.SEMAPHORE, 2), "r": (LockKind.RW, 1)}


def _acquire(dice: Random, state: ClusterState) -> Command:
    name = dice.choice(tuple(LOCKS))
    kind, permits = LOCKS[name if dice.random() < 0.95 else "s"]
    clients = [id_ for id_, lease in state.leases.items() if not lease.namespace]
    client = dice.choice((0, 0, *clients, 9))
    run_id, token = _token(dice, state) if dice.random() < 0.2 else ("", 0)
    member = state.members.get(f"id-{dice.choice(NODES)}")
    claim = Claim(
        owner=dice.choice("ABCDE"),
        ttl_ms=dice.choice((1_000, 1_000, 1_000, 0)),
        request=f"q{dice.randrange(40)}",
        shared=kind is LockKind.RW and dice.random() < 0.6,
        delay_ms=dice.choice((0, 0, 2_000)),
        client=client,
        run_id=run_id,
        attempt=token,
    )
    who = (member.info.id, member.session) if member else ("", 0)
    return AcquireLock("default", name, claim, dice.random() < 0.8, kind, permits, *who)


def _lock(dice: Random, state: ClusterState) -> Command:
    key = dice.choice([*state.locks, "default/m"])
    name = key.partition("/")[2]
    token = dice.choice([*state.lock_grants.get(key, {}), 1])
    waiters = state.lock_waiters.get(key, {})
    ids = [*waiters, *(grant.waiter for grant in state.lock_grants.get(key, {}).values()), 1]
    waiter = dice.choice(ids)
    served = waiters[waiter].served if waiter in waiters else dice.choice((waiter, 1))
    return dice.choice(
        (
            GrantLock("default", name),
            ReleaseLock("default", name, token),
            ReleaseLock("default", name, token),
            ForsakeLock("default", name, waiter, served, dice.random() < 0.5),
            ExpireLease(token),
        )
    )


def _restore(dice: Random, state: ClusterState) -> Command:
    """Nothing is ever adopted: nobody here reads what is staged."""
    restore_id = dice.choice("rs") if state.stage is None or dice.random() < 0.1 else state.stage.restore_id
    stops = (EndRuns(restore_id), *[AbandonRestore(restore_id)] * 3)
    return dice.choice(
        (
            BeginRestore(restore_id, 3, 9, force=dice.random() < 0.9),
            StageSnapshot(restore_id, dice.choice((0, 1, 2, 2, 3)), dice.choice((b"abc", b"abc", b"abc", b""))),
            AdoptSnapshot(restore_id, 3, bytes(32), force=dice.random() < 0.9),
            dice.choice(stops),
        )
    )


def _record(dice: Random, state: ClusterState) -> Command:
    """A node tells of its slots: mostly of new ones, now and then of old ones again, or of what it cannot know."""
    uid = dice.choice(list(state.slices)) if state.slices and dice.random() < 0.9 else "gone"
    sharing = [name for share in state.slices[uid].shares for name in share.nodes] if uid in state.slices else []
    node = dice.choice(sharing) if sharing and dice.random() < 0.9 else dice.choice(NODES)
    told = state.slices_through.get(uid, {}).get(node, 0)
    oldest = max(0, told + 1 - dice.choice((0, 0, 0, 3_000)), state.now_ms - 20 * SECOND)
    recent = range(oldest, max(oldest, state.now_ms) + 1)
    slots = sorted(dice.sample(recent, min(len(recent), dice.choice((0, 1, 1, 2, 5)))))
    others = [through for through in state.slices_through.get(uid, {}).values() if through > told]
    if others and dice.random() < 0.3:
        slots = [dice.choice(others)]  # the shares were not the same for all
    outcomes = (*RunState, *[RunState.SUCCEEDED, RunState.MISSED] * 4)
    entries = [SliceEntry(slot, dice.choice(outcomes), dice.choice(("why",) * 9 + ("",)), slot, slot) for slot in slots]
    through_ms = (slots[-1] if slots else told) - dice.choice((0,) * 9 + (1,))
    return RecordSlices(node, uid, tuple(entries), through_ms)


def _arrange(dice: Random, state: ClusterState) -> Command:
    return ArrangeSlices(state.roster_revision - dice.choice((0, 0, 1)))


#: Each as often as it stands here.
CHOICES: tuple[Callable[[Random, ClusterState], Command], ...] = (
    *[_open] * 8,
    *[_expire] * 3,
    _invite,
    *[_drain] * 2,
    *[_put] * 6,
    _apply,
    _named(DeleteJob),
    _named(PauseJob, ResumeJob, ResumeJob),
    *[_run] * 4,
    _named(FailBack),
    *[_cancel] * 2,
    *[_place] * 6,
    *[_fire] * 20,
    *[_started] * 8,
    *[_finished] * 12,
    *[_checkpoint] * 2,
    *[_ready] * 3,
    *[_contend] * 6,
    *[_key] * 3,
    _pool,
    _pause_all,
    _calendar,
    _access,
    _backfill,
    *[_lease] * 2,
    *[_health] * 6,
    *[_occasion] * 3,
    *[_queue] * 8,
    *[_acquire] * 6,
    *[_lock] * 6,
    _restore,
    *[_record] * 8,
    _arrange,
)
