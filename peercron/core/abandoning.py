"""Abandoning: the leader's duty to a restore under way: it is given up when nobody adds to it for long."""

from __future__ import annotations

from peercron.core.commands import AbandonRestore
from peercron.core.limits import RESTORE_IDLE_MS_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict


class Abandoning:
    """Plans for the restore of one state, on the leader; see `planner.Planner`, whose part it is."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        #: The last plan; it names what it was made from, so that none is made twice.
        self._planned: AbandonRestore | None = None

    def plan(self, now_ms: int) -> list[AbandonRestore]:
        """What to propose now."""
        due_ms, stage = self.next_ms(), self._state.stage
        if stage is None or due_ms is None or due_ms > now_ms:
            return []
        self._planned = AbandonRestore(stage.restore_id, stage.touched_ms)
        return [self._planned]

    def settle(self, command: AbandonRestore, verdict: Verdict | None) -> None:
        """A proposal of `plan` has its answer; None: it is not known, or it could not be proposed."""
        if command == self._planned and verdict is None:
            self._planned = None

    def next_ms(self) -> int | None:
        """When the restore under way is given up if nobody adds to it; None: there is none, or that is planned."""
        stage = self._state.stage
        if stage is None or self._planned == AbandonRestore(stage.restore_id, stage.touched_ms):
            return None
        return stage.touched_ms + RESTORE_IDLE_MS_MAX
