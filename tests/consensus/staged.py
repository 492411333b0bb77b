"""One replica on a stage: the test says what its peers say, and sees what it answers once its disk has it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from peercron.consensus.journal import Journal
from peercron.consensus.membership import founding
from peercron.consensus.messages import Message
from peercron.consensus.outbox import Output
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.core.member import Configuration, Seat
from peercron.wire.plain import pack
from tests.sim.disk import SimDisk
from tests.sim.world import Gathering


@dataclass(frozen=True)
class Timing:
    heartbeat_ms: int = 50
    election_min_ms: int = 300
    election_max_ms: int = 600


@dataclass
class Values:
    """A state machine that remembers."""

    values: list[bytes] = field(default_factory=list)
    configuration: Configuration = field(default_factory=Configuration)

    def apply(self, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
        self.values.extend(payloads)

    def configured(self, configuration: Configuration) -> None:
        self.configuration = configuration

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.values = b"".join(chunks).split()

    def restoration(self) -> Gathering:
        return Gathering(self)


def command(*payloads: bytes) -> bytes:
    """A log entry's bytes, as a leader writes them."""
    return b"\x00" + pack((1, 0, payloads))


def new_disk() -> SimDisk:
    return SimDisk(random.Random(1))


def voters(*names: str) -> Configuration:
    return Configuration(tuple(Seat(name, name, f"{name}:1") for name in names))


def a_disk_that_has_met_a_leader(*names: str) -> SimDisk:
    """A new log is in doubt; these scenes are about members that are not."""
    disk = new_disk()
    journal = Journal(disk, founding(voters(*names)))
    journal.clear_doubt()
    journal.flush()
    return disk


class Stage:
    """Member "a" of a cluster."""

    def __init__(self, *peers: str, disk: SimDisk | None = None, **kinds: Any) -> None:
        self.disk = disk or a_disk_that_has_met_a_leader("a", *peers)
        self.now_s = 1_000.0
        #: What its wall clock shows while it stands still; None: it goes.
        self.wall_ms: int | None = None
        self.kinds = kinds
        self.peers = peers
        self.boot()

    def boot(self) -> None:
        self.machine = self.kinds.get("machine", Values)()
        birth = self.kinds.get("birth", founding(voters("a", *self.peers)))
        journal = self.kinds.get("journal", Journal)(self.disk, birth)
        self.replica: Replica = self.kinds.get("replica", Replica)(
            "a", journal, SnapshotStore(self.disk), self.machine, Timing(), random.Random(2), self.now_s
        )
        for peer in self.peers:
            self.replica.connected(peer, self.now_s)
        self.last = self.turn()

    def lose_power(self) -> None:
        self.disk.lose_power()
        self.boot()

    def turn(self, seconds: float = 0.0) -> Output:
        """Time passes, and one turn is made and is durable."""
        self.now_s += seconds
        out = self.replica.step(self.now_s, int(self.now_s * 1000) if self.wall_ms is None else self.wall_ms)
        self.replica.journal.flush()
        self.last = out
        return out

    def hear(self, peer: str, kind: str, _t: int | None = None, **fields: Any) -> Output:
        """The peer says something; the turn after it."""
        self.say(peer, kind, _t, **fields)
        return self.turn()

    def say(self, peer: str, kind: str, _t: int | None = None, **fields: Any) -> None:
        term = fields.get("term", self.replica.kernel.term) if _t is None else _t
        self.replica.receive(peer, {"type": kind, "_t": term, "_w": 0, **fields}, self.now_s)

    def append(
        self, peer: str, term: int, previous: tuple[int, int] | None, *entries: tuple[bytes, int, int], commit: int = 1
    ) -> Output:
        index, previous_term = previous or (None, None)
        return self.hear(
            peer,
            "append_entries",
            term=term,
            commit_index=commit,
            prevLogIdx=index,
            prevLogTerm=previous_term,
            entries=entries,
            quiet=False,
            step=1,
        )

    def acknowledge(self, peer: str, index: int, _t: int | None = None, step: int = 0) -> Output:
        return self.hear(peer, "next_node_idx", _t, next_node_idx=index + 1, reset=False, success=True, step=step)

    def said(self, kind: str, to: str | None = None) -> list[Message]:
        messages = [*self.last.early, *self.last.late]
        return [m for peer, m in messages if m["type"] == kind and to in (None, peer)]

    def request(self, peer: str, term: int, position: tuple[int, int] = (9, 9), *, transfer: bool = False) -> bool:
        """Somebody stands; whether it got the vote."""
        self.hear(
            peer, "request_vote", term=term, last_log_term=position[0], last_log_index=position[1], transfer=transfer
        )
        return bool(self.said("response_vote", peer))

    def stand(self) -> int:
        """Silence, then a majority of pre-votes: we ask for votes in this term."""
        self.turn(1.0)
        rounds = self.said("prevote")
        for peer in self.peers:
            if rounds:
                self.say(peer, "prevote_ok", round=rounds[0]["round"])
        self.turn()
        return int(self.replica.kernel.term)

    def lead(self) -> int:
        """All vote for us: the term that we lead."""
        term = self.stand()
        for peer in self.peers:
            self.say(peer, "response_vote", term=term)
        self.turn()
        assert self.replica.kernel.is_leader
        return term
