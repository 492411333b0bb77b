"""Kernel: pysyncobj's elections, votes and commits, driven as a step; the only module that knows pysyncobj.

pysyncobj 0.3.17 is used without its disk, network, threads, pickling, command queue and clocks. What this module
replaces or calls by private names is listed in `SEAMS`; the text of `syncobj.py` is pinned by its hash, and a test
fails by name when a seam moves. The kernel does what a guard lets through: see `guard` for what is kept from it.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pysyncobj.syncobj as upstream
from pysyncobj.config import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from peercron.consensus.entry import BATCH, CONFIGURATION, NO_OP, Entry
from peercron.consensus.journal import Journal
from peercron.consensus.port import Outlet, Timing
from peercron.errors import TooOld

SYNCOBJ_SHA256: Final = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"

#: Names of pysyncobj that this module overrides (calls go to ours) or reads; the seam test checks that each exists.
SEAMS: Final = (
    "_SyncObj__applyLogEntries",
    "_SyncObj__connectedToAnyone",
    "_SyncObj__loadDumpFile",
    "_SyncObj__onBecomeLeader",
    "_SyncObj__onMessageReceived",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__tryLogCompaction",
)
MODULE_SEAMS: Final = ("createJournal", "createPoller", "monotonicTime", "pickle", "random", "PIPE_NOTIFIER_ENABLED")

#: Entries of one append message, in bytes of commands.
APPEND_BYTES_MAX: Final = 512 << 10
#: Bytes sent to one follower and not yet acknowledged; more waits for its answers.
WINDOW_BYTES_MAX: Final = 4 << 20
#: Of the heartbeats to a follower that has the whole log, one in so many wants an answer.
ANSWER_EVERY: Final = 4
#: Commands applied in one step, so that catching up leaves the loop free in between.
APPLY_BYTES_MAX: Final = 256 << 10


class KernelMismatch(Exception):
    """pysyncobj's syncobj.py is not the text this version was proven against: {detail}."""


@dataclass(slots=True)
class _Ambient:
    """The kernel reads time and chance from its module; each entry into a kernel puts its own here first."""

    now_s: float = 0.0
    rng: random.Random | None = None


_ambient = _Ambient()


class _NoPickle:
    """Stands where the kernel's module has pickle. Nothing here may ever be pickled."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"pickle.{name} was reached")


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """There are no sockets in the kernel."""


class _Chance:
    @staticmethod
    def random() -> float:
        assert _ambient.rng is not None
        return _ambient.rng.random()


class PeerNode(Node):  # type: ignore[misc]  # pysyncobj is untyped
    """A member as the kernel knows it. Its hash is the same in every process, so sets of peers have one order."""

    def __init__(self, id: str) -> None:  # noqa: A002 - the kernel's name
        super().__init__(id)
        self._hash = zlib.crc32(id.encode())

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: PeerNode) -> bool:
        return bool(self.id < other.id)


class _Port(Transport):  # type: ignore[misc]
    """The kernel's transport: everything goes through the outlet."""

    ready = True

    def __init__(self, outlet: Outlet, me: PeerNode) -> None:
        super().__init__(None, me, [])
        self._outlet = outlet

    def tryGetReady(self) -> None:  # noqa: N802 - the kernel's name
        """Always ready."""

    def send(self, node: PeerNode, message: dict[str, Any]) -> bool:
        self._outlet.send(node.id, message)
        return True

    def destroy(self) -> None:
        """Holds nothing."""


def verify_kernel() -> None:
    """Raise KernelMismatch unless the installed pysyncobj is, byte for byte, the one that was audited."""
    found = hashlib.sha256(Path(upstream.__file__).read_bytes()).hexdigest()
    if found != SYNCOBJ_SHA256:
        raise KernelMismatch(f"sha256 {found}, expected {SYNCOBJ_SHA256}")


def _seal() -> None:
    """Take the disk, the clock, chance and pickle out of the kernel's module, once for the process."""
    upstream.createJournal = lambda journal: journal
    upstream.createPoller = lambda _: _NoPoller()
    upstream.monotonicTime = lambda: _ambient.now_s
    upstream.random = _Chance()
    upstream.pickle = _NoPickle()
    upstream.PIPE_NOTIFIER_ENABLED = False


_seal()


class Kernel(upstream.SyncObj):  # type: ignore[misc]
    """One member's Raft state machine. Call `enter(now_s)` before anything else of a turn.

    Args:
        me: this member's id; whom else there is, `configure` tells.
        journal: the log; term and vote live there too.
        timing: heartbeat and election time-outs.
        outlet: where messages, entries and questions go.
        rng: chance for the election time-outs.
        now_s: monotonic seconds.
        applied: index that the restored snapshot covers; 1 for an empty state.
    """

    FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
    #: The constructor looks at every property before it sets this.
    _SyncObj__newAppendEntriesTime = 0.0

    def __init__(
        self,
        me: str,
        journal: Journal,
        timing: Timing,
        outlet: Outlet,
        rng: random.Random,
        now_s: float,
        applied: int,
    ) -> None:
        self._journal, self._outlet, self._rng = journal, outlet, rng
        #: Everybody that we ever met, members or not: all may ask for votes.
        self._nodes: dict[str, PeerNode] = {}
        #: The other voters, and all that are sent the log: voters and learners.
        self.voters: tuple[str, ...] = ()
        self._followers: dict[str, PeerNode] = {}
        #: Follower -> [(last index sent, bytes)], oldest first: the window of what is not acknowledged.
        self._in_flight: dict[str, list[tuple[int, int]]] = {}
        self._announced_commit = self._beats = 0
        self.enter(now_s)
        conf = SyncObjConf(
            autoTick=False,
            journalFile=journal,
            appendEntriesUseBatch=True,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            appendEntriesPeriod=timing.heartbeat_ms / 1000,
            raftMinTimeout=timing.election_min_ms / 1000,
            raftMaxTimeout=timing.election_max_ms / 1000,
            leaderFallbackTimeout=timing.election_max_ms / 1000,
            connectionTimeout=timing.election_max_ms / 1000 + 1,
        )
        node = PeerNode(me)
        super().__init__(
            node,
            [],
            conf,
            nodeClass=PeerNode,
            transportClass=lambda _, me, others: _Port(outlet, me),
        )
        self._SyncObj__raftLastApplied = applied
        self._SyncObj__raftCommitIndex = applied
        journal.setRaftCommitIndex(applied)

    # What goes in.

    def enter(self, now_s: float) -> None:
        _ambient.now_s, _ambient.rng = now_s, self._rng

    def configure(self, voters: Iterable[str], learners: Iterable[str]) -> None:
        """Whose votes and acknowledgements count, and who is sent the log without counting; we may be among either."""
        me = self.selfNode.id
        self.voters = tuple(sorted(peer for peer in voters if peer != me))
        followers = sorted({*self.voters, *(peer for peer in learners if peer != me)})
        for peer in [peer for peer in self._followers if peer not in followers]:
            node = self._followers[peer]
            self._SyncObj__raftNextIndex.pop(node, None)
            self._SyncObj__raftMatchIndex.pop(node, None)
            del self._in_flight[peer]
        self._followers = {peer: self._node(peer) for peer in followers}
        # The kernel counts over this set, and asks for votes in its order: the same in every process.
        self._SyncObj__otherNodes = {self._followers[peer] for peer in self.voters}
        for peer, node in self._followers.items():
            if peer not in self._in_flight:
                self._in_flight[peer] = []
                self._SyncObj__raftNextIndex[node] = self._journal.last[0] + 1
                self._SyncObj__raftMatchIndex[node] = 0
                self._SyncObj__lastResponseTime[node] = _ambient.now_s

    def connected(self, peer: str) -> None:
        node = self._node(peer)
        self._SyncObj__onNodeConnected(node)
        if peer in self._followers:
            self._in_flight[peer].clear()
            if self.is_leader:
                match = self._SyncObj__raftMatchIndex[node]
                self._SyncObj__raftNextIndex[node] = match + 1 if match else self._journal.last[0] + 1

    def disconnected(self, peer: str) -> None:
        self._SyncObj__onNodeDisconnected(self._node(peer))

    def deliver(self, peer: str, message: dict[str, Any]) -> None:
        self._SyncObj__onMessageReceived(self._node(peer), message)

    def deliver_ack(self, peer: str, message: dict[str, Any]) -> None:
        """A follower's answer, if it is one. Unlike the kernel's own rule it never sends again what is on its way."""
        node = self._followers[peer]
        was_next = self._SyncObj__raftNextIndex[node]
        self.deliver(peer, message)
        acknowledged = message["next_node_idx"] - 1
        if message["reset"]:
            self._in_flight[peer].clear()
            # A member whose disk lost its tail must not be counted for what it no longer has.
            matches = self._SyncObj__raftMatchIndex
            matches[node] = min(matches[node], acknowledged)
        else:
            self._in_flight[peer] = [(i, n) for i, n in self._in_flight[peer] if i > acknowledged]
            self._SyncObj__raftNextIndex[node] = max(was_next, acknowledged + 1)

    def append(self, command: bytes) -> None:
        """Add a command to the leader's log; it goes out at the end of this step."""
        assert self.is_leader
        self._applyCommand(command, None, BATCH[0])

    def append_configuration(self, command: bytes) -> Entry:
        """Add a configuration to the leader's log, at once: the entry."""
        assert self.is_leader
        entry = command, self._journal.last[0] + 1, self.term
        self._journal.add(*entry)
        return entry

    def tick(self) -> None:
        """Time passes: elections, the commit rule, applying; then the leader sends what its followers lack."""
        self._onTick(0.0)
        if not self.is_leader:
            return
        if self._something_to_send():
            self._SyncObj__sendAppendEntries()
        elif self._announced_commit != self.commit:
            self._announce_commit()

    def beat(self) -> None:
        """A leader's next tick sends to everybody, whether a heartbeat is due or not."""
        self._SyncObj__newAppendEntriesTime = 0.0

    def campaign_at(self, deadline_s: float) -> None:
        """Bring the election time-out forward."""
        self._SyncObj__raftElectionDeadline = min(self.election_deadline_s, deadline_s)

    def forget_leader(self) -> None:
        self._SyncObj__raftLeader = None  # its next heartbeat makes it known again

    def excuse_until(self, deadline_s: float) -> None:
        """We were late, not our peers: put off the election time-out, and forgive silence as far as that."""
        self._SyncObj__raftElectionDeadline = max(self.election_deadline_s, deadline_s)
        for node in self._SyncObj__lastResponseTime:
            self._SyncObj__lastResponseTime[node] = _ambient.now_s

    def jump_to(self, index: int) -> None:
        """A snapshot at `index` is in place of everything up to it."""
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(index, self._SyncObj__raftCommitIndex)
        self._journal.setRaftCommitIndex(self._SyncObj__raftCommitIndex)

    # What can be seen.

    @property
    def role(self) -> int:
        return int(self._SyncObj__raftState)

    @property
    def is_leader(self) -> bool:
        return bool(self._isLeader())

    @property
    def leader(self) -> str | None:
        node = self._getLeader()
        return None if node is None else str(node.id)

    @property
    def term(self) -> int:
        return int(self.raftCurrentTerm)

    @property
    def commit(self) -> int:
        return int(self.raftCommitIndex)

    @property
    def applied(self) -> int:
        return int(self.raftLastApplied)

    @property
    def followers(self) -> tuple[str, ...]:
        """Everybody else that is sent the log when we lead: the other voters and the learners."""
        return tuple(self._followers)

    @property
    def quorum(self) -> int:
        """Voters that make a majority, where we are one of them."""
        return (len(self.voters) + 1) // 2 + 1

    @property
    def transferring(self) -> bool:
        return bool(self._SyncObj__transferInProgress)

    @property
    def noop_applied(self) -> bool:
        """The leader has committed an entry of its own term: its commit index is the cluster's."""
        return self.is_leader and self.applied >= (self._SyncObj__noopIDx or 0)

    @property
    def election_deadline_s(self) -> float:
        return float(self._SyncObj__raftElectionDeadline)

    @property
    def heartbeat_due_s(self) -> float:
        return float(self._SyncObj__newAppendEntriesTime)

    def match_index(self, peer: str) -> int:
        return int(self._SyncObj__raftMatchIndex.get(self._node(peer), 0))

    def responded_since(self, since_s: float) -> int:
        """How many voters, the leader among them, have answered since then."""
        answers = self._SyncObj__lastResponseTime
        return 1 + sum(1 for p in self.voters if answers.get(self._followers[p], float("-inf")) >= since_s)

    def _node(self, peer: str) -> PeerNode:
        node = self._nodes.get(peer)
        if node is None:
            node = self._nodes[peer] = PeerNode(peer)
        return node

    # The seams: pysyncobj calls these through self.

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802
        return self._outlet.may_campaign()

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        budget = APPLY_BYTES_MAX
        base = self._journal.base[0]
        while budget > 0 and self.applied < self.commit:
            command, index, term = self._journal[self.applied + 1 - base]
            budget -= len(command)
            if command[:1] == BATCH:
                budget -= self._outlet.apply(index, term, command[1:])
            elif command[:1] == CONFIGURATION:
                self._outlet.apply_configuration(index, command)
            elif command[:1] != NO_OP:
                raise TooOld(f"entry {index} of the log is of kind {command[0]}, which this version does not know")
            self._SyncObj__raftLastApplied = index
        return False

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: N802, N803
        raise AssertionError("the kernel knows no snapshots")

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """Snapshots are taken beside the kernel."""

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        for window in self._in_flight.values():
            window.clear()
        for node in self._followers.values():  # the kernel knows of no learners
            self._SyncObj__raftNextIndex[node] = self._journal.last[0] + 1
            self._SyncObj__raftMatchIndex[node] = 0
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        self._SyncObj__newAppendEntriesTime = _ambient.now_s + self.conf.appendEntriesPeriod
        self._announced_commit = self.commit
        self._beats += 1
        asks = self._beats % ANSWER_EVERY == 0 or self._outlet.answers_wanted()
        for peer, node in self._followers.items():
            if node in self._SyncObj__connectedNodes:
                self._replicate(peer, node, asks=asks)

    # Replication to one follower.

    def _something_to_send(self) -> bool:
        last = self._journal.last[0]
        return any(self._sendable(peer, node, last) for peer, node in self._followers.items())

    def _announce_commit(self) -> None:
        """Tell the followers what is committed, at once; it wants no answer, since the heartbeat asks anyway."""
        self._announced_commit = self.commit
        base = self._journal.base[0]
        for peer, node in self._followers.items():
            previous = self._SyncObj__raftNextIndex[node] - 1
            if node in self._SyncObj__connectedNodes and previous >= base:
                message = self._append_message(previous, self._journal[previous - base][2], [])
                self._outlet.send(peer, message | {"quiet": True})

    def _sendable(self, peer: str, node: PeerNode, last: int) -> bool:
        return (
            self._journal.base[0] < self._SyncObj__raftNextIndex[node] <= last
            and node in self._SyncObj__connectedNodes
            and sum(size for _, size in self._in_flight[peer]) < WINDOW_BYTES_MAX
        )

    def _replicate(self, peer: str, node: PeerNode, *, asks: bool) -> None:
        base = self._journal.base[0]
        if self._SyncObj__raftNextIndex[node] <= base:
            self._outlet.offer_snapshot(peer)
            self._outlet.send(peer, self._append_message(None, None, []))
            return
        last = self._journal.last[0]
        once, known = True, self.match_index(peer) == last
        while once or self._sendable(peer, node, last):
            once = False
            first = self._SyncObj__raftNextIndex[node]
            entries = self._entries_from(first - base) if self._sendable(peer, node, last) else []
            if entries:
                self._SyncObj__raftNextIndex[node] = entries[-1][1] + 1
                self._in_flight[peer].append((entries[-1][1], sum(len(e[0]) for e in entries)))
            message = self._append_message(first - 1, self._journal[first - 1 - base][2], entries)
            message["quiet"] = known and not asks
            self._outlet.send(peer, message)

    def _entries_from(self, position: int) -> list[Entry]:
        end, budget = position, APPEND_BYTES_MAX
        while end < len(self._journal) and budget > 0:
            budget -= len(self._journal[end][0])
            end += 1
        return self._journal[position:end]

    def _append_message(self, previous: int | None, previous_term: int | None, entries: list[Entry]) -> dict[str, Any]:
        return {
            "type": "append_entries",
            "term": self.term,
            "commit_index": self.commit,
            "prevLogIdx": previous,
            "prevLogTerm": previous_term,
            "entries": entries,
            "quiet": False,
        }
