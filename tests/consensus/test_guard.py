"""What a follower does with entries, held against figure 2 of the Raft paper, on lists."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from peercron.consensus.entry import Entry
from peercron.consensus.guard import Accept, Answer, SafetyViolation, reconcile


@dataclass
class ListLog:
    """A log that begins behind a snapshot at its first entry."""

    entries: list[Entry]

    @property
    def base(self) -> tuple[int, int]:
        return self.entries[0][1], self.entries[0][2]

    @property
    def last(self) -> tuple[int, int]:
        return self.entries[-1][1], self.entries[-1][2]

    def term_at(self, index: int) -> int | None:
        return next((term for _, i, term in self.entries if i == index), None)


def entries(*terms: int, first: int = 1) -> list[Entry]:
    return [(b"%d@%d" % (index, term), index, term) for index, term in enumerate(terms, first)]


def message(leader: list[Entry], previous: int | None, count: int, commit: int) -> dict[str, Any]:
    """What a leader with this log (from index 1) sends."""
    return {
        "prevLogIdx": previous,
        "prevLogTerm": None if previous is None else leader[previous - 1][2],
        "entries": tuple(leader[previous : previous + count]) if previous is not None else (),
        "commit_index": commit,
    }


def figure_2(log: list[Entry], commit: int, sent: dict[str, Any]) -> tuple[list[Entry], int, bool]:
    """AppendEntries by the book, on a log that reaches back to index 1: (log, commit index, success)."""
    log = list(log)
    previous = sent["prevLogIdx"]
    if previous is None or previous > len(log) or log[previous - 1][2] != sent["prevLogTerm"]:
        return log, commit, False
    for entry in sent["entries"]:
        if entry[1] <= len(log) and log[entry[1] - 1][2] != entry[2]:
            del log[entry[1] - 1 :]
        if entry[1] > len(log):
            log.append(entry)
    return log, max(commit, min(sent["commit_index"], previous + len(sent["entries"]))), True


def obey(log: list[Entry], decision: Accept | Answer) -> list[Entry]:
    if isinstance(decision, Answer):
        return log
    assert log[decision.previous - 1][2] == decision.previous_term
    return log[: decision.previous] + list(decision.entries)


def grown(dice: random.Random) -> tuple[list[Entry], list[Entry], int]:
    """A leader's log, a follower's that shares a committed beginning with it, and how much of it is committed there."""
    shared = sorted(dice.choices((1, 1, 2), k=dice.randint(1, 5)))
    theirs = [dice.randint(shared[-1], 4) for _ in range(dice.randint(0, 5))]
    ours = [dice.randint(shared[-1], 4) for _ in range(dice.randint(0, 5))]
    leader = entries(*shared, *sorted(theirs))
    follower = entries(*shared, *sorted(ours))
    # Log matching: the same index and term is the same history.
    agreed = max(i for i in range(len(shared), min(len(leader), len(follower)) + 1) if leader[:i] == follower[:i])
    for i in range(agreed, min(len(leader), len(follower))):
        if leader[i][2] == follower[i][2]:
            follower = follower[:i]
            break
    return leader, follower, dice.randint(1, agreed)


def test_any_message_does_what_figure_2_says() -> None:
    dice = random.Random(1)
    seen = {"accept": 0, "known": 0, "refused": 0, "conflict": 0, "below base": 0}
    for _ in range(20_000):
        leader, follower, commit = grown(dice)
        previous = dice.choice([None, *[dice.randint(1, len(leader))] * 9])
        sent = message(leader, previous, dice.randint(0, 4), dice.randint(1, len(leader)))
        base = dice.randint(1, commit)
        decision = reconcile(ListLog(follower[base - 1 :]), commit, sent)
        log, proven, success = figure_2(follower, commit, sent)
        assert obey(follower, decision) == log
        if isinstance(decision, Accept):
            assert decision.commit == proven
            assert decision.previous >= commit  # nothing committed is cut, nothing that matches is cut
            assert decision.entries
            assert follower[: decision.previous + 1] != log[: decision.previous + 1]
            seen["conflict" if decision.previous < len(follower) else "accept"] += 1
        elif success:
            assert decision.matched
            below = previous is not None and previous + len(sent["entries"]) < base
            assert decision.commit == (commit if below else proven)
            assert decision.next_index == (base + 1 if below else (previous or 0) + len(sent["entries"]) + 1)
            assert log[: decision.next_index - 1] == leader[: decision.next_index - 1]
            seen["below base" if below else "known"] += 1
        else:
            # Back to what is surely common, in one step.
            assert (decision.commit, decision.next_index, decision.matched) == (commit, commit + 1, False)
            seen["refused"] += 1
    assert min(seen.values()) > 100, seen


def test_a_leader_with_another_committed_entry_is_impossible() -> None:
    log = ListLog(entries(1, 1, 2))
    with pytest.raises(SafetyViolation, match="contradicts committed entry 2"):
        reconcile(log, 3, message(entries(1, 3, 3), 1, 2, 1))
    with pytest.raises(SafetyViolation, match="another term than ours at committed entry 2"):
        reconcile(log, 2, message(entries(1, 3, 3), 2, 1, 1))


def test_an_uncommitted_entry_may_be_contradicted() -> None:
    decision = reconcile(ListLog(entries(1, 1, 2)), 2, message(entries(1, 1, 3, 3), 2, 2, 4))
    assert decision == Accept(2, 1, tuple(entries(1, 1, 3, 3)[2:]), 4)


def test_a_commit_index_without_proof_moves_nothing() -> None:
    """Audit S1: a leader that has only a snapshot for us says nothing about our uncommitted tail."""
    log = ListLog(entries(1, 2, 2, 2))
    assert reconcile(log, 1, message(entries(1, 3, 3, 3), None, 0, 4)) == Answer(1, 2, matched=False)
    # A heartbeat proves the log up to its previous entry and no further.
    assert reconcile(log, 1, message(entries(1, 3, 3, 3), 1, 0, 4)) == Answer(1, 2, matched=True)


def test_entries_that_are_here_already_are_not_written_again() -> None:
    """Audit S10: a repeated or shorter message cuts nothing."""
    whole = entries(1, 1, 1, 1)
    for previous in (1, 2, 3):
        for count in range(4):
            decision = reconcile(ListLog(whole), 1, message(whole, previous, count, 1))
            assert decision == Answer(1, min(previous + count, 4) + 1, matched=True)
