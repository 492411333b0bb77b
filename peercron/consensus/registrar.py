"""Registrar: a replica's membership: which configuration acts, what the next may be, and who is ready to vote."""

from __future__ import annotations

from dataclasses import replace

from peercron.consensus.entry import Entry
from peercron.consensus.handover import Handover
from peercron.consensus.membership import decode, encode, objection
from peercron.core.member import Configuration, Role, Seat


class Registrar(Handover):
    """Configurations act as soon as they are in the log, and no longer when they are cut from it."""

    #: Learner -> (entry that it shall have, since when, in monotonic seconds): the round it is in.
    _rounds: dict[str, tuple[int, float]]
    _told: tuple[int, int] = (0, 0)
    _was_member = False

    @property
    def configuration(self) -> Configuration:
        """The newest that we know, committed or not: it acts."""
        return self.membership.acting

    @property
    def committed_configuration(self) -> Configuration:
        return self.membership.at(max(self.kernel.commit, self.journal.base[0]))

    @property
    def configuration_settled(self) -> bool:
        """The acting configuration is committed."""
        return self.membership.acting_index <= max(self.kernel.commit, self.journal.base[0])

    @property
    def removed(self) -> bool:
        """We belonged to the cluster, and it has committed that we do so no more."""
        return self._was_member and self.committed_configuration.seat(self.me) is None

    def change(self, seats: tuple[Seat, ...]) -> str | None:
        """Where we lead: put a configuration of these seats into the log, where it acts at once.

        Returns:
            None: it is in the log, and on its way; a sentence: why not.
        """
        if not self.kernel.noop_applied:
            return "this member does not lead"
        if not self.configuration_settled:
            return "another change of the members is under way"
        if self._handing_over():
            return "leadership is being handed over"
        why = objection(self.configuration, seats, self.me)
        if why is None:
            entry = self.kernel.append_configuration(encode(replace(self.configuration, seats=seats)))
            self._log_moved(entry[1] - 1, [entry])
        return why

    def apply_configuration(self, index: int, command: bytes) -> None:
        """It is committed, and all before it is applied."""
        self._machine.configured(decode(command))

    def _log_moved(self, previous: int, entries: list[Entry] | tuple[Entry, ...]) -> None:
        """The log was cut behind `previous`, and these entries follow it."""
        cut = self.membership.acting_index > previous and self.membership.cut(previous)
        if self.membership.appended(entries) or cut:
            self._configure()

    def _step_membership(self) -> None:
        committed = self.membership.place(max(self.kernel.commit, self.journal.base[0]))
        now = self.membership.acting_index, committed
        if now != self._told:
            self._told = now
            self._out.reconfigured = True
            self._was_member |= self.committed_configuration.seat(self.me) is not None
            self.membership.forget_before(self.kernel.applied)
        if self._learners and self.kernel.noop_applied:
            self._promote()

    def _promote(self) -> None:
        """Give a vote to a learner that has what the log had less than an election time-out ago.

        So rounds of catching up, each of what came during the last, have become short (dissertation, section 4.2.1).
        """
        last = self.journal.last[0]
        for seat in self.configuration.seats:
            if seat.role is not Role.LEARNER:
                continue
            target, since_s = self._rounds.setdefault(seat.id, (last, self._now_s))
            if seat.id not in self._connected or self.kernel.match_index(seat.id) < target:
                continue
            self._rounds[seat.id] = last, self._now_s
            if self._now_s - since_s < self.election.min_timeout_s and self._promoted(seat):
                return

    def _promoted(self, learner: Seat) -> bool:
        seats = tuple(replace(s, role=s.becomes) if s.id == learner.id else s for s in self.configuration.seats)
        done = self.change(seats) is None
        if done:
            del self._rounds[learner.id]
        return done
