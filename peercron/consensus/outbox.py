"""Outbox: what a replica wants sent, and what every message tells of its sender."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peercron.consensus.clocks import Clocks
from peercron.consensus.election import Election
from peercron.consensus.journal import Journal
from peercron.consensus.membership import Membership
from peercron.consensus.messages import Message
from peercron.consensus.raft import Kernel
from peercron.consensus.reads import Reads


@dataclass(slots=True)
class Output:
    """What a step wants done, in this order: early messages, journal flush, late messages, the rest."""

    early: list[tuple[str, Message]] = field(default_factory=list)
    late: list[tuple[str, Message]] = field(default_factory=list)
    #: (token, index): from this index on the state has all that was acknowledged before the question; None: no leader.
    reads: list[tuple[int, int | None]] = field(default_factory=list)
    #: Proposals (by seq) that the leader had no room for: not in the log.
    busy: list[int] = field(default_factory=list)
    #: (peer, kind, body) of messages between the nodes above.
    mail: list[tuple[str, str, Any]] = field(default_factory=list)
    #: Another configuration acts, or is committed.
    reconfigured: bool = False
    #: There is more to apply; step again soon.
    more: bool = False


class Outbox:
    """The part of a replica that all its duties share: who is there, what time it is, and what is to be sent."""

    kernel: Kernel
    election: Election
    membership: Membership

    def __init__(self, me: str, journal: Journal, now_s: float) -> None:
        self.me, self.journal = me, journal
        self._now_s = now_s
        self.clocks = Clocks()
        self._out = Output()
        self._connected: set[str] = set()
        self._reads = Reads()
        #: The step of its leader that this follower saw last.
        self._step_seen = 0

    def send(self, peer: str, message: Message) -> None:
        if peer not in self._connected:
            return
        message["_t"] = self.kernel.term
        message["_w"] = self.clocks.wall_ms(self._now_s)
        if message["type"] == "request_vote":
            message["transfer"] = self.election.transfer
        if message["type"] == "next_node_idx":
            message["step"] = self._step_seen
        early = message["type"] == "append_entries" and self.kernel.is_leader
        if early:
            message["step"] = 0 if message["quiet"] else self._reads.step
        (self._out.early if early else self._out.late).append((peer, message))

    def _enter(self, now_s: float) -> None:
        self._now_s = now_s
        self.kernel.enter(now_s)
