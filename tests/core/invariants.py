"""What must hold of every state, and of every step from one to the next: brute force, knowing only the rows.

Nothing here calls the code under test; each table is computed anew from the rows it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from peercron.core.capacity import counted
from peercron.core.history import unpack_entry, unpack_run
from peercron.core.job import Cursor, Definition, Mode, OnAbsent, Overlap, Trigger
from peercron.core.lease import LeaseKind
from peercron.core.limits import (
    ANSWERS_KEPT,
    CHANGES_KEPT,
    CHANGES_KEPT_BYTES,
    DELETED_JOBS_KEPT,
    JOBS_MAX,
    LEDGER_KEPT,
    LEDGER_KEPT_PER_JOB,
    LIVE_RUNS_PER_JOB_MAX,
    MEMBERS_MAX,
    QUEUED_SLOTS_MAX,
    RECENT_RUNS_KEPT,
    RESULTS_PER_SESSION_MAX,
    RUNS_KEPT_PER_JOB,
    SLICE_SHARES_KEPT,
    TOKENS_MAX,
)
from peercron.core.occasion import EventTrigger, ProbeTrigger, QueueTrigger
from peercron.core.run import LIVE_ATTEMPT_STATES, LIVE_RUN_STATES, Attempt, LedgerEntry, Run, RunState
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from tests.core.invariants_of_locks import in_force, locks
from tests.core.invariants_of_queues import queue_violations

#: Of an attempt that a node gave to itself.
NO_SESSION = 0


def violations(state: ClusterState) -> list[str]:
    """Sentences about what is wrong with the state; empty: nothing."""
    checks = (
        *(_runs, _lines, _attempts, _live_attempts, _unplaced, _ledger, _jobs, _members, _shards, _retries, _bounds),
        *(_leases, _slices, _keys, _changes, _answers, _health, _standing, _order, _pools, _lacking, _tokens),
        queue_violations,
        locks,
    )
    return [problem for check in checks for problem in check(state)]


def _kept(state: ClusterState) -> list[Run]:
    """All runs: those that live, and those that have ended and are kept in full."""
    kept = [*state.runs.values(), *(run for uid in state.ended_runs for run in _ended(state, uid))]
    return kept + [shard for run in kept for shard in _ended_shards(run)]


def _ended_shards(run: Run) -> list[Run]:
    return [
        replace(run, id=f"{run.id}#{shard.n}", state=shard.state, attempts=shard.attempts, ended=(), parent=run.id)
        for shard in run.ended
    ]


def _ended(state: ClusterState, uid: str) -> list[Run]:
    key = state.jobs[uid].key if uid in state.jobs else state.deleted_jobs.get(uid, "")
    return [_unpacked_run(uid, key, packed) for packed in state.ended_runs[uid]]


def _entries(state: ClusterState, uid: str) -> list[LedgerEntry]:
    return [_unpacked_entry(uid, packed) for packed in state.ledger[uid]]


#: Packed rows do not change, and every step looks at all of them.
_unpacked_run, _unpacked_entry = lru_cache(100_000)(unpack_run), lru_cache(100_000)(unpack_entry)


def _runs(state: ClusterState) -> Iterator[str]:
    for run_id, run in [
        *state.runs.items(),
        *((run.id, run) for uid in state.ended_runs for run in _ended(state, uid)),
    ]:
        if (run.state in LIVE_RUN_STATES) != (run_id in state.runs):
            yield f"run {run_id} is {run.state} and among the wrong ones"
        if run.id != run_id or not run_id.startswith(f"{run.job_uid}/"):
            yield f"run {run_id} is filed under a name that is not its own"
        if _of_slot(run) and not run.parent and run_id != f"{run.job_uid}/{run.slot_ms}":
            yield f"run {run_id} is not named by its slot"
        if (run.state is RunState.RUNNING) != (run.live_attempt is not None or _is_shared(state, run)):
            yield f"run {run_id} is {run.state} with attempts {run.attempts}"
        begun = bool(run.attempts or run.parent or run.shards) or run_id in state.contests or _is_shared(state, run)
        # One that nobody contended for was begun too, and is asked about again.
        if run.definition is None and run.state in LIVE_RUN_STATES and begun:
            yield f"run {run_id} has begun and does not pin what it does"
        if run.definition is not None and not (run.state in LIVE_RUN_STATES and (begun or _contended(run))):
            yield f"run {run_id} pins what it does although nothing was granted, or the other way round"
        if run.checkpoint and run.state not in LIVE_RUN_STATES:
            yield f"run {run_id} has ended and keeps its checkpoint"
        if (run.finished_ms is None) != (run.state in LIVE_RUN_STATES):
            yield f"run {run_id} is {run.state}, finished at {run.finished_ms}"
        if run.not_before_ms and run.state is not RunState.QUEUED:
            yield f"run {run_id} is {run.state} and waits for its time"
        if run.state in {RunState.SKIPPED, RunState.MISSED}:
            yield f"run {run_id} has an outcome of slots that got no run"


def _of_slot(row: Run | LedgerEntry) -> bool:
    """Whether it is the work for a slot of a schedule, and not for an event or for somebody who asked."""
    run_id = row.id if isinstance(row, Run) else row.run_id
    event = run_id.partition("/")[2].startswith("e")
    return not row.manual and not event


def _contended(run: Run) -> bool:
    return run.definition is not None and run.definition.mode is Mode.CONTEND


def _is_shared(state: ClusterState, run: Run) -> bool:
    """Whether it runs by its shards, or by asking who contends for it."""
    if run.parent or run.state is not RunState.RUNNING:
        return False
    return run.id in state.contests or any(each.parent == run.id for each in state.runs.values())


def _shards(state: ClusterState) -> Iterator[str]:
    for run in state.runs.values():
        parent = state.runs.get(run.parent)
        if run.parent and (parent is None or parent.state is not RunState.RUNNING):
            yield f"shard {run.id} lives on after its run"
        if parent is not None and (run.id != f"{parent.id}#{run.shard}" or run.shard >= parent.shards):
            yield f"shard {run.id} is not among the {parent.shards} of its run"
        if parent is not None and parent.cancel_requested and not run.cancel_requested:
            yield f"shard {run.id} goes on although its run was cancelled"
        alive = [each for each in state.runs.values() if each.parent == run.id and each.live_attempt]
        one = run.definition is not None and (run.definition.mode is Mode.CONTEND or run.definition.order)
        if one and len(alive) > 1:
            yield f"{len(alive)} shards of {run.id} run at once, and only one may"
        numbers = [shard.n for shard in run.ended]
        if len(set(numbers)) < len(numbers) or any(f"{run.id}#{n}" in state.runs for n in numbers):
            yield f"a shard of {run.id} has ended twice, or lives"
    for run_id, called in state.contests.items():
        run = state.runs.get(run_id)
        if run is None or run.state is not RunState.RUNNING or not _contended(run) or run.cancel_requested:
            yield f"it is asked who contends for {run_id}, which is {run}"
        if not called or any(not state.members[member].open for member in called):
            yield f"the dead are asked whether they contend for {run_id}"


def _lines(state: ClusterState) -> Iterator[str]:
    live = Counter(run_id for line in state.live_runs.values() for run_id in line)
    if live != Counter(run_id for run_id, run in state.runs.items() if not run.parent):
        yield "live_runs are not the live runs"
    for uid, line in state.live_runs.items():
        if any(state.runs[run_id].job_uid != uid for run_id in line if run_id in state.runs):
            yield f"a run stands in the line of another job, {uid}"
    ended = Counter(run.id for uid in state.ended_runs for run in _ended(state, uid))
    if ended and max(ended.values()) > 1:
        yield "a run has ended twice"
    newest = {n % RECENT_RUNS_KEPT for n in range(max(0, state.run_count - RECENT_RUNS_KEPT), state.run_count)}
    if state.recent_runs.keys() != newest:
        yield "recent_runs are not the newest"
    if state.run_count <= RECENT_RUNS_KEPT and not live.keys() | ended.keys() <= set(state.recent_runs.values()):
        yield "a run was never counted"


def _attempts(state: ClusterState) -> Iterator[str]:
    granted = [attempt for run in _kept(state) for attempt in run.attempts if attempt.session != NO_SESSION]
    tokens = [attempt.token for attempt in granted]
    if len(set(tokens)) < len(tokens):
        yield "a token names two attempts"
    if max(tokens, default=0) > state.last_token or state.last_token > state.index:
        yield "a token lies in the future"
    for run in _kept(state):
        if any((attempt.session == NO_SESSION) != (attempt.token == run.slot_ms) for attempt in run.attempts):
            yield f"{run.id} has an attempt that neither the cluster nor its slot gave"
        if [attempt.n for attempt in run.attempts] != list(range(1, len(run.attempts) + 1)):
            yield f"attempts of {run.id} are not numbered 1, 2, 3"
        if any(later.token <= earlier.token for earlier, later in pairwise(run.attempts)):
            yield f"tokens of {run.id} do not grow"
        if any(attempt.state in LIVE_ATTEMPT_STATES for attempt in run.attempts[:-1]):
            yield f"two attempts of {run.id} are alive, or one that was superseded"


def _live_attempts(state: ClusterState) -> Iterator[str]:
    found: dict[str, dict[str, int]] = {}
    for run in _kept(state):
        for attempt in run.attempts:
            if attempt.state not in LIVE_ATTEMPT_STATES:
                continue
            found.setdefault(attempt.member, {})[run.id] = attempt.token
            member = state.members.get(attempt.member)
            if member is None or not member.open or member.session != attempt.session:
                yield f"the live attempt of {run.id} belongs to a session that is not open"
    if found != state.live_attempts:
        yield f"live_attempts are {state.live_attempts}, not {found}"


def _unplaced(state: ClusterState) -> Iterator[str]:
    found = set()
    for uid, line in state.live_runs.items():
        job = state.jobs.get(uid)
        if job is None:
            continue
        rows = [state.runs[run_id] for run_id in line if run_id in state.runs]
        fed = [run for run in rows[1:] if run.delivery]
        first = rows if job.definition.overlap is Overlap.ALLOW else [*rows[:1], *fed]
        pulled = [run for run in first if run.delivery or not run.posted]
        found |= {run.id for run in pulled if run.state is RunState.QUEUED}
    for run in state.runs.values():
        found |= _shards_in_line(state, run)
    if found != set(state.unplaced):
        yield f"runs that wait for a node are {found}, not {set(state.unplaced)}"


def _shards_in_line(state: ClusterState, run: Run) -> set[str]:
    """Shards of the run that shall be granted next."""
    live = sorted((each for each in state.runs.values() if each.parent == run.id), key=lambda each: each.shard)
    queued = [each.id for each in live if each.state is RunState.QUEUED]
    assert not live or run.definition is not None
    if run.definition is not None and (run.definition.mode is Mode.CONTEND or run.definition.order):
        return set(queued[:1]) if len(queued) == len(live) else set()
    return set(queued)


def _ledger(state: ClusterState) -> Iterator[str]:
    for uid in state.ledger:
        cursor, entries = state.cursors.get(uid), _entries(state, uid)
        names = [entry.run_id for entry in entries]
        if len(set(names)) < len(names):
            yield f"a slot of job {uid} has two outcomes"
        ended = {run.id: run for run in _ended(state, uid)} if uid in state.ended_runs else {}
        for entry in entries:
            yield from _entry(state, entry, ended.get(entry.run_id), cursor)
        if len(entries) < min(LEDGER_KEPT_PER_JOB, LEDGER_KEPT // JOBS_MAX) and not ended.keys() <= set(names):
            yield f"an ended run of job {uid} is not in its ledger"
    if not state.ended_runs.keys() <= state.ledger.keys():
        yield "runs have ended of which the ledger knows nothing"


def _tries(run: Run) -> int:
    return len(run.attempts) + sum(len(shard.attempts) for shard in run.ended)


def _entry(state: ClusterState, entry: LedgerEntry, run: Run | None, cursor: Cursor | None) -> Iterator[str]:
    run_id = entry.run_id
    if run_id in state.runs or entry.outcome in LIVE_RUN_STATES:
        yield f"ledger entry {run_id} is no outcome of {run_id}"
    if _of_slot(entry) and run_id.partition("/")[2] != str(entry.slot_ms):
        yield f"ledger entry {run_id} is not named by its slot"
    if run is not None and (run.state, _tries(run)) != (entry.outcome, entry.attempts):
        yield f"slot {run_id} is {entry.outcome} in the ledger and {run.state} as a run"
    if entry.outcome in {RunState.SKIPPED, RunState.MISSED} and not entry.reason:
        yield f"slot {run_id} was {entry.outcome} for no reason"
    by_itself = run_id.partition("/")[0] in state.slices
    if cursor is not None and _of_slot(entry) and not by_itself and entry.slot_ms > cursor.after_ms:
        yield f"slot {run_id} is decided and lies behind the cursor"


def _jobs(state: ClusterState) -> Iterator[str]:
    if state.job_uids != {job.key: uid for uid, job in state.jobs.items()} or len(state.job_uids) != len(state.jobs):
        yield "job_uids are not the jobs' keys"
    if state.cursors.keys() != state.jobs.keys():
        yield "not every job has its cursor"
    if state.jobs.keys() & state.deleted_jobs.keys():
        yield "a deleted job lives"
    known = state.jobs.keys() | state.deleted_jobs.keys()
    for table in (state.live_runs, state.ended_runs, state.ledger):
        if not table.keys() <= known:
            yield f"something is kept of jobs that nobody knows: {table.keys() - known}"
    for uid, job in state.jobs.items():
        if job.uid != uid or not 0 < job.revision <= state.index:
            yield f"job {uid} is {job}"
    for run in state.runs.values():
        if run.job_uid in state.deleted_jobs and run.state in LIVE_RUN_STATES and not run.cancel_requested:
            yield f"run {run.id} of a deleted job goes on"


def _slices(state: ClusterState) -> Iterator[str]:
    alone = {uid for uid, job in state.jobs.items() if _unled(job.definition)}
    if {uid for uid in state.slices if uid in state.jobs} != alone:
        yield f"{alone} fire by themselves, and time is shared for {list(state.slices)}"
    if not state.slices.keys() <= state.jobs.keys() | state.deleted_jobs.keys():
        yield "time is shared for jobs that nobody knows"
    if not state.slices_through.keys() <= state.slices.keys() or not all(state.slices_through.values()):
        yield "something was told of jobs that are in no slices"
    for uid, slices in state.slices.items():
        since = [share.since_ms for share in slices.shares]
        if not since or any(later <= earlier for earlier, later in pairwise(since)) or len(since) > SLICE_SHARES_KEPT:
            yield f"the shares of {uid} are {slices.shares}"
        for before, after in pairwise(slices.shares):
            if (after.since_ms + 1) % before.slice_ms:
                yield f"the shares of {uid} change within a slice"


def _unled(definition: Definition) -> bool:
    return definition.mode is Mode.SLICE and definition.on_absent is OnAbsent.SKIP


def _order(state: ClusterState) -> Iterator[str]:
    after = {job.uid: job.definition.after for job in state.jobs.values() if job.definition.after}
    found: dict[str, set[str]] = {}
    for uid, keys in after.items():
        for key in keys:
            found.setdefault(key, set()).add(uid)
    if {key: set(uids) for key, uids in state.followers.items()} != found:
        yield f"followers are {state.followers}, not {found}"
    if not found.keys() <= state.job_uids.keys():
        yield "a job comes after one that is not there"
    for uid, heard in state.joins.items():
        if not heard or not heard.keys() < set(after.get(uid, ())):
            yield f"job {uid} has heard of {list(heard)} and waits for {after.get(uid)}"
    if state.ended:
        yield "what has ended was not told to those who wait for it"


def _tokens(state: ClusterState) -> Iterator[str]:
    rows = list(state.tokens.values())
    if len({row.name for row in rows}) < len(rows) or len(rows) > TOKENS_MAX:
        yield f"{len(rows)} tokens share names, or are too many"
    if rows and not any(Scope.ADMIN in row.scopes for row in rows):
        yield "nobody can make a token any more"
    if any(not row.scopes or row.created_ms > state.now_ms for row in rows) or any(len(d) != 32 for d in state.tokens):
        yield "a token is none"


def _pools(state: ClusterState) -> Iterator[str]:
    for name, line in state.pool_lines.items():
        for run_id in line:
            run = state.runs.get(run_id)
            if run is None or run_id not in state.unplaced or state.jobs[run.job_uid].definition.pool != name:
                yield f"run {run_id} stands in the line of pool {name} and does not wait for it"
    if state.occupied is not None and state.occupied != counted(state):
        yield f"what is counted is {state.occupied}, not {counted(state)}"


def _members(state: ClusterState) -> Iterator[str]:
    names = [member.info.name for member in state.members.values()]
    if len(set(names)) < len(names):
        yield "two members have one name"
    if any(member.info.id != member_id for member_id, member in state.members.items()):
        yield "a member is filed under another's id"
    addresses = {seat.address for seat in state.seats.values()}
    if any(invited.address != key or key in addresses for key, invited in state.invitations.items()):
        yield "somebody is invited who is a member, or under another's address"
    invited = [invitation.name for invitation in state.invitations.values() if invitation.name]
    if len(set(invited)) < len(invited):
        yield "two are invited under one name"
    if len(state.seats) + len(state.invitations) > MEMBERS_MAX:
        yield "more are invited than there is room for"
    if not state.drained.keys() <= (state.seats or state.members).keys():
        yield "somebody is drained who is no member"


def _standing(state: ClusterState) -> Iterator[str]:
    modes = {uid: job.definition.mode for uid, job in state.jobs.items()}
    if any(modes.get(uid) is not Mode.TURNS for uid in state.turns):
        yield "a line is kept for a job that does not go in turns"
    if any(modes.get(uid) is not Mode.STANDBY for uid in state.incumbents):
        yield "an incumbent is kept for a job that has no standbys"
    for uid, line in state.turns.items():
        if not line or len({place.member for place in line}) < len(line):
            yield f"the line of job {uid} is {line}"
    if not state.wellness.keys() <= state.members.keys():
        yield "it is noted how somebody has been who is no member"
    if any(not 0 <= how.fell_ms <= state.now_ms or how.well_ms > state.now_ms for how in state.wellness.values()):
        yield "a member fell, or was well, in the future"


def _lacking(state: ClusterState) -> Iterator[str]:
    for member_id, targets in state.lacking.items():
        if not targets or len(set(targets)) < len(targets) or not state.members[member_id].open:
            yield f"{member_id}, whose session may have ended, is said to lack {targets}"


def _retries(state: ClusterState) -> Iterator[str]:
    if state.floors.keys() != state.members.keys() or not state.results.keys() <= state.members.keys():
        yield "answers are kept for somebody who is no member"
    for member_id, results in state.results.items():
        if any(seq < state.floors[member_id] for seq in results):
            yield f"answers to {member_id} below its floor are kept"


def _bounds(state: ClusterState) -> Iterator[str]:
    if state.key_count != sum(len(keys) for keys in state.keys.values()):
        yield "key_count is not the number of keys"
    nested = (state.ledger, state.results, state.keys, state.live_attempts, state.live_runs, state.ended_runs)
    nested = (*nested, state.health, state.listening, state.edges, state.client_leases)
    nested = (*nested, state.lock_grants, state.lock_waiters, state.lock_requests, state.lock_owners)
    if not all(inner for table in nested for inner in table.values()):
        yield "an inner table is empty and still there"
    for name, table, most in (
        ("ledger", state.ledger, LEDGER_KEPT_PER_JOB),
        ("ended_runs", state.ended_runs, RUNS_KEPT_PER_JOB),
        ("live_runs", state.live_runs, LIVE_RUNS_PER_JOB_MAX),
        ("results", state.results, RESULTS_PER_SESSION_MAX),
    ):
        if any(len(inner) > most for inner in table.values()):
            yield f"{name} holds more than {most} for one"
    stage = state.stage
    if (sum(map(len, state.staged.values())), stage is None) != ((stage.arrived, False) if stage else (0, True)):
        yield "parts are staged for no restore, or others than those that were counted"
    if stage is not None and (stage.arrived > stage.size or len(state.staged) > stage.parts):
        yield "a restore holds more than was announced"
    queued = Counter(run.job_uid for run in state.runs.values() if run.state is RunState.QUEUED)
    for uid, job in state.jobs.items():
        # A running one may fall back into the line when its node is lost.
        if job.definition.overlap is Overlap.QUEUE_ALL and queued[uid] > QUEUED_SLOTS_MAX + 1:
            yield f"{queued[uid]} runs of {uid} are queued"
    dead = [uid for uid in state.deleted_jobs if uid not in state.live_runs]
    if len(state.deleted_jobs) > DELETED_JOBS_KEPT and dead:
        yield "a deleted job is kept too long"


@dataclass
class History:
    """What was seen of all states so far: the checks that need more than one."""

    index: int = 0
    now_ms: int = 0
    last_token: int = 0
    after_ms: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, LedgerEntry] = field(default_factory=dict)
    live: dict[str, None] = field(default_factory=dict)
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    attempts: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    ended: dict[int, Attempt] = field(default_factory=dict)

    def violations(self, state: ClusterState) -> list[str]:
        """What is wrong with the step from the state seen last to this one."""
        checks = (self._clocks, self._slots, self._overlaps, self._grants, violations)
        problems = [problem for check in checks for problem in check(state)]
        self.index, self.now_ms, self.last_token = state.index, state.now_ms, state.last_token
        self.lines = dict(state.live_runs)
        return problems

    def _clocks(self, state: ClusterState) -> Iterator[str]:
        if state.index < self.index or state.now_ms < self.now_ms or state.last_token < self.last_token:
            yield "the index, the time or the tokens went back"
        for uid, cursor in state.cursors.items():
            if cursor.after_ms < self.after_ms.get(uid, cursor.after_ms):
                yield f"the cursor of {uid} went back"
            self.after_ms[uid] = cursor.after_ms

    def _slots(self, state: ClusterState) -> Iterator[str]:
        for uid in state.ledger:
            for entry in _entries(state, uid):
                run_id = entry.run_id
                if self.outcomes.setdefault(run_id, entry) != entry:
                    yield f"the outcome of {run_id} was written twice"
        for line in state.live_runs.values():
            for run_id in line:
                if run_id in self.outcomes:
                    yield f"{run_id} has an outcome and lives"
                self.live[run_id] = None
        gone = [run_id for run_id in self.live if run_id not in state.runs and run_id not in self.outcomes]
        for run_id in gone:
            yield f"run {run_id} vanished without an outcome"

    def _overlaps(self, state: ClusterState) -> Iterator[str]:
        for uid, line in state.live_runs.items():
            before = self.lines.get(uid, ())
            came = [run_id for run_id in line if run_id not in before and "-" not in run_id.partition("/")[2]]
            new = [run_id for run_id in came if not state.runs[run_id].delivery]  # items of a queue wait for nobody
            if not new or uid not in state.jobs:
                continue
            posting = state.jobs[uid].definition.mode is Mode.QUEUE
            rows = [state.runs[run_id] for run_id in line if state.runs[run_id].posted or not posting]
            match state.jobs[uid].definition.overlap:
                case Overlap.FORBID:
                    wrong = len(rows) > 1
                case Overlap.QUEUE_ONE:
                    wrong = sum(run.state is RunState.QUEUED for run in rows[1:]) > 1
                case Overlap.REPLACE:
                    wrong = not all(run.cancel_requested for run in rows[:-1])
                case _:
                    wrong = False
            if wrong:
                yield f"job {uid} got {new} although {before} lived"

    def _grants(self, state: ClusterState) -> Iterator[str]:
        locked = {token for key in state.locks for token in in_force(state, key) if token > self.last_token}
        granted = len(locked - {attempt.token for run in _kept(state) for attempt in run.attempts})
        for run in _kept(state):
            for attempt in run.attempts:
                if attempt.session == NO_SESSION:
                    continue
                granted += attempt.token > self.last_token
                yield from self._grant(run, attempt)
        if granted > max(1, state.index - self.index):
            yield f"{granted} grants in {state.index - self.index} commands"

    def _grant(self, run: Run, attempt: Attempt) -> Iterator[str]:
        name = (run.id, attempt.n, attempt.member)
        if self.attempts.setdefault(attempt.token, name) != name:
            yield f"token {attempt.token} named another attempt before"
        if attempt.state in LIVE_ATTEMPT_STATES:
            if attempt.token in self.ended:
                yield f"attempt {name} came back to life"
        else:
            plain = replace(attempt, note="")
            if self.ended.setdefault(attempt.token, plain) != plain:
                yield f"the end of attempt {name} was written twice"


def _health(state: ClusterState) -> Iterator[str]:
    """Who listens is listed; what is said is said of a check that is there, by somebody who is there."""
    checked = {uid: job.definition.watched for uid, job in state.jobs.items() if job.definition.watched}
    if set(state.listening.get("checks", ())) != set(checked):
        yield "the jobs that are listed as having checks are others than those that have some"
    waiting = {(f"event {t.namespace}/{t.name}", uid) for uid, t in _triggers(state) if isinstance(t, EventTrigger)}
    waiting |= {(f"queue {t.namespace}/{t.name}", uid) for uid, t in _triggers(state) if isinstance(t, QueueTrigger)}
    listed = {
        (topic, uid) for topic, uids in state.listening.items() for uid in uids if topic[:5] in ("event", "queue")
    }
    if listed != waiting:
        yield f"jobs are listed as waiting that do not, or the other way round: {listed ^ waiting}"
    if not state.edges.keys() <= {uid for uid, trigger in _triggers(state) if isinstance(trigger, ProbeTrigger)}:
        yield "a verdict is kept of a probe that no trigger makes"
    for uid, said in state.health.items():
        for check, subject, observer in said:
            if check not in {each.name for each in checked.get(uid, ())}:
                yield f"job {uid} has no check {check}, and {observer} speaks of it"
            member = state.members.get(observer)
            if member is None or not member.open or subject not in state.members:
                yield f"{observer} speaks of {subject}; one of them is not there"


def _triggers(state: ClusterState) -> list[tuple[str, Trigger]]:
    return [(uid, job.definition.trigger) for uid, job in state.jobs.items()]


def _leases(state: ClusterState) -> Iterator[str]:
    """A lease that ends with a client is listed with it, and the client has not ended."""
    listed = {(client, lease) for client, held in state.client_leases.items() for lease in held}
    if listed != {(lease.client, id_) for id_, lease in state.leases.items() if lease.client}:
        yield "client_leases are not the leases of clients"
    for client in state.client_leases:
        if client not in state.leases or state.leases[client].kind is not LeaseKind.CLIENT:
            yield f"client session {client} has ended, and what it held has not"


def _keys(state: ClusterState) -> Iterator[str]:
    """A key that ends has a lease of its own, and each lease of a key its key."""
    ending = {
        entry.lease: (namespace, name)
        for namespace, entries in state.keys.items()
        for name, entry in entries.items()
        if entry.lease
    }
    leased = {id_: (row.namespace, row.name) for id_, row in state.leases.items() if row.kind is LeaseKind.KEY}
    if ending != leased:
        yield f"keys that end are {ending}, and leases of keys are {leased}"


def _changes(state: ClusterState) -> Iterator[str]:
    """What is kept of the changes leads from the floor to what the keys are now."""
    newest = state.change_count
    if list(state.changes) != list(range(newest - len(state.changes), newest)):
        yield "changes are not numbered one after another"
    revisions = [state.changes_floor, *(change.revision for change in state.changes.values())]
    if revisions != sorted(set(revisions)) or revisions[-1] > state.index:
        yield f"changes are not in the order of the log: {revisions}"
    if len(state.changes) > CHANGES_KEPT or not 0 <= state.changes_bytes <= CHANGES_KEPT_BYTES:
        yield "too many changes are kept"
    last = {(change.namespace, change.key): change for change in state.changes.values()}
    now = {(n, name): entry for n, entries in state.keys.items() for name, entry in entries.items()}
    for place, change in last.items():
        entry = now.get(place)
        if (entry.value if entry else None) != change.value or (entry and entry.revision != change.revision):
            yield f"the last change of {place} is not what it is now"
    if state.level > 1:
        for place, entry in now.items():
            if entry.revision > state.changes_floor and place not in last:
                yield f"a change of {place} is missing"


def _answers(state: ClusterState) -> Iterator[str]:
    newest = state.answer_count
    if list(state.answer_keys) != list(range(newest - len(state.answer_keys), newest)):
        yield "answers are not numbered one after another"
    if any(known.answer.index <= state.answers_floor for known in state.answers.values()):
        yield "an answer is kept that is older than one that was forgotten"
    if list(state.answers) != list(state.answer_keys.values()) or len(state.answers) > ANSWERS_KEPT:
        yield "answers are kept under no number, or too many"
