"""Consensus with one rule broken on purpose, and without its guard: what the simulator must be able to notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgpack

from peercron.consensus import guard, outbox, registrar
from peercron.consensus import replica as replica_module
from peercron.consensus.election import Election
from peercron.consensus.guard import Accept, Answer, Log
from peercron.consensus.journal import Journal
from peercron.consensus.membership import Membership
from peercron.consensus.messages import Message
from peercron.consensus.outbox import Output
from peercron.consensus.raft import Kernel
from peercron.consensus.reads import Reads
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotWriter
from peercron.core.member import Configuration, Seat
from tests.sim.world import Member


class UnguardedJournal(Journal):
    """Cuts whatever it is told to cut."""

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: N802
        commit, self._commit = self._commit, -1
        super().deleteEntriesFrom(position)
        self._commit = commit


class Unguarded(Replica):
    """Messages go to the kernel as they come, as with pysyncobj alone (audit S1, S10, S11, S12, L6)."""

    def _on_append(self, peer: str, message: Message) -> None:
        stock = {k: v for k, v in message.items() if message["prevLogIdx"] is not None or not k.startswith("prev")}
        self._step_seen = message["step"]
        self.kernel.deliver(peer, stock)
        if message["prevLogIdx"] is None:
            self._acknowledge(peer, self.journal.last[0] + 1, matched=False)

    def _on_ack(self, peer: str, message: Message) -> None:
        self.kernel.deliver(peer, message)

    def _on_request_vote(self, peer: str, message: Message) -> None:
        self.kernel.deliver(peer, message)

    def _on_response_vote(self, peer: str, message: Message) -> None:
        self.kernel.deliver(peer, message)

    def may_campaign(self) -> bool:
        return bool(self._connected)


# One rule each. A mutant is told by what it no longer does.


class TalksBeforeFlush(Member):
    def before_flush(self, out: Output) -> None:
        self.speak(out.late)
        out.late.clear()


class AnswersClientsEarly(Replica):
    """A leader commits what it alone has."""

    def step(self, now_s: float, wall_ms: int, *, late: bool = False) -> Output:
        if self.kernel.is_leader:
            self.kernel._SyncObj__raftCommitIndex = self.journal.last[0]
        return super().step(now_s, wall_ms, late=late)


class ForgetsVotes(Journal):
    def setCurrentTerm(self, term: int, vote: str | None) -> None:  # noqa: N802
        self._term, self._vote = term, vote


class VotesTwice(Replica):
    def _on_request_vote(self, peer: str, message: Message) -> None:
        if message["term"] == self.kernel.term and not self.kernel.is_leader:
            self.kernel._SyncObj__votedForNodeId = None
        super()._on_request_vote(peer, message)


class VotesForOldLogs(Replica):
    def _on_request_vote(self, peer: str, message: Message) -> None:
        super()._on_request_vote(peer, dict(message, last_log_index=10**9, last_log_term=10**9))

    def _on_prevote(self, peer: str, message: Message) -> None:
        super()._on_prevote(peer, dict(message, last_log_index=10**9, last_log_term=10**9))


class CommitsOldTermsByCount(Kernel):
    def tick(self) -> None:
        if self.is_leader:
            matches = sorted([self._journal.last[0], *(self.match_index(peer) for peer in self.voters)], reverse=True)
            self._SyncObj__raftCommitIndex = max(self.commit, matches[self.quorum - 1])
        super().tick()


class TrustsItselfInDoubt(Election):
    def _sure_of(self, candidate: str, term: int, theirs: tuple[int, int]) -> bool:
        return True


class ReadsUnconfirmed(Reads):
    """A leader believes that it leads."""

    def proven(self, quorum: int) -> int:
        return self.step


class ReadsBeforeItsNoOp(Kernel):
    @property
    def noop_applied(self) -> bool:
        return self.is_leader


class CountsAnswersOfOtherTerms(Replica):
    def _on_ack(self, peer: str, message: Message) -> None:
        super()._on_ack(peer, dict(message, _t=self.kernel.term))


class ForgetsBeforeItsSnapshotIsDurable(Member):
    def _snapshot(self, replica: Replica) -> None:
        writer = replica.begin_snapshot()
        replica.journal.drop_old_segments()
        writer.write(msgpack.packb(tuple(self.machine.values)))
        writer.seal()
        writer.sync()
        replica.snapshot_published(writer.publish().index)


class PublishesUnsynced(SnapshotWriter):
    def sync(self) -> None:
        """Too slow, somebody thought."""


class ForgetsWhereItsSnapshotEnds(Kernel):
    """Applies the last entry that a snapshot covers once more."""

    def jump_to(self, index: int) -> None:
        super().jump_to(index)
        self._SyncObj__raftLastApplied = max(1, index - 1)


class ForgetsWhoVotes(Replica):
    """After a restart it knows the members that it was founded with."""

    def _found(self, index: int, configuration: Configuration) -> Membership:
        return Membership(index, configuration)


def objects_to_nothing(before: Configuration, seats: tuple[Seat, ...], leader: str) -> str | None:
    """Voters change by many at a time."""
    return None if leader in Configuration(seats).voters else "not the leader"


def matches_anything(log: Log, commit: int, message: Message) -> Accept | Answer:
    """The previous entry is not compared."""
    previous = message["prevLogIdx"]
    known = None if previous is None else log.term_at(previous)
    return guard_reconcile(log, commit, message if known is None else dict(message, prevLogTerm=known))


def believes_commit(log: Log, commit: int, message: Message) -> Accept | Answer:
    """A commit index moves ours also where nothing proves that our logs are one."""
    return replace(guard_reconcile(log, commit, message), commit=message["commit_index"])


def cuts_what_matches(log: Log, commit: int, message: Message) -> Accept | Answer:
    decision = guard_reconcile(log, commit, message)
    held = message["prevLogIdx"] is not None and log.term_at(message["prevLogIdx"]) == message["prevLogTerm"]
    if isinstance(decision, Answer) and decision.matched and held:
        return Accept(message["prevLogIdx"], message["prevLogTerm"], tuple(message["entries"]), decision.commit)
    return decision


def keeps_what_conflicts(log: Log, commit: int, message: Message) -> Accept | Answer:
    """Says that it has what it does not have."""
    decision = guard_reconcile(log, commit, message)
    if isinstance(decision, Accept) and decision.previous < log.last[0]:
        return Answer(decision.commit, decision.entries[-1][1] + 1, matched=True)
    return decision


guard_reconcile = guard.reconcile


@contextmanager
def instead(owner: Any, name: str, mutant: Any) -> Iterator[dict[str, Any]]:
    with patch.object(owner, name, mutant):
        yield {}


@contextmanager
def kinds(**types: type) -> Iterator[dict[str, Any]]:
    yield types


#: Name -> (how to break it, faults that bring it out, members). Three more rules need a coincidence that chance does
#: not find: a vote that was forgotten, old terms committed by count, answers of another term. test_replica.py stages
#: them.
MUTANTS: dict[str, tuple[Any, str, int]] = {
    "talks before the flush": (lambda: kinds(member_type=TalksBeforeFlush), "kwl", 3),
    "commits alone": (lambda: kinds(replica_type=AnswersClientsEarly), "pak", 3),
    "votes twice in a term": (lambda: kinds(replica_type=VotesTwice), "pakt", 5),
    "votes for older logs": (lambda: kinds(replica_type=VotesForOldLogs), "pak", 3),
    "trusts itself in doubt": (lambda: instead(replica_module, "Election", TrustsItselfInDoubt), "pakx", 3),
    "reads without asking a majority": (lambda: instead(outbox, "Reads", ReadsUnconfirmed), "pas", 3),
    "reads before an entry of its own term": (lambda: instead(replica_module, "Kernel", ReadsBeforeItsNoOp), "pakt", 3),
    "forgets before its snapshot is durable": (
        lambda: kinds(member_type=ForgetsBeforeItsSnapshotIsDurable),
        "kdcl",
        3,
    ),
    "publishes a snapshot that is not synced": (
        lambda: instead(SnapshotWriter, "sync", PublishesUnsynced.sync),
        "kcl",
        3,
    ),
    "applies an entry of the snapshot again": (
        lambda: instead(replica_module, "Kernel", ForgetsWhereItsSnapshotEnds),
        "pakc",
        3,
    ),
    "does not compare the previous entry": (lambda: instead(guard, "reconcile", matches_anything), "pak", 3),
    "believes a commit index": (lambda: instead(guard, "reconcile", believes_commit), "pakc", 3),
    "cuts what matches": (lambda: instead(guard, "reconcile", cuts_what_matches), "pakds", 3),
    "changes many voters at a time": (lambda: instead(registrar, "objection", objects_to_nothing), "pakm", 5),
    "forgets who votes": (lambda: kinds(replica_type=ForgetsWhoVotes), "pakm", 3),
    "keeps what conflicts": (lambda: instead(guard, "reconcile", keeps_what_conflicts), "pak", 3),
}
