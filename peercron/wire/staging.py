"""Staging: what the parts of a restore hold, read while they come, so that adopting them keeps nobody waiting."""

from __future__ import annotations

from typing import Final

from peercron.core.level import LEVEL
from peercron.core.state import ClusterState
from peercron.errors import SnapshotDamaged, SnapshotTooNew, TooOld
from peercron.wire.archive import inflate
from peercron.wire.snapshot import Proof, SnapshotUnreadable, Thawing

#: Parts read at each one that comes: two, so that a member that had to begin late catches up.
PARTS_PER_LOOK: Final = 2
#: What reading bytes that nobody wrote can end in.
_UNREADABLE: Final = (
    *(SnapshotUnreadable, ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError),
)


class Reading:
    """Parts of a file in their order, read as they come; what is wrong with them is told at the end.

    >>> Reading(Proof()).finish()                           # doctest: +SKIP
    """

    def __init__(self, thawing: Thawing) -> None:
        self._thawing = thawing
        self._flaw: SnapshotDamaged | SnapshotTooNew | None = None

    def feed(self, part: bytes) -> None:
        if self._flaw is None:
            self._flaw = self._flaw_of(part)

    def finish(self) -> ClusterState:
        """Nothing more comes: what was read.

        Raises:
            SnapshotDamaged: it was no snapshot, or not all of one.
            SnapshotTooNew: it was one with something in it that this version does not know.
        """
        if self._flaw is not None:
            raise self._flaw
        try:
            state = self._thawing.finish()
        except SnapshotUnreadable as error:
            raise SnapshotDamaged(str(error)) from None
        if state.level > LEVEL:
            raise SnapshotTooNew(f"it is in level {state.level} of the language, this version speaks {LEVEL}")
        return state

    def _flaw_of(self, part: bytes) -> SnapshotDamaged | SnapshotTooNew | None:
        try:
            self._thawing.feed(inflate(part))
        except SnapshotDamaged as error:
            return error
        except TooOld as error:
            return SnapshotTooNew(error.what)
        except _UNREADABLE as error:
            return SnapshotDamaged(f"{type(error).__name__} in its content: {error}")
        return None


def trial() -> Reading:
    """Reads all and keeps nothing: only whether it can be read, and of which level it is."""
    return Reading(Proof())


class Staging:
    """Follows `state.stage`. Nothing here is replicated: all of it can be made anew from the parts."""

    def __init__(self) -> None:
        self._begin(-1)

    def _begin(self, begun: int) -> None:
        #: Which stage is followed, by its index.
        self._begun = begun
        self._reading = Reading(Thawing())
        self._read = 0

    def read_on(self, state: ClusterState, most: int = PARTS_PER_LOOK) -> None:
        """The stage has changed: read what follows on what was read."""
        begun = state.stage.begun if state.stage is not None else -1
        if begun != self._begun:
            self._begin(begun)
        while most > 0 and (part := state.staged.get(self._read)) is not None:
            most -= 1
            self._read += 1
            self._reading.feed(part)

    def take(self, state: ClusterState) -> ClusterState | None:
        """The state in all staged parts, once; None: some are missing, or they hold none, as every member finds.

        Raises:
            SnapshotTooNew: other members may be able to read it, and go on where this one cannot follow.
        """
        if state.stage is None or len(state.staged) < state.stage.parts:
            return None
        self.read_on(state, most=len(state.staged))
        reading = self._reading
        self._begin(-1)
        try:
            return reading.finish()
        except SnapshotDamaged:
            return None
