"""Recovery: what is left of a cluster whose majority is gone for good becomes a cluster of its own, by force.

The survivor's log gets one more configuration, of this member alone, and everything in the log counts as committed from
then on: nothing that was acknowledged and is here is lost. The cluster gets another id, so that members of the old half
are refused if they come back, and another generation, so that every fencing token they ever gave out is smaller than
any of the new cluster's.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from peercron.consensus.disk import FolderDisk
from peercron.consensus.journal import Journal, JournalDamaged
from peercron.consensus.membership import encode
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotDamaged, SnapshotStore
from peercron.core.member import Configuration, Role
from peercron.errors import DataDirError
from peercron.identity import DataDir, Identity, cluster_name
from peercron.machine import Machine
from peercron.timers import PROFILES

#: Of the digest that tells one cluster id from another.
ID_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Findings:
    """What a data directory holds of its cluster: for the operator, who has to choose among the survivors.

    Of several survivors the one whose `(term, index)` is the largest has everything that the others have.
    """

    cluster: str
    member: str
    address: str
    #: The last entry of its log: the term comes first in the order.
    term: int
    index: int
    #: The members of its configuration, by name.
    members: tuple[str, ...]
    recoveries: int


class Survivor:
    """A data directory whose node does not run, held so that it cannot be started meanwhile.

    Args:
        path: the data directory.

    Raises:
        DataDirError: there is no member in it, its node runs, or its log is unreadable.

    Example:
        >>> survivor = Survivor(Path("peercron-data/a"))          # doctest: +SKIP
        >>> survivor.findings.members                             # doctest: +SKIP
        ('a', 'b', 'c')
        >>> survivor.found_new_cluster()                          # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        if not (path / "identity.json").exists():
            raise DataDirError(f"{path} is not the data directory of a member: it has no identity.json")
        self._data_dir = DataDir(path)
        self._identity = self._member()
        disk = self._disk()
        try:
            self._journal = Journal(disk)
            self._replica = self._open(SnapshotStore(disk))
        except (JournalDamaged, SnapshotDamaged) as error:
            self.close()
            raise DataDirError(f"{path} cannot be read: {error}") from error

    @property
    def findings(self) -> Findings:
        index, term = self._journal.last
        configuration = self._replica.configuration
        return Findings(
            cluster_name(self._identity.cluster),
            self._identity.member,
            self._identity.address,
            term,
            index,
            tuple(seat.name for seat in configuration.seats),
            configuration.recoveries,
        )

    def found_new_cluster(self) -> None:
        """Make this member the only one of a new cluster, which has all that is in its log.

        The identity is first: a death in between leaves a member of the new cluster that lacks a majority until this is
        done again, and never one of the old cluster that leads alone.
        """
        configuration = self._alone()
        self._data_dir.write(replace(self._identity, cluster=self._next_cluster(configuration.recoveries)))
        journal = self._journal
        term = max(journal.getCurrentTerm(), journal.last[1]) + 1
        journal.setCurrentTerm(term, self._identity.member)
        journal.add(encode(configuration), journal.last[0] + 1, term)
        journal.clear_doubt()
        journal.flush()

    def close(self) -> None:
        self._data_dir.close()

    def _member(self) -> Identity:
        identity = self._data_dir.read()
        if identity is None or not identity.cluster:
            self.close()
            raise DataDirError(f"{self._data_dir.path} belongs to a node that no cluster has taken in yet")
        return identity

    def _disk(self) -> FolderDisk:
        """Where the log is. To open one that is not there would be to begin it, and without the members."""
        folder = self._data_dir.path / "log"
        if not any(folder.glob("wal-*.log")):
            self.close()
            raise DataDirError(f"{folder} holds no log: this member has nothing that a cluster could be made of")
        return FolderDisk(folder)

    def _open(self, store: SnapshotStore) -> Replica:
        machine = Machine(self._identity.member)
        return Replica(
            self._identity.member, self._journal, store, machine, PROFILES["lan"], random.Random(0), now_s=0.0
        )

    def _alone(self) -> Configuration:
        before = self._replica.configuration
        seat = before.seat(self._identity.member)
        if seat is None:
            raise DataDirError(
                f"{self._data_dir.path} belongs to {self._identity.member}, which is not among the members of its "
                "cluster: it was removed, or had not been given its first snapshot yet"
            )
        return Configuration((replace(seat, role=Role.VOTER),), before.recoveries + 1)

    def _next_cluster(self, recoveries: int) -> str:
        digest = hashlib.sha256(f"{self._identity.cluster}\n{self._identity.member}\n{recoveries}".encode()).hexdigest()
        return f"{cluster_name(self._identity.cluster)}-{digest[:ID_DIGITS]}"
