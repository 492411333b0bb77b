"""An independent judge of the modes: it knows what they promise (README), what was seen, and nothing of how it is done.

    every slot is in the ledger once, and what the ledger says of it is what its processes saw
    one at a time, with growing tokens: single, standby, turns, contend, parallel in order, slices
    where a majority is left, all modes go on without who is lost; where none is, nothing runs but slices, and what was
    due meanwhile goes through each job's misfire policy
    a lost node's processes are dead by the end of its lease

and what is said at each of RULES. A verdict is a cell of a table: a job in one kind of phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from tests.system.modes_seen import WRONG_CLOCK, Job, Life, Phase, Row, Seen

UNMADE = frozenset({"skipped", "missed"})
#: Modes whose runs follow one another, and whose parts do.
SERIAL = frozenset({"single", "standby", "turns", "contend", "contend-skip", "rolling", "slice"})
SHARED = frozenset({"contend", "contend-skip", "sync", "async", "rolling"})
#: The last part of each slice, in which nothing runs, and what is not started shortly before it.
GUARD_MS, ROOM_MS = 2_500, 200
CLOCK_BOUND_MS = 1_000
#: What a loaded machine may be late by in what has no promise.
SLACK_MS = 700
#: And until somebody has seen that a process is dead.
SEEN_DEAD_MS = 1_400
#: All start together within this while the machine does a lot else; `trials` has the promise of 50 ms.
TOGETHER_MS = 400
JOB_HUNG = "job hung"
#: So long after the machine stood still what was due meanwhile is still being done.
STALL_MS = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong with a job, and when."""

    job: str
    at_ms: float
    text: str


@dataclass(slots=True)
class Verdict:
    """What was found, and how much was looked at."""

    faults: list[Fault] = field(default_factory=list)
    #: (job, column) -> slots that were held to all that is promised.
    judged: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: ms between the first and the last start of runs that start together, while all was well.
    spreads_ms: list[float] = field(default_factory=list)


def judge(seen: Seen) -> Verdict:
    verdict = Verdict()
    for job in seen.jobs:
        for rule in (slots_once, not_early, ledger_is_true, goes_on, lost_ends, *RULES[job.mode]):
            verdict.faults += [Fault(job.name, at_ms, text) for at_ms, text in rule(seen, job)]
        for row in seen.ledgers[job.name]:
            if strict(seen, job, row["slot"]) is not None:
                verdict.judged[job.name, column(seen, row["slot"])] += 1
        if job.mode == "sync":
            verdict.spreads_ms = [spread for _, spread in spreads(seen, job)]
    verdict.judged.update((hung.job, JOB_HUNG) for hung in seen.hung)
    verdict.faults += [Fault("all", at_ms, text) for at_ms, text in tokens_are_own(seen)]
    return verdict


def column(seen: Seen, at_ms: float) -> str:
    phase = seen.phase_at(at_ms)
    return phase.name if phase else "afterwards"


def strict(seen: Seen, job: Job, slot_ms: int) -> Phase | None:
    """The phase that a slot and its run lie in, if the cluster has got over how it began; None: allow for that."""
    phase = seen.phase_at(slot_ms)
    inside = phase and phase.settled_ms <= slot_ms and slot_ms + job.takes_ms < phase.to_ms
    if seen.stood_still(slot_ms - STALL_MS, slot_ms + job.takes_ms):
        return None
    return phase if inside and job.from_ms <= slot_ms <= job.to_ms else None


Found = Iterator[tuple[float, str]]
Rule = Callable[[Seen, Job], Found]


def slots_once(seen: Seen, job: Job) -> Found:
    """Every slot exactly once, and none that nobody asked for."""
    rows = seen.ledgers[job.name]
    counts = Counter(row["slot"] for row in rows)
    yield from ((slot, f"slot {slot} is there {n} times") for slot, n in counts.items() if n > 1)
    first = -(-job.from_ms // job.every_ms) * job.every_ms
    due = range(first, job.to_ms + 1, job.every_ms)
    yield from ((slot, f"slot {slot} is not in the ledger") for slot in due if slot not in counts)
    for row in rows:
        slot = row["slot"]
        if slot % job.every_ms or slot < job.made_ms or (slot > job.paused_ms and row["outcome"] != "skipped"):
            yield slot, f"nobody asked for slot {slot} ({row['outcome']})"
    known = {row["run"] for row in rows}
    yield from (
        (life.start_ms, f"{life.run} ran, and no ledger knows it") for life in seen.of(job) if life.run not in known
    )


def not_early(seen: Seen, job: Job) -> Found:
    """Nothing starts before its slot, but by what a clock may be wrong by."""
    for life in seen.of(job):
        if life.start_ms < life.slot_ms - CLOCK_BOUND_MS:
            yield life.start_ms, f"{life.run} started {life.slot_ms - life.start_ms:.0f} ms before its slot"


def ledger_is_true(seen: Seen, job: Job) -> Found:
    """What the ledger says of a slot is what its processes saw."""
    lives = by_run(seen, job)
    for row in seen.ledgers[job.name]:
        slot, outcome, own = row["slot"], row["outcome"], lives.get(row["run"], [])
        if outcome in UNMADE and (own or not row["reason"]):
            yield slot, f"slot {slot} is {outcome}, {'but it ran' if own else 'and nobody says why'}"
        if outcome in {"failed", "cancelled"} or (outcome == "timed_out" and not may_time_out(seen, job, row)):
            yield (
                slot,
                f"slot {slot} is {outcome} ({row['reason']}): its processes cannot fail, and nobody stopped them",
            )
        ended = {life.token for life in own if life.ended}
        if outcome == "succeeded" and (not ended if job.mode in SHARED else row["token"] not in ended):
            yield slot, f"slot {slot} succeeded under token {row['token']}, and that attempt never came to its end"
    for hung in (each for each in seen.hung if each.job == job.name):
        yield from died_in_time(seen, job, hung.token, hung.died_ms)


def may_time_out(seen: Seen, job: Job, row: Row) -> bool:
    """A process was stopped, or the slice of the run had hardly room for it."""
    return is_hung(seen, row) or (job.mode == "slice" and row["slot"] + job.takes_ms > guard_ms(job, row["slot"]))


def guard_ms(job: Job, slot_ms: int) -> int:
    """When the guard band of the slot's slice begins."""
    return (slot_ms // job.slice_ms + 1) * job.slice_ms - GUARD_MS


def died_in_time(seen: Seen, job: Job, token: int, died_ms: float | None) -> Found:
    """A process that was stopped is timed out and killed, as its job says."""
    life = next(life for life in seen.of(job) if life.token == token)
    by_ms = life.start_ms + job.timeout_ms + job.grace_ms + SEEN_DEAD_MS
    if died_ms is None or died_ms > by_ms:
        yield life.start_ms, f"{life.run} hung, and was alive after {job.timeout_ms} ms and its grace"
    # A shard may be one too many, and an item comes back.
    fine = {"timed_out", "succeeded"} if job.mode in {*SHARED, "queue"} else {"timed_out"}
    for row in seen.ledgers[job.name]:
        if row["run"] == life.run and row["outcome"] not in fine:
            yield life.start_ms, f"{life.run} hung, and is {row['outcome']} in the ledger"


def goes_on(seen: Seen, job: Job) -> Found:
    """Led jobs go on where a majority is left; else they wait, and go through their misfire policy afterwards."""
    if job.mode == "slice":
        return
    for phase in seen.phases:
        rows = [row for row in seen.ledgers[job.name] if strict(seen, job, row["slot"]) is phase]
        if not seen.has_quorum(phase):
            yield from caught_up(job, phase, rows)
            continue
        fine = {"succeeded", "timed_out", "skipped"} if phase.name == JOB_HUNG else {"succeeded"}
        for row in rows:
            if row["outcome"] not in fine and not (row["outcome"] == "skipped" and took_longer(seen, job, row["slot"])):
                yield row["slot"], f"slot {row['slot']} is {row['outcome']} ({row['reason']}) in phase {phase.name}"


def took_longer(seen: Seen, job: Job, slot_ms: int) -> bool:
    """Whether the run before was still at it, as its processes say, a little longer than it should have been."""
    last_ms = max((life.last_ms for life in seen.of(job) if life.slot_ms == slot_ms - job.every_ms), default=0.0)
    return slot_ms - ROOM_MS < last_ms < slot_ms + SLACK_MS


def caught_up(job: Job, phase: Phase, rows: list[Row]) -> Found:
    """Slots of a time without a majority: all of them made up for, or the latest at most, or none."""
    done = [row for row in rows if row["outcome"] == "succeeded"]
    most = {"all": len(rows), "latest": 1, "skip": 0}[job.misfire]
    least = len(rows) if job.misfire == "all" else 0
    if not least <= len(done) <= most:
        yield phase.from_ms, f"{len(done)} of {len(rows)} slots of a time without a majority were made up for"


def lost_ends(seen: Seen, job: Job) -> Found:
    """Nothing runs on a lost node, and nothing at all where no majority is left, once the lease has ended."""
    for phase in (phase for phase in seen.phases if phase.lost):
        if job.mode == "slice":
            yield from slices_of_lost(seen, job, phase)
        if job.mode == "slice" or phase.how == WRONG_CLOCK:
            continue
        ended_ms = phase.from_ms + seen.lease_ms
        for life in seen.of(job):
            nowhere = life.node == phase.lost or not seen.has_quorum(phase)
            if nowhere and life.start_ms < phase.to_ms and life.last_ms > ended_ms:
                late_ms = max(life.start_ms, ended_ms) - phase.from_ms
                yield (
                    life.start_ms,
                    f"{life.run} was alive on {life.node} {late_ms:.0f} ms after {phase.lost} was {phase.how}",
                )


def slices_of_lost(seen: Seen, job: Job, phase: Phase) -> Found:
    """Who is killed, hangs or has a wrong clock starts nothing in its slices; who is cut off goes on."""
    for life in seen.of(job):
        if (
            phase.how != "cut off"
            and life.node == phase.lost
            and phase.from_ms + SLACK_MS < life.start_ms < phase.to_ms
        ):
            yield life.start_ms, f"{life.run} started on {life.node} ({phase.how})"


def one_at_a_time(seen: Seen, job: Job) -> Found:
    """No two attempts are alive at once, and tokens grow with the starts."""
    lives = seen.of(job)
    yield from ((life.start_ms, f"{life.run} met another one alive") for life in lives if life.met)
    for earlier, later in pairwise(lives):
        if earlier.last_ms >= later.start_ms:
            yield later.start_ms, f"{earlier.run} on {earlier.node} was alive when {later.run} started on {later.node}"
        if earlier.token >= later.token:
            yield later.start_ms, f"{later.run} has token {later.token}, and {earlier.run} before it {earlier.token}"


def one_on_each(seen: Seen, job: Job) -> Found:
    """A node has no more items in its hands than the job lets it: one."""
    lives = sorted(seen.of(job), key=lambda life: (life.node, life.start_ms))
    for earlier, later in pairwise(lives):
        if earlier.node == later.node and earlier.last_ms >= later.start_ms:
            yield later.start_ms, f"{later.node} had {earlier.run} in its hands when it began {later.run}"


def turns_are_fair(seen: Seen, job: Job) -> Found:
    """Each node of the line has one turn before any has another; who comes back joins at its end."""
    for phase in seen.phases:
        starts = [life for life in seen.of(job) if phase.settled_ms <= life.start_ms < phase.to_ms]
        size = len(seen.living(phase)) if seen.has_quorum(phase) else 1
        for i in range(len(starts) - size + 1):
            whose = [life.node for life in starts[i : i + size]]
            if len(set(whose)) < size:
                yield starts[i].start_ms, f"turns of {size} nodes went to {' '.join(whose)}"
    for lost, after in pairwise(seen.phases):
        if after.joined_ms and seen.has_quorum(lost):
            yield from joined_at_end(seen, job, lost, after)


def joined_at_end(seen: Seen, job: Job, lost: Phase, after: Phase) -> Found:
    lives = seen.of(job)
    first = next((i for i, life in enumerate(lives) if life.node == lost.lost and life.start_ms >= lost.to_ms), None)
    if first is None or lives[first].start_ms >= after.to_ms:
        yield after.from_ms, f"{lost.lost} came back and had no turn"
        return
    before = {life.node for life in lives[:first] if life.start_ms >= after.joined_ms}
    if not before >= set(seen.living(lost)):
        passed = " ".join(sorted(before)) or "nobody"
        yield (
            lives[first].start_ms,
            f"{lost.lost} came back, and was before all had a turn but {passed}: not at the end",
        )


def standby_stays(seen: Seen, job: Job) -> Found:
    """It moves only away from who is lost, and back to who has been there for long enough; and it does go back."""
    firsts = [life for life in seen.of(job) if life.attempt == 1]
    if firsts and firsts[0].node != job.order[0]:
        yield firsts[0].start_ms, f"it began on {firsts[0].node}, not on {job.order[0]}"
    for before, now in pairwise(firsts):
        if job.order.index(now.node) < job.order.index(before.node):
            if was_lost(seen, now.node, now.start_ms - job.failback_ms, now.start_ms):
                yield now.start_ms, f"it went back to {now.node} sooner than after {job.failback_ms} ms"
        elif now.node != before.node and not was_lost(seen, before.node, before.start_ms - SLACK_MS, now.start_ms):
            yield now.start_ms, f"it went from {before.node} to {now.node}, and {before.node} was not lost"
    falls = [(lost, after) for lost, after in pairwise(seen.phases) if lost.lost == job.order[0] and after.joined_ms]
    for _, after in falls[:1]:  # after more of them it waits longer
        enough = after.to_ms - after.settled_ms >= job.failback_ms + 2 * job.every_ms
        if enough and not [
            life for life in firsts if life.node == job.order[0] and after.from_ms <= life.start_ms < after.to_ms
        ]:
            yield after.from_ms, f"{job.order[0]} came back, and the job did not"


def was_lost(seen: Seen, node: str, from_ms: float, to_ms: float) -> bool:
    losses = (phase for phase in seen.phases if phase.lost == node and phase.how != WRONG_CLOCK)
    return any(phase.from_ms < to_ms and from_ms < phase.to_ms for phase in losses)


def slices_are_own(seen: Seen, job: Job) -> Found:
    """A slot runs on its owner, in its slice before the guard band, and once; a living owner leaves none out."""
    lives = by_run(seen, job)
    for row in seen.ledgers[job.name]:
        slot, own = row["slot"], lives.get(row["run"], [])
        owner = seen.nodes[slot // job.slice_ms % len(seen.nodes)]
        ends_ms = guard_ms(job, slot)
        if len(own) > 1:
            yield slot, f"slice slot {slot} ran {len(own)} times"
        for life in own:
            if life.node != owner:
                yield slot, f"slice slot {slot} is {owner}'s and ran on {life.node}"
            if life.start_ms < slot or life.last_ms > ends_ms + ROOM_MS:
                yield slot, f"slice slot {slot} ran from {life.start_ms:.0f} to {life.last_ms:.0f}, out of its slice"
        if slot <= job.to_ms:
            yield from slice_was_had(seen, job, row, owner, ends_ms)


def slice_was_had(seen: Seen, job: Job, row: Row, owner: str, ends_ms: int) -> Found:
    slot, done = row["slot"], row["outcome"]
    if (
        slot >= job.from_ms
        and slot + 2 * ROOM_MS + SLACK_MS < ends_ms
        and was_there(seen, owner, slot, slot + job.takes_ms)
    ):
        fine = {"succeeded"} if column(seen, slot) != JOB_HUNG else {"succeeded", "timed_out", "skipped"}
        if done not in fine or (done not in UNMADE and row["node"] != owner):
            yield slot, f"slice slot {slot} is {done} ({row['reason']}), and its owner {owner} was there"
    phase = seen.phase_at(slot)
    was_down = phase and phase.lost == owner and phase.how != "cut off" and phase.from_ms < slot
    if phase and was_down and ends_ms < phase.to_ms and done != "missed":
        yield slot, f"slice slot {slot} is {done} on its owner {owner} ({phase.how})"


def was_there(seen: Seen, node: str, from_ms: float, to_ms: float) -> bool:
    """Nothing happened to the node's process then, and it had got over what happened before."""
    if seen.stood_still(from_ms - STALL_MS, to_ms):
        return False
    for phase, after in pairwise([*seen.phases, None]):
        until_ms = after.settled_ms if after else float("inf")
        if phase and phase.lost == node and phase.how != "cut off" and phase.from_ms < to_ms and from_ms < until_ms:
            return False
    return bool(seen.phases) and seen.phases[0].settled_ms <= from_ms and to_ms < seen.phases[-1].to_ms


def all_contended(seen: Seen, job: Job) -> Found:
    """Each node that is there has had its turn in each run; or, where losers skip, one node has done it."""
    for run, own in by_run(seen, job).items():
        # Who was lost before it could say that it had done it has not done it: that is at_least_once.
        ends = [
            life.last_ms
            for life in own
            if life.ended and not was_lost(seen, life.node, life.last_ms - SLACK_MS, life.last_ms + SLACK_MS)
        ]
        if job.mode == "contend-skip" and ends and own[-1].start_ms > min(ends):
            yield own[-1].start_ms, f"{run} was done, and {own[-1].node} started it"
        phase = strict(seen, job, own[0].slot_ms)
        if phase is None or not seen.has_quorum(phase) or is_hung(seen, {"run": run}):
            continue
        wanted = sorted(seen.living(phase)) if job.mode == "contend" else [own[-1].node]
        if sorted(life.node for life in own) != wanted:
            yield (
                own[0].start_ms,
                f"{run} ran on {' '.join(life.node for life in own)} of {' '.join(seen.living(phase))}",
            )


def outcome_is_declared(seen: Seen, job: Job) -> Found:
    """A parallel run has succeeded if so many of its shards have as `quorum` asks for, and else not."""
    lives = by_run(seen, job)
    for row in seen.ledgers[job.name]:
        run, own, slot = row["run"], lives.get(row["run"], []), row["slot"]
        if row["outcome"] in UNMADE:
            continue
        of = seen.shards.get(run, 0)
        wanted = {"all": of, "majority": of // 2 + 1, "any": 1}[job.quorum]
        done = len({life.shard for life in own if life.ended})
        succeeded = row["outcome"] == "succeeded"
        if succeeded and (not of or done < wanted):
            yield slot, f"{run} succeeded with {done} of {of} shards, quorum {job.quorum}"
        phase = strict(seen, job, slot)
        if phase is None or not seen.has_quorum(phase):
            continue
        if not succeeded and done >= wanted:
            yield slot, f"{run} is {row['outcome']} with {done} of {of} shards, quorum {job.quorum}"
        if not is_hung(seen, row) and sorted(life.node for life in own) != sorted(seen.living(phase)):
            yield slot, f"{run} ran on {' '.join(life.node for life in own)} of {' '.join(seen.living(phase))}"


def start_together(seen: Seen, job: Job) -> Found:
    """Behind the barrier all start at once; and if any starts, enough do."""
    for at_ms, spread in spreads(seen, job):
        if spread > TOGETHER_MS:
            yield at_ms, f"its nodes started within {spread:.0f} ms"


def spreads(seen: Seen, job: Job) -> Iterator[tuple[float, float]]:
    """Of each run while all is well: when its first node started, and how much later its last."""
    for own in by_run(seen, job).values():
        if strict(seen, job, own[0].slot_ms) is not None:
            yield own[0].start_ms, own[-1].start_ms - own[0].start_ms


def in_order(seen: Seen, job: Job) -> Found:
    """The shards run in the order of the job, and none after one that came to no end."""
    for run, own in by_run(seen, job).items():
        places = [job.order.index(life.node) for life in own]
        if places != sorted(places):
            yield own[0].start_ms, f"{run} ran on {' '.join(life.node for life in own)}, which is not its order"
        if not all(life.ended for life in own[:-1]):
            yield own[0].start_ms, f"{run} went on after a shard that came to no end"


def tokens_are_own(seen: Seen) -> Found:
    """A token belongs to one attempt."""
    for token, lives in groupby(sorted(seen.lives, key=lambda life: life.token), key=lambda life: life.token):
        own = list(lives)
        if len(own) > 1:
            yield (
                own[0].start_ms,
                f"token {token} was granted to {', '.join(f'{life.run} on {life.node}' for life in own)}",
            )


def attempts_count_up(seen: Seen, job: Job) -> Found:
    """Attempts of a run, or of a shard, follow one another and count up."""
    which = sorted(seen.of(job), key=lambda life: (life.run, life.shard, life.start_ms))
    for earlier, later in pairwise(which):
        if (earlier.run, earlier.shard) != (later.run, later.shard):
            continue
        if later.attempt <= earlier.attempt or later.token <= earlier.token:
            yield later.start_ms, f"{later.run}: attempt {later.attempt} came after attempt {earlier.attempt}"
        if later.met or later.start_ms <= earlier.last_ms:
            yield later.start_ms, f"{later.run}: attempt {earlier.attempt} was alive when {later.attempt} started"


def by_run(seen: Seen, job: Job) -> dict[str, list[Life]]:
    """Run -> its attempts in order of their starts."""
    runs: dict[str, list[Life]] = {}
    for life in seen.of(job):
        runs.setdefault(life.run, []).append(life)
    return runs


def is_hung(seen: Seen, row: Row) -> bool:
    return any(hung.run == row["run"] for hung in seen.hung)


RULES: dict[str, tuple[Rule, ...]] = {
    "single": (one_at_a_time, attempts_count_up),
    "standby": (one_at_a_time, attempts_count_up, standby_stays),
    "turns": (one_at_a_time, attempts_count_up, turns_are_fair),
    "slice": (one_at_a_time, attempts_count_up, slices_are_own),
    "contend": (one_at_a_time, attempts_count_up, all_contended),
    "contend-skip": (one_at_a_time, all_contended),  # whose shards all work under the name of the run
    "queue": (attempts_count_up, one_on_each),
    "sync": (attempts_count_up, outcome_is_declared, start_together),
    "async": (attempts_count_up, outcome_is_declared),
    "rolling": (one_at_a_time, attempts_count_up, outcome_is_declared, in_order),
}
