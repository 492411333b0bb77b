"""Session: a member's right to run, renewed by round trips that are not log entries, counted on both ends.

The member counts from when it sent the renewal that was confirmed; the leader from when it received it, and confirms
only after a majority has told it anew that it leads. So whoever is elected later is elected after the member's count
began, and gives the member's work away no sooner than a whole lease after that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Clocks of two machines run at the same rate within this share.
CLOCK_RATE_SHARE: Final = 0.02
Session = tuple[str, int]  # member id, session number

#: Renewals on their way; older ones are forgotten.
RENEWALS_REMEMBERED: Final = 64


@dataclass(slots=True)
class Lease:
    """The member's end. Times are monotonic seconds."""

    lease_s: float
    #: When the last confirmed renewal was sent.
    sent_s: float = float("-inf")
    rtt_ms: float | None = None
    clock_ms: int | None = None
    _numbers: int = 0
    _on_their_way: dict[int, tuple[float, int]] = field(default_factory=dict)

    def renewal(self, now_s: float, wall_ms: int) -> int:
        """The number of a renewal that is sent now."""
        self._numbers += 1
        self._on_their_way[self._numbers] = (now_s, wall_ms)
        if len(self._on_their_way) > RENEWALS_REMEMBERED:
            del self._on_their_way[next(iter(self._on_their_way))]
        return self._numbers

    def confirmed(self, number: int, now_s: float, held_ms: float, leader_wall_ms: int) -> bool:
        """The leader has confirmed it, after holding it for a while. False: it is not known any more."""
        sent = self._on_their_way.pop(number, None)
        if sent is None:
            return False
        self.sent_s = max(self.sent_s, sent[0])
        self.rtt_ms = max(0.0, (now_s - sent[0]) * 1000 - held_ms)
        there_ms = sent[1] + (now_s - sent[0]) * 1000 - self.rtt_ms / 2
        self.clock_ms = round(there_ms - leader_wall_ms)
        return True

    def begin(self, sent_s: float) -> None:
        """A session was opened by a command sent then; renewals of the one before count no more."""
        self._on_their_way.clear()
        self.sent_s = sent_s

    @property
    def ends_s(self) -> float:
        return self.sent_s + self.lease_s


@dataclass(slots=True)
class Sessions:
    """The leader's end: when each session was last heard. Built anew at each election, so all counts begin anew.

    A session whose end was proposed is doomed: it is not confirmed again, whatever becomes of the proposal, since an
    entry that seems lost may yet be committed.
    """

    lease_s: float
    _heard_s: dict[Session, float] = field(default_factory=dict)
    #: Those that spoke to us at all; until then their counts began when ours did.
    _renewed: set[Session] = field(default_factory=set)
    _doomed: set[Session] = field(default_factory=set)
    _looked_s: float | None = None

    def heard(self, session: Session, now_s: float) -> bool:
        """Whether it is the first time."""
        first = session not in self._renewed
        self._renewed.add(session)
        self._heard_s[session] = now_s
        return first

    def is_doomed(self, session: Session) -> bool:
        return session in self._doomed

    def expired(self, open_sessions: list[Session], now_s: float, every_s: float) -> list[Session]:
        """The sessions whose lease has ended for certain; they are doomed from now on, and named until they are gone.

        To be asked every `every_s`. If we were held up ourselves, the members may have spoken to deaf ears.
        """
        if self._looked_s is not None and now_s - self._looked_s > 2 * every_s:
            delay_s = now_s - self._looked_s
            self._heard_s = {session: min(now_s, at + delay_s) for session, at in self._heard_s.items()}
        self._looked_s = now_s
        self._heard_s = {session: self._heard_s.get(session, now_s) for session in open_sessions}
        limit_s = self.lease_s * (1 + CLOCK_RATE_SHARE)
        self._doomed &= set(open_sessions)
        self._renewed &= set(open_sessions)
        self._doomed |= {session for session, at in self._heard_s.items() if now_s - at > limit_s}
        return [session for session in open_sessions if session in self._doomed]
