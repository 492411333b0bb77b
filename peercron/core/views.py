"""Views: rows of the state as plain data for people and programs, and as canonical rows for digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from peercron.core.history import find_entry, find_run, shard_as_run
from peercron.core.job import Job, Mode
from peercron.core.level import default_of, late_fields
from peercron.core.member import Member
from peercron.core.placement.turns import line_of
from peercron.core.run import LIVE_RUN_STATES, Attempt, LedgerEntry, Run, RunState
from peercron.core.shards import live_shards
from peercron.core.state import ClusterState
from peercron.core.work import item_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(at_ms: int | None) -> str | None:
    """RFC 3339, UTC, milliseconds.

    >>> instant(1_500)
    '1970-01-01T00:00:01.500Z'
    """
    if at_ms is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def run_view(state: ClusterState, run: Run) -> dict[str, Any]:
    """Run JSON. `output_tail` is that of the last attempt."""
    return {
        "id": run.id,
        "job": run.job_key,
        "slot": run.slot_ms,
        "scheduled_for": instant(run.slot_ms),
        "manual": run.manual,
        "state": run.state.value,
        "params": dict(run.params),
        "reason": run.reason,
        "cause": run.cause,
        "cancel_requested": run.cancel_requested,
        "created_at": instant(run.created_ms),
        "not_before": instant(run.not_before_ms or None),
        "finished_at": instant(run.finished_ms),
        "checkpoint_bytes": len(run.checkpoint),
        "mode": _mode_of(state, run),
        "attempts": [_attempt_view(state, attempt) for attempt in run.attempts],
        "output_tail": run.attempts[-1].output_tail if run.attempts else "",
        **item_of(state, run),
        **_shards_view(state, run),
    }


def _mode_of(state: ClusterState, run: Run) -> str | None:
    """How the nodes share the run; None: its job is gone."""
    job = state.jobs.get(run.job_uid)
    definition = run.definition or (job.definition if job is not None else None)
    return definition.mode.value if definition is not None else None


def _shards_view(state: ClusterState, run: Run) -> dict[str, Any]:
    """What the nodes that share the run make of it; nothing, where one does it."""
    if run.parent:
        return {"parent": run.parent, "shard": run.shard}
    if not run.shards and run.id not in state.contests:
        return {}
    shards = [*(shard_as_run(run, shard) for shard in run.ended), *live_shards(state, run)]
    rows = [_shard_view(state, shard) for shard in sorted(shards, key=lambda shard: shard.shard)]
    asked = [_name_of(state, member_id) for member_id in state.contests.get(run.id, ())]
    barrier = {"barrier_opened_at": instant(run.opened_ms or None)} if run.barrier_by_ms else {}
    return {"shards": rows, "asked": asked, **barrier}


def _shard_view(state: ClusterState, shard: Run) -> dict[str, Any]:
    last = shard.attempts[-1] if shard.attempts else None
    return {
        "id": shard.id,
        "n": shard.shard,
        "node": _name_of(state, shard.member),
        "state": shard.state.value,
        "reason": shard.reason,
        "attempt": _attempt_view(state, last) if last is not None else None,
    }


def find_run_view(state: ClusterState, run_id: str) -> dict[str, Any] | None:
    """Run JSON of a run, or of a slot that only the ledger knows (skipped, missed, or long ago); None: unknown."""
    run = find_run(state, run_id)
    if run is not None:
        return run_view(state, run)
    entry = find_entry(state, run_id)
    if entry is None:
        return None
    uid = run_id.partition("/")[0]
    job = state.jobs.get(uid)
    return _run_view_of_entry(state, entry, job.key if job is not None else state.deleted_jobs[uid])


def chosen_jobs(state: ClusterState, namespace: str | None, owner: str | None) -> list[Job]:
    """Jobs of a namespace and an owner, in order of creation; None: of any."""
    return [
        job
        for job in state.jobs.values()
        if (namespace is None or job.definition.namespace == namespace)
        and (owner is None or job.definition.owner == owner)
    ]


def job_view(state: ClusterState, job: Job, definition: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster's bookkeeping of a job beside its definition, which comes in the words of jobs.toml.

    `next` is null while the job is paused, when nothing is due any more, and until the leader has computed it.
    """
    cursor = state.cursors[job.uid]
    live = [state.runs[run_id] for run_id in state.live_runs.get(job.uid, ())]
    upcoming = cursor.next_ms if cursor.next_ms != -1 and not (job.paused or state.paused) else None
    return {
        **definition,
        "mode": job.definition.mode.value,
        **_standing_view(state, job),
        "uid": job.uid,
        "key": job.key,
        "revision": job.revision,
        "paused": job.paused,
        "created_at": instant(job.created_ms),
        "updated_at": instant(job.updated_ms),
        "next": instant(upcoming),
        "running": sum(run.state is RunState.RUNNING for run in live),
        "queued": sum(run.state is RunState.QUEUED for run in live),
    }


def _standing_view(state: ClusterState, job: Job) -> dict[str, Any]:
    """Who is next, where the mode knows it: the incumbent of a standby job, the line of a job that goes in turns."""
    match job.definition.mode:
        case Mode.STANDBY:
            holder = state.incumbents.get(job.uid)
            return {"incumbent": _name_of(state, holder.member) if holder else None}
        case Mode.TURNS:
            line = line_of(state, job)
            return {"line": [_name_of(state, place.member) for place in line]}
        case _:
            return {}


def ledger_view(state: ClusterState, entry: LedgerEntry) -> dict[str, Any]:
    """One line of a job's ledger."""
    return {
        "run": entry.run_id,
        "slot": entry.slot_ms,
        "scheduled_for": instant(entry.slot_ms),
        "manual": entry.manual,
        "outcome": entry.outcome.value,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "node": _name_of(state, entry.member) or None,
        "token": entry.token or None,
        "decided_at": instant(entry.decided_ms),
    }


def member_view(state: ClusterState, member: Member) -> dict[str, Any]:
    """A member as the state machine knows it; what only its peers measure is added by the node."""
    info = member.info
    return {
        "id": info.id,
        "name": info.name,
        "address": info.address,
        "http": info.http,
        "dc": info.dc,
        "tags": dict(info.tags),
        "role": info.role.value,
        "version": info.version,
        "session": member.session,
        "open": member.open,
        "since": instant(member.opened_ms),
        "expired_at": instant(member.expired_ms),
        "running": len(state.live_attempts.get(info.id, ())),
        "drained": info.id in state.drained,
    }


def digest_rows(state: ClusterState) -> Iterator[tuple[Any, ...]]:
    """Every row of every replicated table as (table, key.., fields..), plain values only, in the order of the tables.

    The order of insertion is part of it: commands read the tables in this order, so members that differ in it may part
    later. Not part of it is what is not replicated, nor what a newer version added and nobody uses: members of both
    versions have the same rows.
    """
    for name in _replicated():
        value = getattr(state, name)
        if name not in _unsaid() or value != _unsaid()[name]:
            yield from _rows((name,), value)


def digest(state: ClusterState) -> str:
    """A fingerprint of the replicated data: equal on all members at the same index."""
    sum_of_rows = blake2b(digest_size=16)
    for row in digest_rows(state):
        sum_of_rows.update(repr(row).encode())
    return sum_of_rows.hexdigest()


def _attempt_view(state: ClusterState, attempt: Attempt) -> dict[str, Any]:
    return {
        "n": attempt.n,
        "node": _name_of(state, attempt.member),
        "token": attempt.token,
        "state": attempt.state.value,
        "assigned_at": instant(attempt.assigned_ms),
        "started_at": instant(attempt.started_ms),
        "finished_at": instant(attempt.finished_ms),
        "exit_code": attempt.exit_code,
        "reason": attempt.reason,
        "note": attempt.note,
        "why": attempt.why,
    }


def _run_view_of_entry(state: ClusterState, entry: LedgerEntry, job_key: str) -> dict[str, Any]:
    """What is left of a run whose row is gone, in the shape of Run JSON; a slot that got no run looks the same."""
    assert entry.outcome not in LIVE_RUN_STATES, "the ledger has outcomes"
    ended = Run(
        *(entry.run_id, "", job_key, entry.slot_ms, entry.manual, entry.outcome),
        created_ms=entry.slot_ms,
        finished_ms=entry.decided_ms,
        reason=entry.reason,
    )
    return run_view(state, ended)


def _name_of(state: ClusterState, member_id: str) -> str:
    member = state.members.get(member_id)
    return member.info.name if member is not None else member_id


@cache
def _replicated() -> tuple[str, ...]:
    return tuple(field.name for field in fields(ClusterState) if not field.metadata.get("transient"))


@cache
def _unsaid() -> dict[str, Any]:
    """Tables that came after level 1, as they are while nobody uses them."""
    return {field.name: default_of(field) for field in late_fields(ClusterState)}


def _rows(key: tuple[Any, ...], value: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _rows((*key, name), inner)
    else:
        yield (*key, plain(value))


def plain(value: Any) -> Any:
    """A value of a row as integers, strings, bytes, None and tuples; a row begins with the name of its type."""
    kind: type = type(value)
    return _plain_of(kind)(value)


@cache
def _plain_of(kind: type) -> Callable[[Any], Any]:
    """How values of one type become plain, found once per type."""
    if issubclass(kind, tuple):
        return lambda items: tuple([plain(item) for item in items])
    if issubclass(kind, Enum):
        return attrgetter("value")
    if is_dataclass(kind):
        return _plain_row(kind)
    assert kind in {int, str, bytes, bool, type(None)}, f"{kind.__name__} is not replicated data"
    return lambda value: value


def _plain_row(kind: type) -> Callable[[Any], Any]:
    name, columns = kind.__name__, tuple(field.name for field in fields(kind))
    late = [(field.name, default_of(field)) for field in late_fields(kind)]

    def plain_row(row: Any) -> Any:
        said = len(columns)
        for column, default in reversed(late):
            if getattr(row, column) != default:
                break
            said -= 1
        return (name, *[plain(getattr(row, column)) for column in columns[:said]])

    return plain_row
