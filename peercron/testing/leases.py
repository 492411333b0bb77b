"""leases: when what ends by itself ends, in a cluster that never renews it: what a run holds goes with its attempt."""

from __future__ import annotations

from collections.abc import Iterable

from peercron.core.commands import Command, ExpireLease
from peercron.core.state import ClusterState


class Leases:
    """The leader's part in `core.lease`, under the clock of the test."""

    def __init__(self) -> None:
        #: Lease -> when it ends unless it goes with its run.
        self._ends_ms: dict[int, int] = {}

    def expiries(self, state: ClusterState, now_ms: int) -> list[Command]:
        """What is due of them now."""
        self._ends_ms = {id_: self._ends_ms.get(id_, now_ms + row.ttl_ms) for id_, row in state.leases.items()}
        return [ExpireLease(id_) for id_, at_ms in self._ends_ms.items() if at_ms <= now_ms]

    def dues(self) -> Iterable[int]:
        """When each of them ends."""
        return self._ends_ms.values()
