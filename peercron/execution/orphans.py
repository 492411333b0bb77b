"""orphans: what is left of attempts whose shepherd died before them; it has become the guardian's children."""

from __future__ import annotations

import os
import signal
from collections.abc import Container

from peercron.execution.attempt import Attempt
from peercron.execution.ending import Pace
from peercron.execution.processes import Process, below, strike, table


class Orphans:
    """They are killed until none is left; then their attempts have ended."""

    def __init__(self) -> None:
        #: Attempts whose shepherd did not live to report.
        self.bereft: list[Attempt] = []
        #: There may be some.
        self.some = False
        self._sweep = Pace()

    @property
    def sweep_at(self) -> float:
        return self._sweep.at

    def expect(self) -> None:
        """A shepherd has died before its tree."""
        self.some, self._sweep = True, Pace()

    def end(self, instant: float, shepherds: Container[int]) -> list[Attempt]:
        """Kill whoever is a child of this process and no shepherd; the attempts of which nothing is left now."""
        everybody = table()
        own = [p for p in everybody.values() if p.parent == os.getpid() and p.pid not in shepherds]
        left: list[Process] = [p for orphan in own for p in (orphan, *below(orphan.pid, everybody)) if p.alive]
        strike(left, signal.SIGKILL)
        self._sweep.tried(instant)
        if left:
            return []
        ended, self.bereft, self.some = self.bereft, [], False
        return ended
