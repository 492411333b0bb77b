"""Guard: what a follower does with the entries a leader sends, decided before the kernel sees them.

The kernel cuts off and writes again whatever follows the previous entry, also where it matches, and takes a commit
index from messages that prove nothing about the log. So the guard lets it see only what is new, cuts only at a
conflict of terms, and never at or below the commit index (Raft, figure 2, AppendEntries 3 and 4). It is a pure
function of the log and the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from peercron.consensus.entry import Entry


class SafetyViolation(Exception):
    """Something happened that Raft proves impossible: {detail}. The node stops rather than go on with a wrong log."""


class Log(Protocol):
    """The part of the journal that a decision needs."""

    @property
    def base(self) -> tuple[int, int]: ...
    @property
    def last(self) -> tuple[int, int]: ...
    def term_at(self, index: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Accept:
    """Hand the kernel these entries, which begin behind `previous` and are all new; it answers the leader itself."""

    previous: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Nothing for the log. The kernel sees a heartbeat with this commit index; the leader is told `next_index`."""

    commit: int
    next_index: int
    matched: bool


def reconcile(log: Log, commit: int, message: dict[str, Any]) -> Accept | Answer:
    """Decide about one append message of the current term.

    Args:
        log: this member's log.
        commit: its commit index.
        message: prevLogIdx, prevLogTerm (None: the leader has only a snapshot for us), entries, commit_index.

    Raises:
        SafetyViolation: the leader contradicts an entry that is committed here.
    """
    # All that is committed here is the leader's too, so commit + 1 is always a right place to go on from. It repairs
    # a divergent log in one round trip, where stepping back by one can take for ever.
    refusal = Answer(commit=commit, next_index=commit + 1, matched=False)
    previous, previous_term = message["prevLogIdx"], message["prevLogTerm"]
    if previous is None:
        return refusal
    entries: Sequence[Entry] = message["entries"]
    base, base_term = log.base
    if previous < base:
        entries = [entry for entry in entries if entry[1] > base]
        previous, previous_term = base, base_term
        if not entries:
            return Answer(commit=commit, next_index=base + 1, matched=True)
    if log.term_at(previous) != previous_term:
        if previous <= commit:
            raise SafetyViolation(f"the leader has another term than ours at committed entry {previous}")
        return refusal
    known = _known(log, entries)
    proven = entries[-1][1] if entries else previous
    proven_commit = max(commit, min(message["commit_index"], proven))
    if known == len(entries):
        return Answer(commit=proven_commit, next_index=proven + 1, matched=True)
    first_new = entries[known][1]
    if first_new <= commit:
        raise SafetyViolation(f"the leader contradicts committed entry {first_new}")
    before = first_new - 1
    term_before = log.term_at(before)
    assert term_before is not None
    return Accept(before, term_before, tuple(entries[known:]), proven_commit)


def _known(log: Log, entries: Sequence[Entry]) -> int:
    """How many of the entries, from the first, are in the log already."""
    for position, (_, index, term) in enumerate(entries):
        if log.term_at(index) != term:
            return position
    return len(entries)
