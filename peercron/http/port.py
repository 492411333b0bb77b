"""The node as HTTP sees it: the few things that the routes ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from peercron.core.commands import Command, Once
from peercron.core.state import ClusterState, Resource
from peercron.core.verdict import Done
from peercron.meters import Meters, Readings
from peercron.settings import Settings


class NodePort(Protocol):
    """Implemented by `peercron.node.Node`; a fake one over a real `ClusterState` serves the tests."""

    @property
    def settings(self) -> Settings: ...

    @property
    def name(self) -> str:
        """What this node is called in the cluster."""
        ...

    @property
    def state(self) -> ClusterState:
        """The replicated state as applied here; changes between awaits, so read it in one go."""
        ...

    @property
    def term(self) -> int: ...

    @property
    def pass_key(self) -> bytes:
        """What the passes of root and of runs are made with; empty: root has none."""
        ...

    def leader(self) -> str | None:
        """Name of the leader as known here."""
        ...

    async def propose(self, command: Command, timeout_s: float, once: Once | None = None) -> Done:
        """Through the leader, wherever it is. With `once` it is not done again if it was done before: the first answer
        is given again. Members of the first level know no such thing, and it is passed over while there is one.

        Raises Refused, NoLeader, Busy or OutcomeUnknown.
        """
        ...

    async def read_barrier(self, timeout_s: float) -> None:
        """Afterwards `state` has every write acknowledged before the call. Raises NoLeader."""
        ...

    async def wait_changed(self, index: int, timeout_s: float) -> None:
        """Returns when `state.index` is greater than `index`, or when the time is up."""
        ...

    async def wait_for(self, resource: Resource, timeout_s: float) -> bool:
        """Whether the resource (kind, namespace, name) was told to have changed after this call; False: the time is up.

        With the name "" any of that kind and namespace will do. Look at `state` and call this with no await in between.
        """
        ...

    async def renew(self, lease: int, timeout_s: float) -> int:
        """The lease lives so many ms more, counted from this call. Raises Refused (stale_token: it has ended), NoLeader
        or OutcomeUnknown.
        """
        ...

    def status(self) -> dict[str, Any]:
        """Status JSON; needs no leader."""
        ...

    @property
    def meters(self) -> Meters:
        """What it counts of its own doings."""
        ...

    def readings(self) -> Readings:
        """How its consensus stands; needs no leader."""
        ...

    def slices(self) -> dict[str, Any]:
        """What this node knows of its own slices; needs no leader, and says nothing of other nodes."""
        ...

    def frozen(self) -> Iterator[bytes]:
        """The state as it is now, as blocks of a snapshot; it may go on meanwhile."""
        ...

    def run_log_path(self, run_id: str, token: int) -> Path | None:
        """The output of an attempt that ran here; None: it did not, or the file is gone."""
        ...

    def runs_here(self, run_id: str, token: int) -> bool:
        """Whether this attempt is alive on this node, whatever the state says."""
        ...

    def alive(self) -> bool:
        """Whether the loop turns; says nothing about the quorum."""
        ...

    def ready(self) -> list[tuple[str, bool, str]]:
        """Checks by name, each with whether it is well, and a word about it."""
        ...

    async def remove_member(self, member: str, timeout_s: float) -> None:
        """Returns when the cluster has committed that the member of this id has no seat. Raises NoLeader, Refused or
        OutcomeUnknown.
        """
        ...

    async def transfer_leadership(self, to: str | None) -> None:
        """Hand leadership to the member of this name (None: the best one). Raises NoLeader or Refused."""
        ...
