"""Restore: a snapshot comes in part by part, and then takes the place of what the cluster has, in one command.

Until that command nothing changes but the stage itself, which any restore can begin anew. What a snapshot holds is
taken over whole: a table that is added to ClusterState some day comes along by itself, unless it is named in KEPT.
A row there that hangs on a member or on an attempt of the old cluster has to be let go in `_let_go`, as nobody of the
old cluster is here to hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import fields, replace
from functools import cache
from hashlib import blake2b
from typing import Final

from peercron.core.apply.attempt import lose_attempt
from peercron.core.apply.configuration import begin_generation
from peercron.core.apply.lock import drop_waiters_of
from peercron.core.apply.order import tell_followers
from peercron.core.apply.run import advance, cancel, live_runs
from peercron.core.commands import AbandonRestore, AdoptSnapshot, BeginRestore, EndRuns, StageSnapshot
from peercron.core.level import behind
from peercron.core.limits import (
    NAME_LENGTH_MAX,
    RESTORE_BYTES_MAX,
    RESTORE_PART_BYTES_MAX,
    RESTORE_PARTS_MAX,
)
from peercron.core.restore import Stage
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: What only ever grows: the larger of both, and more.
GROWING: Final = frozenset({"index", "now_ms", "last_token", "generation"})
#: What belongs to the cluster that runs, not to what it knows: a snapshot's is not taken over.
KEPT: Final = GROWING | frozenset({
    "members", "seats", "removed", "invitations", "drained", "recoveries", "roster_revision",  # who is here
    "level",  # what they all speak
    "results", "floors", "answers", "answer_keys", "answer_count", "answers_floor",  # what is answered
    "changes", "change_count", "changes_bytes", "changes_floor",  # what is watched here; begins anew
    "wellness", "lacking",  # how they have been, and what they do not have
    "stage", "staged", "adopted",  # the restore itself
    "health", "edges", "watch_revision",  # what its members see: of other jobs from now on
    "tokens",  # who may do what here; a snapshot's are taken over where there are none
})  # fmt: skip
DIGEST_BYTES: Final = 32
LOST: Final = "the cluster that ran it is gone: its snapshot was restored into this one"
ENDING: Final = "everything here makes room for a snapshot"


@cache
def taken() -> tuple[str, ...]:
    """Names of the tables that a snapshot brings."""
    replicated = (field.name for field in fields(ClusterState) if not field.metadata.get("transient"))
    return tuple(name for name in replicated if name not in KEPT)


def begin_restore(state: ClusterState, command: BeginRestore) -> Verdict:
    refused = _flaw(state, command) or _occupied(state, command.restore_id, force=command.force)
    if refused is not None:
        return refused
    stage = state.stage
    if stage is None or (stage.restore_id, stage.parts, stage.size) != (
        command.restore_id,
        command.parts,
        command.size,
    ):
        _clear(state)
        stage = Stage(command.restore_id, state.index, command.parts, command.size, 0, state.now_ms)
    state.stage = replace(stage, touched_ms=state.now_ms)
    return Done(state.index, stage.begun)


def stage_snapshot(state: ClusterState, command: StageSnapshot) -> Verdict:
    stage, size = state.stage, len(command.data)
    if stage is None or stage.restore_id != command.restore_id:
        return _not_under_way(state, command.restore_id)
    present = state.staged.get(command.part)
    if present is not None and present != command.data:
        return Refused(state.index, Refusal.CONFLICT, f"part {command.part} has come already, and was another")
    if not 0 <= command.part < stage.parts or not 0 < size <= RESTORE_PART_BYTES_MAX:
        return Refused(state.index, Refusal.INVALID, f"part {command.part} of {stage.parts}: {size} bytes")
    if present is None and stage.arrived + size > stage.size:
        return Refused(state.index, Refusal.INVALID, f"part {command.part}: more than the {stage.size} bytes announced")
    state.staged[command.part] = command.data
    arrived = stage.arrived + (size if present is None else 0)
    state.stage = replace(stage, arrived=arrived, touched_ms=state.now_ms)
    return Done(state.index, command.part)


def end_runs(state: ClusterState, command: EndRuns) -> Verdict:
    """The answer is how many attempts are alive and have been asked to end."""
    stage = state.stage
    if stage is None or stage.restore_id != command.restore_id:
        return _not_under_way(state, command.restore_id)
    state.stage = replace(stage, ending=True, touched_ms=state.now_ms)
    for job_uid in tuple(state.live_runs):
        for run in live_runs(state, job_uid):
            cancel(state, run, ENDING)
    return Done(state.index, len_of(state.live_attempts))


def adopt_snapshot(state: ClusterState, command: AdoptSnapshot) -> Verdict:
    """The answer is the generation that begins."""
    stage = state.stage
    if stage is None or stage.restore_id != command.restore_id:
        if state.adopted == command.restore_id:
            return Done(state.index, state.generation)
        return _not_under_way(state, command.restore_id)
    refused = _incomplete(state, stage, command) or _occupied(state, command.restore_id, force=command.force)
    if refused is not None:
        return refused
    if state.live_attempts:
        detail = f"{len_of(state.live_attempts)} attempts are alive here; they have to end first"
        return Refused(state.index, Refusal.NOT_READY, detail)
    if state.staged_state is None:
        return Refused(state.index, Refusal.INVALID, "the parts are all there and hold no snapshot")
    refused = _not_spoken(state, state.staged_state.level)
    if refused is not None:
        return refused
    adopt(state, state.staged_state)
    state.happened("cluster", "restored", "", generation=state.generation)
    state.adopted = command.restore_id
    return Done(state.index, state.generation)


def abandon_restore(state: ClusterState, command: AbandonRestore) -> Verdict:
    stage = state.stage
    if stage is None or stage.restore_id != command.restore_id:
        return _not_under_way(state, command.restore_id)
    if command.if_touched_ms not in (None, stage.touched_ms):
        return Refused(state.index, Refusal.STALE_PLAN, f"restore {stage.restore_id} goes on")
    _clear(state)
    return Done(state.index)


def adopt(state: ClusterState, restored: ClusterState) -> None:
    """Put the tables of a snapshot in the place of ours, and go on from there. `restored` is used up.

    Cursors stay where the old cluster left them: what came due since then goes through each job's misfire policy.
    All is made ready in `restored` first, so that a defect on the way leaves the state as it was.
    """
    tokens = state.tokens or restored.tokens
    for name in KEPT - GROWING:
        setattr(restored, name, getattr(state, name))
    restored.tokens = tokens
    restored.stage, restored.staged, restored.health, restored.edges = None, {}, {}, {}
    restored.now_ms = max(state.now_ms, restored.now_ms)
    restored.last_token = max(state.last_token, restored.last_token)
    restored.index = max(state.index, restored.index + 1)
    begin_generation(restored, max(state.generation, restored.generation) + 1)
    restored.roster_revision = restored.index
    _let_go(restored)
    for name in (*taken(), *KEPT):
        setattr(state, name, getattr(restored, name))
    state.occupied = None
    state.client_waiters = None
    state.lines = restored.lines
    if state.tally is not None:
        state.tally.take_stock(state)


def len_of(table: Mapping[str, Sized]) -> int:
    """Rows of a table of tables."""
    return sum(map(len, table.values()))


def _let_go(restored: ClusterState) -> None:
    """Nobody of the old cluster is here: its live attempts are lost, and their runs go on as their policies say.

    Who waits for a lock has to ask again; who holds one has it until nobody has renewed it for as long as it lives.
    """
    restored.turns, restored.incumbents, restored.contests = {}, {}, {}
    drop_waiters_of(restored, None)
    for held in tuple(restored.live_attempts.values()):
        for run_id in tuple(held):
            lose_attempt(restored, restored.runs[run_id], LOST)
    for job_uid in tuple(restored.live_runs):
        advance(restored, job_uid)  # shards that waited for nodes of the old cluster
    tell_followers(restored)


def _clear(state: ClusterState) -> None:
    if state.stage is not None and state.stage.ending:
        state.roster_revision = state.index  # runs that waited meanwhile may find a node again
    state.stage, state.staged = None, {}


def _flaw(state: ClusterState, command: BeginRestore) -> Refused | None:
    if not 0 < len(command.restore_id) <= NAME_LENGTH_MAX:
        return Refused(state.index, Refusal.INVALID, f"restore_id: wants 1 to {NAME_LENGTH_MAX} characters")
    if not 0 < command.parts <= RESTORE_PARTS_MAX or not command.parts <= command.size <= RESTORE_BYTES_MAX:
        detail = (
            f"a snapshot of {command.size} bytes in {command.parts} parts; "
            f"at most {RESTORE_BYTES_MAX} in {RESTORE_PARTS_MAX} are taken"
        )
        return Refused(state.index, Refusal.LIMIT, detail)
    return _not_spoken(state, command.level)


def _not_spoken(state: ClusterState, needed: int) -> Refused | None:
    """A snapshot may hold what some members here do not know yet, and would have to stop at."""
    if needed <= state.level:
        return None
    detail = f"the snapshot is in level {needed} of the language, and {', '.join(behind(state, needed))}"
    return Refused(state.index, Refusal.UNSUPPORTED, detail)


def _occupied(state: ClusterState, restore_id: str, *, force: bool) -> Refused | None:
    """What a snapshot would replace stays, unless it was asked for."""
    if force or not any(getattr(state, name) for name in taken()):
        return None
    if state.adopted == restore_id:
        # For who sent it before and was not told what became of it.
        detail = "this very snapshot has been restored here already; by force it replaces everything once more"
        return Refused(state.index, Refusal.CONFLICT, detail)
    has = {"jobs": len(state.jobs), "runs": len(state.runs) + len_of(state.ended_runs), "keys": state.key_count}
    named = [f"{count} {what}" for what, count in has.items() if count]
    what = " and ".join(named) if named else "a history of jobs"
    return Refused(state.index, Refusal.CONFLICT, f"the cluster has {what}; a restore by force replaces everything")


def _incomplete(state: ClusterState, stage: Stage, command: AdoptSnapshot) -> Refused | None:
    if command.parts != stage.parts or len(state.staged) < stage.parts:
        detail = f"{len(state.staged)} of {stage.parts} parts are here, {command.parts} are wanted"
        return Refused(state.index, Refusal.NOT_READY, detail)
    whole = blake2b(digest_size=DIGEST_BYTES)
    for part in range(stage.parts):
        whole.update(state.staged[part])
    if whole.digest() != command.digest:
        return Refused(state.index, Refusal.INVALID, "the parts are not those of the digest")
    return None


def _not_under_way(state: ClusterState, restore_id: str) -> Refused:
    return Refused(state.index, Refusal.CONFLICT, f"no restore {restore_id} is under way; another took its place")
