"""Election: who may stand, and for whom a vote may be given, asked before the kernel acts.

On top of Raft's own rules: a member stands only after a majority said it would vote for it (PreVote, dissertation
section 9.6); nobody votes while it hears a leader, but for a leader that hands over (sections 4.2.3 and 3.10); a
broken connection to the leader counts as not hearing it, so that a crash costs milliseconds; and a member that had to
cut its journal's tail votes only for the newest log of all, since it may have forgotten what it promised.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Position = tuple[int, int]  # (term, index) of a log's last entry: the order in which logs are newer

#: The position of a log that holds nothing yet.
NOTHING: Position = (0, 1)
#: After the leader's connection broke, members stand one after another at this distance, so that votes do not split.
RANK_DELAY_S = 0.008
RANK_JITTER_S = 0.003
#: After a split vote the candidates try again within this time instead of a whole election time-out.
SPLIT_DELAY_S = (0.005, 0.040)
#: A pre-vote round that came to nothing is repeated after this share of the least election time-out.
RETRY_SHARE = (0.2, 0.5)
#: How long a refused pre-vote may still be granted when the refuser loses its leader too.
REGRET_S = 0.25


@dataclass(slots=True)
class Election:
    """The election state of one member that the kernel does not have. Times are monotonic seconds."""

    min_timeout_s: float
    rng: random.Random
    #: The other voters.
    peers: tuple[str, ...] = ()
    #: All voters in the order in which they stand when the leader is lost: who only votes stands last.
    order: tuple[str, ...] = ()
    leader_heard_s: float = float("-inf")
    #: The leader asked us to take over: our request for votes may pass the others' stickiness.
    transfer: bool = False
    _round: int = 0
    _retry_at_s: float = float("-inf")
    _grants: set[str] = field(default_factory=set)
    _won: bool = False
    _counted: set[tuple[int, str]] = field(default_factory=set)
    _refused: tuple[str, dict[str, Any], float] | None = None
    #: Peer -> (where its log ended, its term) as it said when it connected, for a member in doubt.
    told: dict[str, tuple[Position, int]] = field(default_factory=dict)

    def heard_leader(self, now_s: float) -> None:
        self.leader_heard_s = now_s
        self._end_round()

    def lost_leader(self, me: str, leader: str, now_s: float) -> float:
        """The connection to the leader broke: from now on we would vote. When to stand, in monotonic seconds."""
        self.leader_heard_s = float("-inf")
        before = [peer for peer in self.order if peer != leader]
        rank = before.index(me) if me in before else len(before)
        return now_s + rank * RANK_DELAY_S + self.rng.uniform(0, RANK_JITTER_S)

    def hears_leader(self, now_s: float) -> bool:
        return now_s - self.leader_heard_s < self.min_timeout_s

    # Standing.

    def may_stand(self, now_s: float, *, transferring: bool) -> tuple[bool, int | None]:
        """Asked at the election time-out. (stand now?, number of a pre-vote round to send out or None)"""
        if not self.peers:
            return True, None
        if transferring:
            self.transfer = True
            return True, None
        if self._won:
            self.transfer = False
            self._end_round()
            return True, None
        if now_s < self._retry_at_s:
            return False, None
        self._round += 1
        self._retry_at_s = now_s + self.min_timeout_s * self.rng.uniform(*RETRY_SHARE)
        self._grants = set()
        return False, self._round

    def granted(self, peer: str, round_number: int) -> bool:
        """A pre-vote came in. True: the majority is reached now."""
        if round_number != self._round or self._retry_at_s == float("-inf"):
            return False
        self._grants.add(peer)
        self._won = len(self._grants) + 1 > (len(self.peers) + 1) / 2
        return self._won

    @property
    def retry_at_s(self) -> float:
        """When the next pre-vote round may begin."""
        return self._retry_at_s

    def first_vote(self, term: int, peer: str) -> bool:
        """Count one vote per member and term."""
        self._counted = {(t, p) for t, p in self._counted if t >= term}
        if (term, peer) in self._counted:
            return False
        self._counted.add((term, peer))
        return True

    def _end_round(self) -> None:
        self._won = False
        self._retry_at_s = float("-inf")

    def split_retry_at(self, now_s: float) -> float:
        return now_s + self.rng.uniform(*SPLIT_DELAY_S)

    # Voting.

    def would_vote(self, candidate: str, term: int, mine: Position, theirs: Position, *, doubt: bool) -> bool:
        """May `candidate`, whose log ends at `theirs`, have our vote in `term`? The term rules are the kernel's."""
        if theirs < mine:
            return False
        # Where nobody has anything yet nothing can be forgotten: that is how a cluster begins.
        return not doubt or mine == theirs == NOTHING or self._sure_of(candidate, term, theirs)

    def _sure_of(self, candidate: str, term: int, theirs: Position) -> bool:
        """In doubt: what we may have promised and forgotten, somebody else still has. So every other member must have
        said where its log ends and which term it is in, and the candidate must be beyond all of them.
        """
        others = [peer for peer in self.peers if peer != candidate]
        return all(peer in self.told and self.told[peer][0] <= theirs and self.told[peer][1] < term for peer in others)

    def refuse_for_now(self, peer: str, message: dict[str, Any], now_s: float) -> None:
        self._refused = (peer, message, now_s)

    def regretted(self, now_s: float) -> tuple[str, dict[str, Any]] | None:
        """The pre-vote refused a moment ago because we still heard the leader, once."""
        refused, self._refused = self._refused, None
        if refused is None or now_s - refused[2] > REGRET_S:
            return None
        return refused[0], refused[1]
