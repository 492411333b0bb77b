"""History: what has ended, kept packed: bytes that wait until somebody asks, since most of a cluster's state is past.

A packed row is a JSON array of what the row says beyond its job, equal bytes on every member. It takes a fifth of the
row's memory, the collector never looks into it, and a snapshot carries it as it is: neither a restart nor a million
entries more cost a look at each. A field that comes later (see `level`) stands at the end, and is left out at its
default, so that members of an older release write the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import astuple, replace
from functools import cache
from json import dumps, loads
from json.encoder import encode_basestring as quoted
from typing import Any

from peercron.core.level import default_of, late_fields
from peercron.core.limits import RECENT_RUNS_KEPT
from peercron.core.run import Attempt, AttemptState, LedgerEntry, Run, RunState, Shard
from peercron.core.state import ClusterState


def pack_run(run: Run) -> bytes:
    """An ended run as bytes. Its job's uid and key are not among them: who keeps it knows them."""
    attempts = ",".join([_attempt(attempt) for attempt in run.attempts])
    text = (
        f'["{_named(run.id, run.slot_ms)}",{run.slot_ms},"{run.state}",{run.created_ms},[{attempts}],'
        f"{_number(run.finished_ms)},{quoted(run.reason)},{int(run.cancel_requested)}{_late(run)}]"
    )
    return text.encode("utf-8", "surrogatepass")


def _late(row: Run | Attempt) -> str:
    """What came after level 1, up to the last field that says something."""
    kind: type = type(row)
    values = [(getattr(row, name), default) for name, default in _late_fields(kind)]
    while values and values[-1][0] == values[-1][1]:
        values.pop()
    return "".join([f",{_json(value)}" for value, _ in values])


def _json(value: Any) -> str:
    return dumps(value, ensure_ascii=False, separators=(",", ":"), default=astuple)


@cache
def _late_fields(row: type) -> tuple[tuple[str, Any], ...]:
    """(name, default) of each; what only a live run has is not kept."""
    return tuple([(field.name, default_of(field)) for field in late_fields(row) if field.name != "checkpoint"])


def _attempt(attempt: Attempt) -> str:
    return (
        f'[{attempt.n},{quoted(attempt.member)},{attempt.session},{attempt.token},"{attempt.state}",'
        f"{attempt.assigned_ms},{_number(attempt.started_ms)},{_number(attempt.finished_ms)},"
        f"{_number(attempt.exit_code)},{quoted(attempt.reason)},{quoted(attempt.output_tail)},{quoted(attempt.note)}"
        f"{_late(attempt)}]"
    )


def unpack_run(job_uid: str, job_key: str, packed: bytes) -> Run:
    """The run that `pack_run` made this of."""
    named, slot_ms, state, created_ms, attempts, finished_ms, reason, cancel_requested, *late = loads(packed)
    later = {name: _frozen(value) for (name, _), value in zip(_late_fields(Run), late, strict=False)}
    later["ended"] = tuple([_unpack_shard(*fields) for fields in later.get("ended", ())])
    return Run(
        *(f"{job_uid}/{named or slot_ms}", job_uid, job_key, slot_ms, _by_hand(named), RunState(state), created_ms),
        attempts=tuple([_unpack_attempt(fields) for fields in attempts]),
        finished_ms=finished_ms,
        reason=reason,
        cancel_requested=bool(cancel_requested),
        **later,
    )


def _frozen(value: Any) -> Any:
    """What was a tuple before it was JSON is one again."""
    return tuple([_frozen(each) for each in value]) if isinstance(value, list) else value


def _unpack_attempt(fields: list[Any]) -> Attempt:
    fields[4] = AttemptState(fields[4])
    return Attempt(*fields)


def _unpack_shard(n: int, member: str, state: str, attempts: list[list[Any]], finished_ms: int, reason: str) -> Shard:
    rows = tuple([_unpack_attempt(list(fields)) for fields in attempts])
    return Shard(n, member, RunState(state), rows, finished_ms, reason)


def pack_entry(entry: LedgerEntry) -> bytes:
    """An entry of the ledger as bytes; its job's uid is not among them."""
    text = (
        f'["{_named(entry.run_id, entry.slot_ms)}",{entry.slot_ms},"{entry.outcome}",{quoted(entry.reason)},'
        f"{entry.attempts},{quoted(entry.member)},{entry.token},{entry.decided_ms}]"
    )
    return text.encode("utf-8", "surrogatepass")


def unpack_entry(job_uid: str, packed: bytes) -> LedgerEntry:
    """The entry that `pack_entry` made this of."""
    named, slot_ms, outcome, *rest = loads(packed)
    return LedgerEntry(f"{job_uid}/{named or slot_ms}", slot_ms, _by_hand(named), RunState(outcome), *rest)


def is_of(run_id: str, packed: bytes) -> bool:
    """Whether the packed row is that of this run of its job; without unpacking it."""
    return packed.startswith(_beginning(run_id))


def find_run(state: ClusterState, run_id: str) -> Run | None:
    """A run that is alive, or one that has ended and is kept in full."""
    run = state.runs.get(run_id)
    if run is not None:
        return run
    parent_id, mark, n = run_id.rpartition("#")
    if mark:
        return _ended_shard(find_run(state, parent_id), n)
    ended = _unpacked_runs(state, run_id.partition("/")[0], _matching(state.ended_runs, run_id))
    return next((run for run in ended if run.id == run_id), None)


def _ended_shard(parent: Run | None, n: str) -> Run | None:
    """The shard of this number as a run, if it has ended."""
    if parent is None:
        return None
    return next((shard_as_run(parent, shard) for shard in parent.ended if str(shard.n) == n), None)


def shard_as_run(parent: Run, shard: Shard) -> Run:
    """What was a run of its own while it lived."""
    return replace(
        parent,
        id=f"{parent.id}#{shard.n}",
        state=shard.state,
        attempts=shard.attempts,
        finished_ms=shard.finished_ms,
        reason=shard.reason,
        definition=None,
        parent=parent.id,
        shard=shard.n,
        member=shard.member,
        ended=(),
        barrier_by_ms=0,
        opened_ms=0,
    )


def find_entry(state: ClusterState, run_id: str) -> LedgerEntry | None:
    """What the ledger says of a slot or a manual run."""
    uid = run_id.partition("/")[0]
    entries = (unpack_entry(uid, packed) for packed in _matching(state.ledger, run_id))
    return next((entry for entry in entries if entry.run_id == run_id), None)


def runs_of(state: ClusterState, job_uid: str) -> Iterator[Run]:
    """Runs of a job that are alive or kept in full, the newest first."""
    for run_id in reversed(state.live_runs.get(job_uid, ())):
        yield state.runs[run_id]
    yield from _unpacked_runs(state, job_uid, reversed(state.ended_runs.get(job_uid, ())))


def entries_of(state: ClusterState, job_uid: str) -> Iterator[LedgerEntry]:
    """The ledger of a job, the oldest decision first."""
    return (unpack_entry(job_uid, packed) for packed in state.ledger.get(job_uid, ()))


def last_entry(state: ClusterState, job_uid: str) -> LedgerEntry | None:
    """The newest decision about a slot of the job."""
    entries = state.ledger.get(job_uid)
    return unpack_entry(job_uid, entries[-1]) if entries else None


def packed_since(state: ClusterState, job_uid: str, since_ms: int) -> tuple[bytes, ...]:
    """The part of a job's ledger that was decided at this instant or later, packed; few are looked at to find it."""
    entries = state.ledger.get(job_uid, ())
    return entries[bisect_left(entries, since_ms, key=_decided_ms) :]


def has_outcome(packed: bytes, outcome: RunState) -> bool:
    """Whether the packed entry says that its slot ended so; without unpacking it."""
    return packed.split(b",", 3)[2] == f'"{outcome}"'.encode()


def _decided_ms(packed: bytes) -> int:
    """Of a packed entry: its last field."""
    return int(packed[packed.rindex(b",") + 1 : -1])


def recent_runs(state: ClusterState) -> Iterator[Run]:
    """The live runs, and of the last RECENT_RUNS_KEPT that were created those that are kept; the newest first.

    The state may move on while it is asked for the next.
    """
    recent = min(state.run_count, RECENT_RUNS_KEPT)
    ids = [state.recent_runs[(state.run_count - back) % RECENT_RUNS_KEPT] for back in range(1, recent + 1)]
    if state.run_count > RECENT_RUNS_KEPT:
        newer = frozenset(ids)
        ids += [run_id for run_id in reversed(state.runs) if run_id not in newer]
    return (run for run_id in ids if (run := find_run(state, run_id)) is not None)


def _unpacked_runs(state: ClusterState, job_uid: str, packed: Iterator[bytes]) -> Iterator[Run]:
    job = state.jobs.get(job_uid)
    for each in packed:
        yield unpack_run(job_uid, job.key if job is not None else state.deleted_jobs[job_uid], each)


def _matching(table: dict[str, tuple[bytes, ...]], run_id: str) -> Iterator[bytes]:
    beginning = _beginning(run_id)
    return (packed for packed in reversed(table.get(run_id.partition("/")[0], ())) if packed.startswith(beginning))


def _beginning(run_id: str) -> bytes:
    name = run_id.partition("/")[2]
    return (f'["",{name},' if name.isdecimal() else f'["{name}",').encode("utf-8", "surrogatepass")


def _named(run_id: str, slot_ms: int) -> str:
    """What a run is named within its job, if not by its slot: "m" and a number by hand, "e" and one after an event."""
    name = run_id.partition("/")[2]
    return "" if name == str(slot_ms) else name


def _by_hand(named: str) -> bool:
    return named.startswith("m")


def _number(value: int | None) -> int | str:
    return "null" if value is None else value
