"""Nodes with one rule broken on purpose: what the whole simulation must notice, and under which faults it does.

The rules are those at the end of design/consensus.md and of design/semantics.md. A mutant is told by what it no longer
does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from peercron import machine
from peercron.consensus import guard, outbox, registrar
from peercron.consensus import replica as replica_module
from peercron.consensus.driver import Driver
from peercron.consensus.outbox import Output
from peercron.consensus.port import Carrier
from peercron.consensus.registrar import Registrar
from peercron.consensus.session import Lease, Sessions
from peercron.consensus.snapshots import SnapshotWriter
from peercron.core import apply as apply_module
from peercron.core.apply import attempt as attempt_module
from peercron.core.apply import run as run_module
from peercron.core.apply.grant import grant
from peercron.core.commands import AttemptFinished, Proposal
from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.policy import Admission
from peercron.core.run import Attempt, Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict
from peercron.node import assembly
from peercron.node.renewal import Renewal
from tests.sim import mutants as consensus

Broken = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Mutant:
    """`seed`: the first at which it is known to be noticed; tests begin there, since luck takes time."""

    broken: Broken
    faults: str
    seed: int = 0
    members: int | None = 3
    seconds: float = 200.0


def instead(owner: Any, name: str, mutant: Any) -> Broken:
    return lambda: patch.object(owner, name, mutant)


def replicas(mutant: type) -> Broken:
    return instead(assembly, "Replica", mutant)


def kernels(mutant: type) -> Broken:
    return instead(replica_module, "Kernel", mutant)


# The log.


def talks_before_flush(self: Driver, transport: Carrier) -> Output:
    """Promises are sent first, and written after."""
    now_s = self._clock.monotonic()
    self.turns += 1
    out = self.replica.step(now_s, self._clock.wall_ms(), late=now_s - self._timer_due_s > 2 * self._beat_s)
    for peer, message in (*out.early, *out.late):
        transport.send(peer, message)
    self.replica.journal.flush()
    return out


class ForgetsPromises(assembly.Journal):
    """Term and vote are kept in memory alone."""

    def setCurrentTerm(self, term: int, vote: str | None) -> None:  # noqa: N802
        self._term, self._vote = term, vote


class TrustsTheCache(assembly.Journal):
    """Writes, and does not wait for the disk."""

    def _write(self, name: str, records: Any) -> None:
        sync, self._disk.sync = self._disk.sync, lambda _: None  # type: ignore[method-assign]
        try:
            super()._write(name, records)
        finally:
            self._disk.sync = sync  # type: ignore[method-assign]


@contextmanager
def two_changes_at_once() -> Iterator[None]:
    """Voters change by many at a time, and before the last change is committed."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(registrar, "objection", consensus.objects_to_nothing))
        stack.enter_context(patch.object(Registrar, "configuration_settled", property(lambda _: True)))
        yield


# Sessions.


def gives_up_early(self: Sessions, open_sessions: Any, now_s: float, every_s: float) -> Any:
    """The leader's count is shorter than the member's."""
    lease_s, self.lease_s = self.lease_s, 0.5 * self.lease_s
    try:
        return expired(self, open_sessions, now_s, every_s)
    finally:
        self.lease_s = lease_s


expired = Sessions.expired


def counts_from_the_answer(self: Lease, number: int, now_s: float, held_ms: float, leader_wall_ms: int) -> bool:
    """The member's count begins when it was confirmed, and not when it asked."""
    known = confirmed(self, number, now_s, held_ms, leader_wall_ms)
    if known:
        self.sent_s = now_s
    return known


confirmed = Lease.confirmed


async def confirms_unasked(self: Renewal, sessions: Sessions, session: Any, number: int, heard_s: float) -> None:
    """A leader that may be none any more says yes."""
    assert self.driver is not None
    await asyncio.sleep(0)
    body = (number, (self._clock.monotonic() - heard_s) * 1000, self._clock.wall_ms())
    if session[0] == self.driver.replica.me:
        self.on_mail(session[0], "renewed", body)
    else:
        self.driver.replica.mail(session[0], "renewed", body)
        self.driver.kick()


# The state machine.


def grants_old_token(state: ClusterState, job: Job, run: Run, member: Member, why: str) -> None:
    """Another attempt of a run has the token of the one before it."""
    grant(state, job, run, member, why)
    granted = state.runs[run.id]
    if len(granted.attempts) > 1:
        token = granted.attempts[0].token
        attempts: tuple[Attempt, ...] = (*granted.attempts[:-1], replace(granted.attempts[-1], token=token))
        state.runs[run.id] = replace(granted, attempts=attempts)
        state.live_attempts[member.info.id][run.id] = token


def applies_backwards(self: machine.Machine, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
    """One member has an order of its own within an entry."""
    apply_entry(self, index, now_ms, payloads[::-1] if self._me.startswith("n2") else payloads)


apply_entry = machine.Machine.apply


def applies_retries(state: ClusterState, proposal: Proposal, now_ms: int) -> Verdict:
    """A proposal that comes again is done again."""
    results = state.results.get(proposal.member)
    if results is not None and state.members[proposal.member].session == proposal.session:
        results.pop(proposal.seq, None)
    return apply_proposal(state, proposal, now_ms)


apply_proposal = apply_module.apply_proposal


def believes_late_results(state: ClusterState, command: AttemptFinished) -> Verdict:
    """A result counts whoever brings it."""
    run = state.runs.get(command.run_id)
    live = run.live_attempt if run is not None else None
    return attempt_finished(state, replace(command, token=live.token) if live is not None else command)


attempt_finished = attempt_module.attempt_finished


@contextmanager
def checks_when_planned() -> Iterator[None]:
    """The overlap is judged where a slot is planned, and not where it is granted."""
    with (
        patch.object(run_module, "admission", lambda *_, **__: Admission.START),
        patch.object(run_module, "turn_has_come", lambda *_: True),
    ):
        yield


def loses_nothing(state: ClusterState, member_id: str, reason: str) -> None:
    """What a session held is not given up with it."""


MUTANTS: dict[str, Mutant] = {
    # at most one leader a term
    "votes twice in a term": Mutant(replicas(consensus.VotesTwice), "pamtbux", members=5),
    # term, vote and entries durable before any message
    "talks before the flush": Mutant(instead(Driver, "_step", talks_before_flush), "xlkp"),
    "forgets its promises": Mutant(instead(assembly, "Journal", ForgetsPromises), "xkbp"),
    "trusts the cache": Mutant(instead(assembly, "Journal", TrustsTheCache), "xlkp"),
    # no entry cut at or below the commit index
    "cuts what matches": Mutant(instead(guard, "reconcile", consensus.cuts_what_matches), "pkdnb"),
    "does not compare the previous entry": Mutant(instead(guard, "reconcile", consensus.matches_anything), "pakb"),
    "believes a commit index": Mutant(instead(guard, "reconcile", consensus.believes_commit), "pakb"),
    "keeps what conflicts": Mutant(instead(guard, "reconcile", consensus.keeps_what_conflicts), "pakb"),
    # commit only entries of the own term by count; a vote only for logs at least as new
    "commits old terms by count": Mutant(kernels(consensus.CommitsOldTermsByCount), "eqkx", members=5),
    "votes for older logs": Mutant(replicas(consensus.VotesForOldLogs), "pakb"),
    "counts answers of other terms": Mutant(replicas(consensus.CountsAnswersOfOtherTerms), "anqe", members=5),
    # acknowledged means durable on a majority
    "commits alone": Mutant(replicas(consensus.AnswersClientsEarly), "pak"),
    # applied once, in order, the same everywhere
    "applies in another order": Mutant(instead(machine.Machine, "apply", applies_backwards), "pk"),
    "publishes a snapshot that is not synced": Mutant(
        instead(SnapshotWriter, "sync", consensus.PublishesUnsynced.sync), "klh"
    ),
    "applies retries": Mutant(instead(machine, "apply_proposal", applies_retries), "panbt"),
    # reads see every write acknowledged before they began; an old leader cannot serve a fresh read
    "reads without asking a majority": Mutant(instead(outbox, "Reads", consensus.ReadsUnconfirmed), "pasm"),
    "reads before an entry of its own term": Mutant(kernels(consensus.ReadsBeforeItsNoOp), "pakxt"),
    # tokens grow
    "grants an old token": Mutant(instead(run_module, "grant", grants_old_token), "ks"),
    "believes late results": Mutant(
        instead(apply_module, "APPLY", apply_module.APPLY | {AttemptFinished: believes_late_results}), "psk"
    ),
    # expiry is never earlier for the rival than for the holder
    "gives up sessions early": Mutant(instead(Sessions, "expired", gives_up_early), "psa"),
    "counts the lease from the answer": Mutant(instead(Lease, "confirmed", counts_from_the_answer), "pn"),
    "confirms without a majority": Mutant(instead(Renewal, "_confirm", confirms_unasked), "q", members=5),
    # the check and the grant are one apply
    "checks the overlap when it plans": Mutant(checks_when_planned, "k"),
    # one change of the voters at a time
    "changes many voters at a time": Mutant(two_changes_at_once, "pakM", members=5),
}
