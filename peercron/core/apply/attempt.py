"""Attempts: what their nodes say of them, and what becomes of a run whose attempt is lost."""

from __future__ import annotations

from dataclasses import replace

from peercron.core import retry
from peercron.core.apply.feeding import hand_back
from peercron.core.apply.hold import due_ms
from peercron.core.apply.lock import free_locks_of_attempt
from peercron.core.apply.pool import call
from peercron.core.apply.run import advance, end, take_turn
from peercron.core.apply.shards import note
from peercron.core.capacity import release
from peercron.core.commands import AttemptFinished, AttemptStarted, Checkpoint
from peercron.core.history import find_run, is_of, pack_run
from peercron.core.job import Guarantee
from peercron.core.limits import ATTEMPTS_MAX, CHECKPOINT_BYTES_MAX, OUTPUT_TAIL_BYTES_MAX, REASON_LENGTH_MAX
from peercron.core.placement.lacking import nobody_has, target_of, told
from peercron.core.run import LIVE_ATTEMPT_STATES, Attempt, AttemptState, Run, RunState
from peercron.core.shards import does_slots_work
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: What an attempt's end makes of its run; LOST and REFUSED are not here: the run may get another attempt.
OUTCOMES = {
    AttemptState.SUCCEEDED: RunState.SUCCEEDED,
    AttemptState.FAILED: RunState.FAILED,
    AttemptState.TIMED_OUT: RunState.TIMED_OUT,
    AttemptState.CANCELLED: RunState.CANCELLED,
}

#: The level from which on there is a pause after losses: see `core.level`.
PAUSES_LEVEL = 2

assert OUTCOMES.keys() | {AttemptState.LOST, AttemptState.REFUSED} | LIVE_ATTEMPT_STATES == set(AttemptState)


def attempt_started(state: ClusterState, command: AttemptStarted) -> Verdict:
    run, attempt = _held(state, command.run_id, command.token)
    if run is None or attempt is None:
        return _superseded(state, command.run_id, command.token)
    if attempt.state in {AttemptState.ASSIGNED, AttemptState.READY}:
        started = replace(attempt, state=AttemptState.STARTED, started_ms=command.started_ms)
        state.runs[run.id] = replace(run, attempts=(*run.attempts[:-1], started))
        state.touch(run.job_uid)
        state.happened("run", "started", run.job_key, run=run.id, attempt=started.n, token=started.token)
        if state.tally is not None:
            state.tally.started(run, started, due_ms(state, run))
    return Done(state.index, command.token)


def attempt_finished(state: ClusterState, command: AttemptFinished) -> Verdict:
    if command.outcome in LIVE_ATTEMPT_STATES:
        return Refused(state.index, Refusal.INVALID, f"outcome: {command.outcome.value} is no end of an attempt")
    run, attempt = _held(state, command.run_id, command.token)
    if run is None or attempt is None:
        _note_late_result(state, command)
        return _superseded(state, command.run_id, command.token)
    # Clipped, never refused: a report that is refused would leave an attempt alive whose process is gone.
    reason = command.reason[:REASON_LENGTH_MAX]
    run = _close(
        state,
        run,
        replace(
            attempt,
            state=command.outcome,
            finished_ms=command.finished_ms,
            exit_code=command.exit_code,
            reason=reason,
            output_tail=clipped(command.output_tail),
        ),
    )
    if command.outcome is AttemptState.LOST:
        _retry(state, run)
    elif command.outcome is AttemptState.REFUSED:
        _pass_on(state, run)
    elif command.outcome in retry.FAILURES and retry.may_retry(run):
        _try_again(state, run, retry.pause_after_failure_ms(run))
    else:
        # Who asked for the end says why; the node only knows that it was told to.
        asked = run.cancel_requested and command.outcome is AttemptState.CANCELLED
        over = hand_back if run.posted and command.outcome in retry.FAILURES else end
        over(state, run, OUTCOMES[command.outcome], run.reason if asked else reason)
    advance(state, run.job_uid)
    return Done(state.index, command.token)


def checkpoint(state: ClusterState, command: Checkpoint) -> Verdict:
    """Only the living attempt says how far the run is: what a superseded one does is not what its heir goes on from."""
    run, attempt = _held(state, command.run_id, command.token)
    if run is None or attempt is None:
        return _superseded(state, command.run_id, command.token)
    if len(command.data) > CHECKPOINT_BYTES_MAX:
        detail = f"checkpoint: {len(command.data)} bytes, at most {CHECKPOINT_BYTES_MAX} are kept"
        return Refused(state.index, Refusal.LIMIT, detail)
    # Of those who contend and of whom one does the slot's work, the next goes on where the last one was.
    definition = run.definition
    goes_on = definition is not None and does_slots_work(run, definition)
    kept = state.runs[run.parent] if goes_on else run
    state.runs[kept.id] = replace(kept, checkpoint=command.data)
    return Done(state.index, command.token)


def lose_attempt(state: ClusterState, run: Run, reason: str) -> None:
    """The session that held the run's live attempt is gone: so is the attempt; the run goes on elsewhere if it may."""
    attempt = run.live_attempt
    assert attempt is not None, "only a live attempt can be lost"
    lost = replace(attempt, state=AttemptState.LOST, finished_ms=state.now_ms, reason=reason)
    _retry(state, _close(state, run, lost))
    advance(state, run.job_uid)


def clipped(output: str) -> str:
    """The end of an output, at most OUTPUT_TAIL_BYTES_MAX bytes of UTF-8, no character cut in two."""
    if len(output) * 4 <= OUTPUT_TAIL_BYTES_MAX:
        return output
    return output.encode("utf-8", "replace")[-OUTPUT_TAIL_BYTES_MAX:].decode("utf-8", "ignore")


def _held(state: ClusterState, run_id: str, token: int) -> tuple[Run | None, Attempt | None]:
    """The run, and its live attempt if `token` is that attempt's."""
    run = state.runs.get(run_id)
    attempt = run.live_attempt if run is not None else None
    return run, attempt if attempt is not None and attempt.token == token else None


def _superseded(state: ClusterState, run_id: str, token: int) -> Refused:
    return Refused(state.index, Refusal.STALE_TOKEN, f"token {token} is not that of a live attempt of run {run_id}")


def _note_late_result(state: ClusterState, command: AttemptFinished) -> None:
    """Keep on a lost attempt, once, what its node reported after all. The one trace that a refusal leaves."""
    run = find_run(state, command.run_id)
    if run is None or command.outcome is AttemptState.LOST:
        return
    for at, attempt in enumerate(run.attempts):
        if attempt.token == command.token and attempt.state is AttemptState.LOST and not attempt.note:
            noted = replace(attempt, note=f"reported {command.outcome.value} after it was given up")
            _put_back(state, replace(run, attempts=(*run.attempts[:at], noted, *run.attempts[at + 1 :])))
            state.touch(run.job_uid)


def _put_back(state: ClusterState, run: Run) -> None:
    """In the place of the run as it was, be it alive or ended."""
    if run.id in state.runs:
        state.runs[run.id] = run
    elif run.parent:
        parent = find_run(state, run.parent)
        assert parent is not None, "a shard is found in its run"
        _put_back(state, note(parent, run))
    else:
        ended = state.ended_runs[run.job_uid]
        state.ended_runs[run.job_uid] = tuple([pack_run(run) if is_of(run.id, each) else each for each in ended])


def _close(state: ClusterState, run: Run, ended: Attempt) -> Run:
    """Put the ended attempt in the live one's place and free its node; the run is in between states until told."""
    held = state.live_attempts[ended.member]
    del held[run.id]
    if not held:
        del state.live_attempts[ended.member]
    free_locks_of_attempt(state, run.id, ended.token, lost=ended.state is AttemptState.LOST)
    release(state, run, ended.member)
    if state.tally is not None:
        state.tally.ended(ended)
    if run.definition is not None and run.definition.pool:
        call(state, run.definition.pool)
    state.touch(run.job_uid)
    return replace(run, attempts=(*run.attempts[:-1], ended))


def _retry(state: ClusterState, run: Run) -> None:
    """After its attempt was lost: end the run where another attempt is not wanted or not allowed, else queue it."""
    lost, definition = run.attempts[-1], run.definition
    assert definition is not None, "a grant pins what the run does"
    started = lost.started_ms is not None
    if run.cancel_requested:
        end(state, run, RunState.CANCELLED, run.reason)
    elif run.parent:
        end(state, run, RunState.LOST, lost.reason)  # nobody else takes its place
    elif definition.guarantee is Guarantee.AT_MOST_ONCE and started:
        end(state, run, RunState.LOST, f"{lost.reason}; started once already (guarantee at_most_once)")
    elif len(run.attempts) >= ATTEMPTS_MAX:
        end(state, run, RunState.LOST, f"{lost.reason}; that was attempt {ATTEMPTS_MAX}, the last one")
    else:
        _try_again(state, run, retry.pause_after_loss_ms(run) if state.level >= PAUSES_LEVEL else 0)


def _pass_on(state: ClusterState, run: Run) -> None:
    """Its node does not have what it runs: somebody else may, and is asked at once."""
    refused, definition = run.attempts[-1], run.definition
    assert definition is not None, "a grant pins what the run does"
    if target := target_of(definition):
        state.lacking[refused.member] = told(state.lacking.get(refused.member, ()), target)
    if run.cancel_requested:
        end(state, run, RunState.CANCELLED, run.reason)
    elif run.parent:
        end(state, run, RunState.LOST, refused.reason)  # nobody else takes its place
    elif why := nobody_has(state, definition, run):
        end(state, run, RunState.FAILED, why[:REASON_LENGTH_MAX])
    elif len(run.attempts) >= ATTEMPTS_MAX:
        end(state, run, RunState.FAILED, f"{refused.reason}; that was attempt {ATTEMPTS_MAX}, the last one")
    else:
        _try_again(state, run, 0)


def _try_again(state: ClusterState, run: Run, pause_ms: int) -> None:
    """Queue it for its next attempt, after a pause."""
    last = run.attempts[-1]
    reason = f"{last.reason or last.state.value}; attempt {last.n + 1} after {pause_ms} ms" if pause_ms else last.reason
    queued = replace(
        run, state=RunState.QUEUED, reason=reason, not_before_ms=state.now_ms + pause_ms if pause_ms else 0
    )
    state.runs[run.id] = queued
    state.happened("run", "retrying", run.job_key, run=run.id, attempt=last.n, reason=f"{last.state.value}: {reason}")
    take_turn(state, state.jobs[run.job_uid], queued)
