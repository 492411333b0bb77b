"""Shards: the parts of a run that several nodes do, and what is due of them next.

A run in mode `parallel` has a shard for each of its nodes; one in mode `contend` gets one for each node that asks, in
the order in which they ask. A shard is a run like any other, but for its name (the run's, "#" and its number), its
member, which no other takes the place of, and its end, which its run keeps: it stands in no ledger.

`orders` looks at a run and its shards and says what is due, whatever has just happened; `apply` carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peercron.core.fitness import unfit
from peercron.core.job import Definition, Guarantee, Losers, Mode, Quorum
from peercron.core.limits import ATTEMPTS_MAX
from peercron.core.placement.eligibility import not_for
from peercron.core.run import AttemptState, Run, RunState, Shard
from peercron.core.state import ClusterState

#: In the place of the instant until when a barrier waits: it is decided that it never opens.
GIVEN_UP = -1
#: Modes whose runs have shards.
SHARED = frozenset({Mode.PARALLEL, Mode.CONTEND})
#: Which end of a shard names the end of a run that failed, the first of these that there is.
WORST = (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST, RunState.CANCELLED, RunState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Orders:
    """What is due of a run's shards."""

    #: Queued ones whose turn has come.
    go: tuple[Run, ...] = ()
    #: Queued ones that end without having run: each with its outcome, and why.
    end: tuple[tuple[Run, RunState, str], ...] = ()
    #: Running ones that shall be cancelled, and why.
    stop: tuple[tuple[Run, str], ...] = ()
    #: All that wait at the barrier start now.
    opens: bool = False
    #: The barrier never opens: too few can come to it.
    gives_up: bool = False
    #: The nodes are asked anew who contends: nobody who did is there any more.
    again: bool = False
    #: The run ends so.
    outcome: tuple[RunState, str] | None = None


def shard_id(parent_id: str, n: int) -> str:
    return f"{parent_id}#{n}"


def live_shards(state: ClusterState, run: Run) -> list[Run]:
    """Its shards that have not ended, by number."""
    ids = [shard_id(run.id, n) for n in range(run.shards)]
    return [state.runs[each] for each in ids if each in state.runs]


def waits(state: ClusterState, run_id: str) -> bool:
    """Whether the leader has something to do about the run: a grant, or a barrier that may not wait for ever."""
    run = state.runs.get(run_id)
    return run_id in state.unplaced or (run is not None and _has_closed_barrier(run))


def with_shards(state: ClusterState, run_id: str) -> list[str]:
    """The run and its shards."""
    return [run_id, *(shard_id(run_id, n) for n in range(state.runs[run_id].shards))]


def barriers(state: ClusterState) -> list[str]:
    """Runs whose shards wait for each other."""
    return [run.id for run in state.runs.values() if _has_closed_barrier(run)]


def _has_closed_barrier(run: Run) -> bool:
    return run.barrier_by_ms > 0 and not run.opened_ms and not run.parent and run.state is RunState.RUNNING


def does_slots_work(shard: Run, definition: Definition) -> bool:
    """Whether the shard stands for the whole slot: of those who contend, one does it, under the slot's own name."""
    return bool(shard.parent) and definition.mode is Mode.CONTEND and definition.losers is Losers.SKIP


def holder_of(state: ClusterState, run_id: str, token: int) -> str:
    """The run, or the shard of it, whose live attempt has this token: a shard may know itself by its run's name."""
    run = state.runs.get(run_id)
    for shard in live_shards(state, run) if run is not None else ():
        if shard.live_attempt is not None and shard.live_attempt.token == token:
            return shard.id
    return run_id


def needed(quorum: Quorum, of: int) -> int:
    """How many of so many must succeed.

    >>> [needed(Quorum.ALL, 5), needed(Quorum.MAJORITY, 5), needed(Quorum.ANY, 5)]
    [5, 3, 1]
    """
    return {Quorum.ALL: of, Quorum.MAJORITY: of // 2 + 1, Quorum.ANY: 1}[quorum]


def at_barrier(state: ClusterState, shard: Run) -> bool:
    """Whether the shard's process waits, or shall wait, for the others."""
    parent = state.runs.get(shard.parent) if shard.parent else None
    return parent is not None and bool(parent.barrier_by_ms) and not parent.opened_ms


def orders(state: ClusterState, run: Run) -> Orders:
    """What is due now. Carried out, and asked again, until nothing is."""
    definition, live = run.definition, live_shards(state, run)
    assert definition is not None, "a run whose shards were made has pinned what it does"
    if run.cancel_requested:
        return _cancelled(run, live)
    if definition.mode is Mode.CONTEND:
        return _contended(state, run, definition, live)
    gone = _gone(state, definition, live)
    if gone:
        return Orders(end=gone)
    if not live:
        return Orders(outcome=_outcome(state, run, definition))
    if definition.order:
        return _in_order(state, run, definition, live)
    if definition.sync and not run.opened_ms:
        return _before_barrier(state, run, definition, live)
    return Orders(go=_queued(live))


def _cancelled(run: Run, live: Sequence[Run]) -> Orders:
    if not live:
        return Orders(outcome=(RunState.CANCELLED, run.reason))
    return Orders(end=_all(_queued(live), RunState.CANCELLED, run.reason), stop=_running(live, run.reason))


def _gone(state: ClusterState, definition: Definition, live: Sequence[Run]) -> tuple[tuple[Run, RunState, str], ...]:
    """Queued ones whose node cannot run them: nobody else takes its place."""
    return tuple([(shard, RunState.LOST, why) for shard in _queued(live) if (why := bar(state, definition, shard))])


def bar(state: ClusterState, definition: Definition, shard: Run) -> str:
    """Why the shard's member cannot run it; empty: it can."""
    member = state.members.get(shard.member)
    if member is None:
        return "its node is no member any more"
    why = not_for(state, definition, member) or unfit(state, definition, member)
    return f"node {member.info.name}: {why}" if why else ""


def _in_order(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """One after another; the first that does not succeed is the last, unless any one of them is enough."""
    failed = next((shard for shard in run.ended if shard.state is not RunState.SUCCEEDED), None)
    if failed is not None and definition.quorum is not Quorum.ANY:
        why = f"{name_of(state, failed.member)} {failed.state.value} before it (order)"
        return Orders(end=_all(_queued(live), RunState.SKIPPED, why))
    return Orders() if len(_queued(live)) < len(live) else Orders(go=(live[0],))


def _before_barrier(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """It opens when all that are left are ready, if they are enough; or with those that are, when the time is up."""
    wanted = needed(definition.quorum, run.shards)
    ready = [shard for shard in live if shard.live_attempt and shard.live_attempt.state is AttemptState.READY]
    late = [shard for shard in live if shard not in ready]
    overdue = state.now_ms >= run.barrier_by_ms
    if len(live) < wanted or (overdue and len(ready) < wanted):
        why = "the barrier cannot open: too few are left" if len(live) < wanted else "too few were ready in time"
        return Orders(end=_all(_queued(live), RunState.CANCELLED, why), stop=_running(live, why), gives_up=True)
    if not late:
        return Orders(opens=True)
    if overdue:
        why = "it was not ready in time"
        return Orders(end=_all(_queued(late), RunState.LOST, why), stop=_running(late, why), opens=True)
    return Orders(go=_queued(live))


def _outcome(state: ClusterState, run: Run, definition: Definition) -> tuple[RunState, str]:
    wanted, done = needed(definition.quorum, run.shards), _count(run, RunState.SUCCEEDED)
    share = f"{done} of {run.shards} succeeded"
    if done >= wanted:
        return RunState.SUCCEEDED, "" if done == run.shards else f"{share} (quorum {definition.quorum.value})"
    worst = next(outcome for outcome in WORST if _count(run, outcome))
    first = next(shard for shard in run.ended if shard.state is worst)
    why = f": {first.reason}" if first.reason else ""
    told = f"{share}, {wanted} had to (quorum {definition.quorum.value})"
    if worst is RunState.CANCELLED and run.barrier_by_ms == GIVEN_UP:
        worst = RunState.TIMED_OUT  # nobody asked for their end but the barrier
    return worst, f"{told}; {name_of(state, first.member)} {first.state.value}{why}"


def _contended(state: ClusterState, run: Run, definition: Definition, live: Sequence[Run]) -> Orders:
    """One at a time, in the order in which they asked."""
    winner = next((shard for shard in run.ended if shard.state is RunState.SUCCEEDED), None)
    over = _over(state, run, definition, winner)
    if over:
        return Orders(end=_all(_queued(live), RunState.SKIPPED, over)) if live else _contest_outcome(run, winner)
    if len(_queued(live)) < len(live):
        return Orders()
    if live:
        why = bar(state, definition, live[0])
        return Orders(end=((live[0], RunState.LOST, why),)) if why else Orders(go=(live[0],))
    if state.contests.get(run.id):
        return Orders()  # who was asked may still answer
    done = _count(run, RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT) or _refused_by_all(run)
    if not done and run.shards < ATTEMPTS_MAX and definition.guarantee is not Guarantee.AT_MOST_ONCE:
        return Orders(again=True)
    return _contest_outcome(run, winner)


def _over(state: ClusterState, run: Run, definition: Definition, winner: Shard | None) -> str:
    """Why nobody else shall run, in one sentence; empty: the others shall."""
    if definition.losers is Losers.WAIT:
        return ""
    if winner is not None:
        return f"{name_of(state, winner.member)} was first and has done it (losers skip)"
    started = next((shard for shard in run.ended if any(attempt.started_ms for attempt in shard.attempts)), None)
    if definition.guarantee is Guarantee.AT_MOST_ONCE and started is not None:
        return f"{name_of(state, started.member)} started it once already (guarantee at_most_once)"
    return ""


def _refused_by_all(run: Run) -> bool:
    """Whether none of those who asked has what the run does: to ask them anew is of no use."""
    return bool(run.ended) and all(
        shard.attempts and shard.attempts[-1].state is AttemptState.REFUSED for shard in run.ended
    )


def _contest_outcome(run: Run, winner: Shard | None) -> Orders:
    """Who was lost does not count where another did the work."""
    failed = [shard for shard in run.ended if shard.state in {RunState.FAILED, RunState.TIMED_OUT}]
    skipping = run.definition is not None and run.definition.losers is Losers.SKIP
    if winner is not None and (skipping or not failed):
        return Orders(outcome=(RunState.SUCCEEDED, ""))
    if failed:
        return Orders(outcome=(failed[0].state, failed[0].reason))
    lost = run.ended[-1] if run.ended else None
    return Orders(outcome=(RunState.LOST, lost.reason if lost else "nobody contended for it"))


def name_of(state: ClusterState, member_id: str) -> str:
    member = state.members.get(member_id)
    return member.info.name if member is not None else member_id


def _queued(live: Sequence[Run]) -> tuple[Run, ...]:
    return tuple([shard for shard in live if shard.state is RunState.QUEUED])


def _running(live: Sequence[Run], why: str) -> tuple[tuple[Run, str], ...]:
    return tuple([
        (shard, why) for shard in live if shard.state is RunState.RUNNING and not shard.cancel_requested
    ])  # fmt: skip


def _all(queued: Sequence[Run], outcome: RunState, why: str) -> tuple[tuple[Run, RunState, str], ...]:
    return tuple([(shard, outcome, why) for shard in queued])


def _count(run: Run, *states: RunState) -> int:
    return sum(shard.state in states for shard in run.ended)
