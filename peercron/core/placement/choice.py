"""Choice: what a placement function answers: who gets the attempt, and why, in words for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peercron.core.member import Member
from peercron.core.retry import preferred
from peercron.core.run import AttemptState, Run


@dataclass(frozen=True, slots=True)
class Choice:
    """The member that gets the next attempt; None: nobody, and `why` is what the run waits for."""

    member: Member | None
    why: str


def untried(run: Run, candidates: Sequence[Member]) -> Sequence[Member]:
    """Where the run had better go after an attempt that failed (`retry.on`) or was lost; all, if none is better."""
    wanted = preferred(run, candidates)
    loser = run.attempts[-1].member if run.attempts and run.attempts[-1].state is AttemptState.LOST else None
    return [member for member in wanted if member.info.id != loser] or wanted


def names(members: Iterable[Member]) -> str:
    """For sentences: a, b, c."""
    return ", ".join([member.info.name for member in members])
