"""Handover: a leader makes another the leader: it holds proposals back until that one has the whole log, and says so.

A witness does it as soon as it wins: it may alone have had the newest log, and is not there to lead. And so does, once,
whoever has just been started, if its clock is far from that of the only other one: that one may know which of the two
has moved, and what is in the log is time that has been.
"""

from __future__ import annotations

from typing import Final

from peercron.consensus.clocks import Moved
from peercron.consensus.installer import Installer
from peercron.core.member import Role

#: A witness that leads holds proposals back for so long to hand over, then lets them pass for so long.
WITNESS_HOLD_S: Final = 0.5
WITNESS_PAUSE_S: Final = 0.5
#: And whoever has just come and cannot say whose clock is wrong, once.
STRANGER_HOLD_S: Final = 1.0


class Handover(Installer):
    """The transfer of leadership (dissertation, section 3.10)."""

    _handover_until_s = float("-inf")
    _handover_to: str | None = None
    _yielded = False

    def hand_over(self, to: str | None, until_s: float) -> None:
        """Make `to`, or whoever can, the leader as soon as it has the whole log; proposals wait until then."""
        self._handover_to, self._handover_until_s = to, until_s

    def _handing_over(self) -> bool:
        return self._now_s < self._handover_until_s

    def _step_leadership(self) -> None:
        if not self.kernel.is_leader:
            self._handover_until_s = float("-inf")
        elif self._only_votes() and self._now_s > self._handover_until_s + WITNESS_PAUSE_S:
            self.hand_over(None, self._now_s + WITNESS_HOLD_S)
        elif not self._yielded and self.clocks.moved() is Moved.NEVER_AGREED:
            self._yielded = True
            self.hand_over(None, self._now_s + STRANGER_HOLD_S)
        if not self._handing_over():
            return
        last = self.journal.last[0]
        ready = [p for p in self._heirs() if p in self._connected and self.kernel.match_index(p) == last]
        target = self._handover_to if self._handover_to in ready else None
        if self._handover_to is None and ready:
            target = ready[0]
        if target is not None:
            self.send(target, {"type": "timeout_now", "term": self.kernel.term})

    def _only_votes(self) -> bool:
        """Are we a witness, and is there somebody else to lead?"""
        return self.is_witness and any(peer in self._connected for peer in self._heirs())

    def _heirs(self) -> list[str]:
        """Who may be handed leadership."""
        return [seat.id for seat in self.membership.acting.seats if seat.role is Role.VOTER and seat.id != self.me]
