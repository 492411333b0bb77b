"""Fire: one step of a job's cursor; each slot it passes gets a run or a ledger entry, and no slot gets two."""

from __future__ import annotations

from itertools import pairwise

from peercron.core.apply import ledger
from peercron.core.apply.run import admit
from peercron.core.commands import Fire
from peercron.core.job import Cursor, Job
from peercron.core.limits import GAP_SLOTS_MAX, SLOTS_PER_FIRE_MAX
from peercron.core.policy import Gap, misses
from peercron.core.run import RunState
from peercron.core.slices import unled
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

LEADERLESS = "no leader with a quorum decided it in time"


def fire_slots(state: ClusterState, command: Fire) -> Verdict:
    """The answer is the number of runs that came of it."""
    job, cursor = state.jobs.get(command.job_uid), state.cursors.get(command.job_uid)
    if job is None or cursor is None:
        return _stale(state, "the job was deleted")
    if unled(job.definition):
        return _stale(state, f"the nodes of job {job.key} fire it by themselves")
    if not _fits(command, job, cursor):
        return _stale(state, f"job {job.key} is at revision {job.revision}, decided until {cursor.after_ms}")
    if command.through_ms > max(command.after_ms, state.now_ms):
        return _stale(state, "it reaches into the future")
    flaw = _flaw(command)
    if flaw:
        return Refused(state.index, Refusal.INVALID, flaw)
    fired = _pass_slots(state, job, cursor, command)
    state.touch(job.uid)
    return Done(state.index, fired)


def _fits(command: Fire, job: Job, cursor: Cursor) -> bool:
    """Whether the plan was made from what is here now: this is what makes two planners harmless."""
    return job.revision == command.revision and cursor.after_ms == command.after_ms


def _pass_slots(state: ClusterState, job: Job, cursor: Cursor, command: Fire) -> int:
    """Decide every slot, in order, and move the cursor behind them. Returns how many became runs."""
    own_ends_ms = command.through_ms if job.paused else cursor.paused_through_ms
    pause_ends_ms = max(own_ends_ms, command.through_ms if state.paused else state.paused_through_ms)
    _pass_unlisted(state, job, command, pause_ends_ms)
    out = dict(command.left_out)
    due = tuple(slot for slot in command.slots if slot > pause_ends_ms and slot not in out)
    gap = Gap(cursor.gap_walked, cursor.gap_fired, command.later)
    missed = misses(due, gap=gap, misfire=job.definition.misfire, period_ms=command.period_ms, now_ms=state.now_ms)
    for slot_ms in command.slots:
        if slot_ms <= pause_ends_ms:
            paused = ledger.PAUSED if slot_ms <= own_ends_ms else ledger.CLUSTER_PAUSED
            _record(state, job, slot_ms, RunState.SKIPPED, paused)
        elif slot_ms in out:
            _record(state, job, slot_ms, RunState.SKIPPED, out[slot_ms])
    for slot_ms, why in zip(due, missed, strict=True):
        if why:
            _record(state, job, slot_ms, *_unmade(command, slot_ms, why))
    chosen = [slot_ms for slot_ms, why in zip(due, missed, strict=True) if not why]
    state.cursors[job.uid] = _moved(cursor, command, walked=len(due), fired=len(chosen))
    return sum(admit(state, job, ledger.run_id_of_slot(job.uid, slot_ms), slot_ms) for slot_ms in chosen)


def _moved(cursor: Cursor, command: Fire, *, walked: int, fired: int) -> Cursor:
    """The cursor behind the slots; while more of the gap follows, it remembers what the gap has had so far."""
    return Cursor(
        after_ms=command.through_ms,
        next_ms=command.next_ms,
        paused_through_ms=cursor.paused_through_ms,
        gap_walked=cursor.gap_walked + walked if command.later else 0,
        gap_fired=cursor.gap_fired + fired if command.later else 0,
    )


def _pass_unlisted(state: ClusterState, job: Job, command: Fire, pause_ends_ms: int) -> None:
    """One entry, under the last of them, for slots that the ledger could not keep one by one."""
    last_ms = command.unlisted_through_ms
    if not last_ms:
        return
    outcome, why = (
        RunState.SKIPPED,
        ledger.PAUSED if job.paused else ledger.CLUSTER_PAUSED if state.paused else ledger.PAUSED,
    )
    if last_ms > pause_ends_ms:
        outcome, why = _unmade(command, last_ms, f"over {GAP_SLOTS_MAX} slots were due")
    _record(state, job, last_ms, outcome, f"{why}; this one stands for all before it since {command.after_ms}")


def _unmade(command: Fire, slot_ms: int, why: str) -> tuple[RunState, str]:
    """The outcome of a slot that is not made up for: missed, but skipped if there was nobody who could have decided."""
    if slot_ms <= command.leaderless_through_ms:
        return RunState.SKIPPED, f"{LEADERLESS}; {why}"
    return RunState.MISSED, why


def _record(state: ClusterState, job: Job, slot_ms: int, outcome: RunState, reason: str) -> None:
    ledger.record_slot(state, job.uid, ledger.run_id_of_slot(job.uid, slot_ms), slot_ms, outcome, reason)


def _stale(state: ClusterState, detail: str) -> Refused:
    return Refused(state.index, Refusal.STALE_PLAN, detail)


def _flaw(command: Fire) -> str:
    """What is wrong with a plan that no planner makes; empty: nothing."""
    if len(command.slots) > SLOTS_PER_FIRE_MAX:
        return f"slots: {len(command.slots)}, at most {SLOTS_PER_FIRE_MAX} are fired at once"
    if command.unlisted_through_ms and not command.slots:
        return "unlisted_through_ms: the newest slots of a gap are listed"
    floor_ms = max(command.after_ms, command.unlisted_through_ms)
    if any(later <= earlier for earlier, later in pairwise((floor_ms, *command.slots))):
        return "slots: want to ascend from after_ms"
    if command.unlisted_through_ms and command.unlisted_through_ms <= command.after_ms:
        return "unlisted_through_ms: lies in decided time"
    if any(slot not in command.slots or not why for slot, why in command.left_out):
        return "left_out: wants slots, each with a reason"
    if command.through_ms < (command.slots[-1] if command.slots else command.after_ms):
        return "through_ms: wants not to lie before the last slot"
    if command.next_ms != -1 and command.next_ms <= command.through_ms:
        return "next_ms: wants to lie behind through_ms"
    return ""
