"""Membership: the configurations in a log. The newest acts, committed or not; the newest committed one is sure.

A configuration is an entry of its own kind and holds all seats, so that a log that is cut goes back to the one before
by forgetting the last. The voters change by one at a time, and the next change waits until the last is committed and
the leader has committed an entry of its own term: then any majority of the old voters meets any of the new (Raft
dissertation, section 4.1, with the correction of 2015).
"""

from __future__ import annotations

from collections.abc import Iterable

from peercron.consensus.entry import CONFIGURATION, Entry
from peercron.core.limits import MEMBERS_MAX
from peercron.core.member import Configuration, Role, Seat
from peercron.errors import TooOld
from peercron.wire.codec import UnknownRow, from_plain, to_plain
from peercron.wire.plain import pack, unpack

FORMAT = 1


def encode(configuration: Configuration) -> bytes:
    """A configuration as bytes of a log entry."""
    return CONFIGURATION + pack((FORMAT, to_plain(Configuration, configuration)))


def decode(command: bytes) -> Configuration:
    """The configuration in a log entry. TooOld: it was written by a newer version, and acts as soon as it is here."""
    version, plain = unpack(command[len(CONFIGURATION) :])
    if version != FORMAT:
        raise TooOld(f"the configuration of the members is of format {version}, this version reads {FORMAT}")
    try:
        configuration: Configuration = from_plain(Configuration, plain)
    except UnknownRow as unknown:
        raise TooOld(f"the configuration of the members holds {unknown}, which this version does not know") from None
    return configuration


def founding(configuration: Configuration) -> Entry:
    """The first entry of a founder's log: the same on all founders, so that they begin as one cluster."""
    return encode(configuration), 1, 0


class Membership:
    """The configurations of one log, as (index, configuration), oldest first.

    Args:
        index: last entry that `configuration` stands for: the founding entry, or a snapshot's place.
    """

    def __init__(self, index: int, configuration: Configuration) -> None:
        self._known = [(index, configuration)]

    @property
    def acting(self) -> Configuration:
        return self._known[-1][1]

    @property
    def acting_index(self) -> int:
        return self._known[-1][0]

    def at(self, index: int) -> Configuration:
        """The configuration as of an index that is committed."""
        return next(c for i, c in reversed(self._known) if i <= index)

    def place(self, index: int) -> int:
        """Where the configuration as of an index stands in the log."""
        return next(i for i, _ in reversed(self._known) if i <= index)

    def appended(self, entries: Iterable[Entry]) -> bool:
        """Entries came to the log's end. True: another configuration acts."""
        found = [(index, decode(command)) for command, index, _ in entries if command[:1] == CONFIGURATION]
        self._known += found
        return bool(found)

    def cut(self, after: int) -> bool:
        """The log ends at `after`. True: an earlier configuration acts again."""
        kept = [known for known in self._known if known[0] <= after]
        assert kept, "the first configuration is committed"
        was, self._known = self._known, kept
        return len(kept) < len(was)

    def forget_before(self, index: int) -> None:
        """Entries up to this committed index are never cut: of their configurations the last is enough."""
        place = self.place(index)
        self._known = [known for known in self._known if known[0] >= place]


def objection(before: Configuration, seats: tuple[Seat, ...], leader: str) -> str | None:
    """Why these seats cannot follow those under this leader; None: they can."""
    after = Configuration(seats)
    if len(seats) > MEMBERS_MAX:
        return f"a cluster has at most {MEMBERS_MAX} members"
    for what, values in (
        ("id", [seat.id for seat in seats]),
        ("name", [seat.name for seat in seats]),
        ("address", [seat.address for seat in seats]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            return f"the {what} {twice} would be there twice"
    if not any(seat.role is Role.VOTER for seat in seats):
        return "no voter that works would be left"
    if leader not in after.voters:
        return "the leader itself would have no vote: hand leadership over first"
    if len(set(before.voters) ^ set(after.voters)) > 1:
        return "the voters change by one at a time"
    return None
