"""apply: the one way to change a `ClusterState`.

House rules: validate, then mutate; a refusal changes nothing (but for the note that a late result leaves); whatever is
done is a function of the state, the command and `now_ms`, and of nothing else; one command, one index, one grant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peercron.core.apply.attempt import attempt_finished, attempt_started, checkpoint
from peercron.core.apply.backfill import backfill
from peercron.core.apply.calendar import delete_calendar, set_calendar
from peercron.core.apply.cluster import pause_cluster, resume_cluster
from peercron.core.apply.contend import attempt_ready, contend
from peercron.core.apply.delivery import ack_items, extend_delivery, nack_items, receive_items
from peercron.core.apply.event import call_hook, emit_event
from peercron.core.apply.feeding import take_item
from peercron.core.apply.fire import fire_slots
from peercron.core.apply.health import report_health
from peercron.core.apply.job import apply_jobs, delete_job, pause_job, put_job, resume_job, run_job
from peercron.core.apply.key import delete_key, incr_key, put_key
from peercron.core.apply.lease import close_client, expire_lease, open_client
from peercron.core.apply.lock import acquire_lock, forsake_lock, grant_lock, release_lock
from peercron.core.apply.member import drain_member, invite, uninvite
from peercron.core.apply.once import answer_once
from peercron.core.apply.order import tell_followers
from peercron.core.apply.placing import cancel_run, place_run
from peercron.core.apply.pool import delete_pool, set_pool
from peercron.core.apply.queue import put_item
from peercron.core.apply.queue_upkeep import delete_queue, purge_queue, put_queue, replay_items
from peercron.core.apply.restore import abandon_restore, adopt_snapshot, begin_restore, end_runs, stage_snapshot
from peercron.core.apply.session import expire_session, open_session
from peercron.core.apply.slices import arrange_slices, record_slices
from peercron.core.apply.standing import fail_back
from peercron.core.apply.token import create_token, revoke_token
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
    Proposal,
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
from peercron.core.level import level_of, objection
from peercron.core.limits import RESULTS_PER_SESSION_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

__all__ = ["apply", "apply_proposal"]

#: Command type -> the function that applies it. `Any`: each takes its own type of command, which is its key.
APPLY: dict[type[Command], Callable[[ClusterState, Any], Verdict]] = {
    OpenSession: open_session,
    ExpireSession: expire_session,
    Invite: invite,
    Uninvite: uninvite,
    DrainMember: drain_member,
    PutJob: put_job,
    ApplyJobs: apply_jobs,
    DeleteJob: delete_job,
    PauseJob: pause_job,
    ResumeJob: resume_job,
    RunJob: run_job,
    FailBack: fail_back,
    AttemptReady: attempt_ready,
    Contend: contend,
    CancelRun: cancel_run,
    Fire: fire_slots,
    PlaceRun: place_run,
    AttemptStarted: attempt_started,
    AttemptFinished: attempt_finished,
    Checkpoint: checkpoint,
    PutKey: put_key,
    DeleteKey: delete_key,
    IncrKey: incr_key,
    BeginRestore: begin_restore,
    StageSnapshot: stage_snapshot,
    EndRuns: end_runs,
    AdoptSnapshot: adopt_snapshot,
    AbandonRestore: abandon_restore,
    SetPool: set_pool,
    SetCalendar: set_calendar,
    DeleteCalendar: delete_calendar,
    PauseCluster: pause_cluster,
    ResumeCluster: resume_cluster,
    Backfill: backfill,
    DeletePool: delete_pool,
    OpenClient: open_client,
    CloseClient: close_client,
    ExpireLease: expire_lease,
    RecordSlices: record_slices,
    ArrangeSlices: arrange_slices,
    ReportHealth: report_health,
    PutQueue: put_queue,
    DeleteQueue: delete_queue,
    PutItem: put_item,
    ReceiveItems: receive_items,
    AckItems: ack_items,
    NackItems: nack_items,
    ExtendDelivery: extend_delivery,
    PurgeQueue: purge_queue,
    ReplayItems: replay_items,
    TakeItem: take_item,
    AcquireLock: acquire_lock,
    GrantLock: grant_lock,
    ReleaseLock: release_lock,
    ForsakeLock: forsake_lock,
    CallHook: call_hook,
    EmitEvent: emit_event,
    CreateToken: create_token,
    RevokeToken: revoke_token,
}


def apply(state: ClusterState, command: Command, now_ms: int) -> Verdict:
    """Change the state by one command; the answer is done or refused. `now_ms`: the leader's time of the batch, UTC.

    Never raises for what a command can bring: a defect becomes a refusal (internal), the same on every member. Running
    out of memory is no such thing: it is this machine's alone, and going on would part it from the others.

    >>> apply(ClusterState(), PutKey("default", "stock", b"10"), now_ms=1_000)
    Done(index=1, value=1)
    """
    state.index += 1
    if now_ms > state.now_ms:
        state.now_ms = now_ms
    try:
        if level_of(command) > state.level:
            return Refused(state.index, Refusal.UNSUPPORTED, objection(state, command))
        verdict = APPLY[type(command)](state, command)
        if state.ended:
            tell_followers(state)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 apply is total: an exception stops every member for good
        state.lines.clear()  # what the rows say now, if they did not change as a whole, is said anew
        state.ended.clear()
        return Refused(state.index, Refusal.INTERNAL, type(error).__name__)
    return verdict


def apply_proposal(state: ClusterState, proposal: Proposal, now_ms: int) -> Verdict:
    """Apply a command in its sender's name, once: a retry gets the first answer again.

    Refused as stale_session: senders whose session is not open, and retries whose answer the sender said to have.
    """
    if type(proposal.command) is OpenSession:
        return _open_session(state, proposal, proposal.command, now_ms)
    member = state.members.get(proposal.member)
    if member is None or member.session != proposal.session:
        return _stale_session(state, proposal)
    results = state.results.get(proposal.member)
    answered = results.get(proposal.seq) if results is not None else None
    if answered is not None:
        return answered
    if not member.open or proposal.seq < state.floors[proposal.member]:
        return _stale_session(state, proposal)
    if results is None:
        results = state.results[proposal.member] = {}
    _raise_floor(state, proposal, results)
    if len(results) >= RESULTS_PER_SESSION_MAX:
        return _too_many_answers(state)
    verdict = answer_once(state, proposal.once, lambda: apply(state, proposal.command, now_ms))
    results[proposal.seq] = verdict
    return verdict


def _open_session(state: ClusterState, proposal: Proposal, command: OpenSession, now_ms: int) -> Verdict:
    """The one command of a session that is not open yet; once it is open, a retry is a retry like any other."""
    if (command.info.id, command.session) != (proposal.member, proposal.session):
        return Refused(state.index, Refusal.INVALID, "a member opens a session for itself")
    member = state.members.get(proposal.member)
    if member is not None and member.session == proposal.session:
        results = state.results.get(proposal.member, {})
        if proposal.seq in results:
            return results[proposal.seq]
        if len(results) >= RESULTS_PER_SESSION_MAX:
            return _too_many_answers(state)
    verdict = apply(state, command, now_ms)
    if type(verdict) is Done:
        results = state.results.setdefault(proposal.member, {})
        results[proposal.seq] = verdict
        _raise_floor(state, proposal, results)
    return verdict


def _raise_floor(state: ClusterState, proposal: Proposal, results: dict[int, Verdict]) -> None:
    """Forget the answers that the sender says to have, in time that does not depend on how far the floor jumps."""
    old, new = state.floors[proposal.member], min(proposal.floor, proposal.seq)
    if new <= old:
        return
    state.floors[proposal.member] = new
    forgotten = range(old, new) if new - old <= len(results) else [seq for seq in results if seq < new]
    for seq in forgotten:
        results.pop(seq, None)


def _too_many_answers(state: ClusterState) -> Refused:
    return Refused(state.index, Refusal.LIMIT, f"{RESULTS_PER_SESSION_MAX} answers of this session are not fetched")


def _stale_session(state: ClusterState, proposal: Proposal) -> Refused:
    detail = f"proposal {proposal.seq} of session {proposal.session} of {proposal.member}: not open, or answered before"
    return Refused(state.index, Refusal.STALE_SESSION, detail)


assert APPLY.keys() == set(Command.__args__), "each command has its function"
