"""The fixture in the hands of this version: its data directories opened, and their members brought together."""

from __future__ import annotations

import json
import random
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peercron.consensus.disk import FolderDisk
from peercron.consensus.journal import Journal
from peercron.consensus.messages import Message
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.core.history import entries_of, recent_runs
from peercron.core.state import ClusterState
from peercron.machine import Machine
from peercron.wire.plain import pack, unpack
from tests.consensus.staged import Timing

FOLDER = Path(__file__).parent / "fixture"
DATA = FOLDER / "nodes.tar.gz"
SUMMARY = FOLDER / "summary.json"
STEP_S = 0.02
STEPS_MAX = 2_000


@contextmanager
def unpacked() -> Iterator[list[Path]]:
    """Copies of the data directories, in order of name."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_into(Path(folder))
        yield sorted(Path(folder).iterdir())


def unpack_into(folder: Path) -> None:
    """The data directories, by name, in this folder."""
    with tarfile.open(DATA) as archive:
        archive.extractall(folder, filter="data")


class Member:
    """One data directory, opened as a node opens it, with no processes and no sockets."""

    def __init__(self, folder: Path, now_s: float) -> None:
        self.id = str(json.loads((folder / "identity.json").read_text())["member"])
        disk = FolderDisk(folder / "log", durable=False)
        self.machine = Machine(self.id)
        self.journal = Journal(disk)
        #: What the journal itself says, before anything is added to it.
        self.found = self.journal.base[0], self.journal.last[0]
        self.replica = Replica(
            self.id, self.journal, SnapshotStore(disk), self.machine, Timing(), random.Random(self.id), now_s
        )
        self.restored_index = self.replica.snapshot_index
        self.inbox: list[tuple[str, Message]] = []


class Reopened:
    """All members of the fixture, connected to each other."""

    def __init__(self, folders: list[Path]) -> None:
        self._now_s = 1_000.0
        self.members = {member.id: member for member in (Member(folder, self._now_s) for folder in folders)}
        for member in self.members.values():
            for peer in self.members.keys() - {member.id}:
                member.replica.connected(peer, self._now_s)

    @property
    def leader(self) -> Member | None:
        return next((member for member in self.members.values() if member.replica.kernel.noop_applied), None)

    @property
    def states(self) -> list[ClusterState]:
        return [member.machine.state for member in self.members.values()]

    def settle(self) -> None:
        """Until somebody leads and everybody has applied the whole log."""
        for _ in range(STEPS_MAX):
            self._step()
            leader = self.leader
            if leader is not None:
                last = leader.journal.last[0]
                if all(member.replica.kernel.applied == last for member in self.members.values()):
                    return
        raise AssertionError("nobody leads, or somebody does not catch up")

    def _step(self) -> None:
        self._now_s += STEP_S
        for member in self.members.values():
            inbox, member.inbox = member.inbox, []
            for peer, message in inbox:
                member.replica.receive(peer, message, self._now_s)
            out = member.replica.step(self._now_s, 1_800_000_000_000)
            member.journal.flush()
            for to, message in (*out.early, *out.late):
                self.members[to].inbox.append((member.id, unpack(pack(message))))


def summary_of(state: ClusterState) -> dict[str, Any]:
    """What people would look for in it."""
    return {
        "members": {member.info.name: member.session for member in state.members.values()},
        "seats": [f"{seat.name} {seat.role}" for seat in state.seats.values()],
        "removed": len(state.removed),
        "invitations": [f"{invited.name} {invited.role}" for invited in state.invitations.values()],
        "drained": [state.seats[member].name for member in state.drained],
        "jobs": {job.key: "paused" if job.paused else "" for job in state.jobs.values()},
        "deleted_jobs": sorted(state.deleted_jobs.values()),
        "ledger": dict(
            sorted(Counter(e.outcome.value for uid in state.ledger for e in entries_of(state, uid)).items())
        ),
        "runs": dict(sorted(Counter(run.state.value for run in recent_runs(state)).items())),
        "state": {
            f"{name}/{key}": entry.value.hex() for name, keys in state.keys.items() for key, entry in keys.items()
        },
        "last_token": state.last_token,
    }
