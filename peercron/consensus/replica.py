"""Replica: one member's consensus as a step. Messages, proposals and time go in; what to send and what came of it out.

One turn: `receive` what came, `propose` what is wanted, then `step`. The caller sends `early` messages, flushes the
journal, and only then sends `late` ones and acts on the rest: term, vote and entries are on disk before anybody hears
of them. A leader's own appends are early: they claim nothing about its disk, and their answers cannot be counted
before the flush of this same turn is over, so the followers' disks work while the leader's does (dissertation 10.2.1).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from peercron.consensus import guard
from peercron.consensus.election import Election
from peercron.consensus.guard import SafetyViolation
from peercron.consensus.installer import Machine
from peercron.consensus.journal import Journal
from peercron.consensus.messages import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Message, batches, check
from peercron.consensus.outbox import Output
from peercron.consensus.port import Timing
from peercron.consensus.raft import Kernel
from peercron.consensus.registrar import Registrar
from peercron.consensus.snapshots import SnapshotStore
from peercron.errors import TooOld
from peercron.wire.plain import pack, unpack

#: Proposals waiting at the leader to be put in the log; more are told to come again.
QUEUE_MAX: Final = 8_192
#: What applying a command is beyond its length, as bytes: many small ones are more work than a large one.
COMMAND_BYTES: Final = 512
#: Log entries made in one step.
ENTRIES_PER_STEP: Final = 8
BATCH_FORMAT: Final = 1
#: Who has no vote has no election time-out; it looks around this often.
NO_VOTE_LOOK_S: Final = 1.0
#: What a handler answers when its message changed nothing that a step could act on.
IDLE: Final = object()


class Replica(Registrar):
    """The consensus of one member, without disk, sockets or clock of its own.

    Args:
        me: this member's id. Who else belongs to the cluster is in the log and the snapshots.
        journal: the log, opened.
        store: the snapshots, beside it.
        machine: the state machine; it is restored from the newest snapshot here.
        timing: heartbeat and election time-outs in milliseconds.
        rng: chance.
        now_s: monotonic seconds.

    Raises:
        SnapshotDamaged: the newest snapshot is unreadable and the log does not reach back to an older one.
    """

    def __init__(
        self,
        me: str,
        journal: Journal,
        store: SnapshotStore,
        machine: Machine,
        timing: Timing,
        rng: random.Random,
        now_s: float,
    ) -> None:
        super().__init__(me, journal, store, machine, now_s)
        self._beat_s = timing.heartbeat_ms / 1000
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._rounds = {}
        self.kernel = Kernel(me, journal, timing, self, rng, now_s, self.snapshot_index)
        self.election = Election(timing.election_min_ms / 1000, rng)
        self._configure()
        self._handlers: dict[str, Callable[[str, Message], object]] = {
            "request_vote": self._on_request_vote,
            "response_vote": self._on_response_vote,
            "append_entries": self._on_append,
            "next_node_idx": self._on_ack,
            "timeout_now": self._on_timeout_now,
            "prevote": self._on_prevote,
            "prevote_ok": self._on_prevote_ok,
            "term_notice": self._on_term_notice,
            "position": self._on_position,
            "read": self._on_read,
            "read_at": self._on_read_at,
            "propose": self._on_propose,
            "busy": lambda _, m: self._out.busy.extend(m["seqs"]),
            "snapshot_offer": self._on_snapshot_offer,
            "snapshot_get": self._on_snapshot_get,
            "snapshot_chunk": self._on_snapshot_chunk,
            "mail": lambda peer, m: self._out.mail.append((peer, m["kind"], m["body"])),
        }

    # What goes in.

    def connected(self, peer: str, now_s: float) -> None:
        self._enter(now_s)
        self._connected.add(peer)
        self.kernel.connected(peer)
        term, index = self._position()
        self.send(peer, {"type": "position", "last_log_index": index, "last_log_term": term})

    def disconnected(self, peer: str, now_s: float) -> None:
        """The connection is broken, which for a leader's means: it is gone, unless the others still hear it."""
        self._enter(now_s)
        self._connected.discard(peer)
        self.clocks.forget(peer)
        self.kernel.disconnected(peer)
        if peer == self.kernel.leader:
            self.kernel.campaign_at(self.election.lost_leader(self.me, peer, now_s))
            self._fail_forwarded_reads()
            regretted = self.election.regretted(now_s)
            if regretted is not None and regretted[0] in self._connected:
                self._on_prevote(*regretted)

    def receive(self, peer: str, message: object, now_s: float) -> bool:
        """Act on a peer's message. True: a step is wanted now; otherwise the next one will do.

        Raises:
            ProtocolError: close that connection.
            SafetyViolation: stop this node.
        """
        self._enter(now_s)
        sound = check(message)
        if peer not in self._connected:
            return False
        self.clocks.told(peer, sound["_w"], now_s)
        return self._handlers[sound["type"]](peer, sound) is not IDLE

    def propose(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Put (seq, payload) on the way into the log; what becomes of them shows when they are applied."""
        leader = self.kernel.leader
        if leader == self.me:
            self._enqueue(self.me, items)
        elif leader is not None:
            for batch in batches(items):
                self.send(leader, {"type": "propose", "items": batch})

    def propose_here(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Put (seq, payload) into this leader's own log in its next step; elsewhere, forget them."""
        if self.kernel.is_leader:
            self._enqueue(self.me, items)

    def mail(self, peer: str, kind: str, body: Any) -> None:
        """A message for the node above the other replica; may be lost."""
        self.send(peer, {"type": "mail", "kind": kind, "body": body})

    def step(self, now_s: float, wall_ms: int, *, late: bool = False) -> Output:
        """One turn. `late`: we were not run in time, so silence of others says nothing about them."""
        self._enter(now_s)
        self.clocks.read(wall_ms, now_s)
        if late:
            self.kernel.excuse_until(now_s + 2 * self._beat_s)
        self._append_batches()
        self._begin_reads()
        self.kernel.tick()
        self._step_membership()
        self._step_leadership()
        self._step_reads()
        if self.kernel.noop_applied:
            self.journal.clear_doubt()
        out, self._out = self._out, Output()
        out.more = self._more_to_do()
        return out

    def _more_to_do(self) -> bool:
        """Is there something that no message and no timer will bring about?"""
        kernel = self.kernel
        alone = kernel.quorum == 1 and kernel.is_leader and kernel.commit < self.journal.last[0]
        return alone or kernel.applied < kernel.commit or bool(self._queue and not self._handing_over())

    def next_due_s(self) -> float:
        """When a step is due though nothing comes in, in monotonic seconds."""
        if self.kernel.is_leader:
            return self.kernel.heartbeat_due_s
        if not self.votes:
            return self._now_s + NO_VOTE_LOOK_S
        return max(self.kernel.election_deadline_s, self.election.retry_at_s)

    # What the kernel asks for.

    def answers_wanted(self) -> bool:
        return self._reads.pressing or self._handing_over()

    def apply(self, index: int, term: int, command: bytes) -> int:
        version, *batch = unpack(command)
        if version != BATCH_FORMAT:
            raise TooOld(f"entry {index} of the log is of format {version}, this version reads {BATCH_FORMAT}")
        now_ms, payloads = batch
        self._machine.apply(index, now_ms, payloads)
        return len(payloads) * COMMAND_BYTES

    # The log.

    def _on_append(self, peer: str, message: Message) -> object:
        kernel = self.kernel
        if message["term"] < kernel.term:
            self._notice(peer)
            return None
        if message["term"] == kernel.term and kernel.is_leader:
            raise SafetyViolation(f"{peer} leads term {kernel.term}, and so do we")
        self.election.heard_leader(self._now_s)
        self._step_seen = message["step"]
        before, commit = kernel.leader, kernel.commit
        decision = guard.reconcile(self.journal, kernel.commit, message)
        if isinstance(decision, guard.Accept):
            accepted = dict(
                message,
                prevLogIdx=decision.previous,
                prevLogTerm=decision.previous_term,
                entries=decision.entries,
                commit_index=decision.commit,
            )
            kernel.deliver(peer, accepted)
            self._log_moved(decision.previous, decision.entries)
            self._settle_doubt(message["term"])
        else:
            self._heartbeat(peer, message["term"], decision.commit)
            if not (message["quiet"] and decision.matched):
                self._acknowledge(peer, decision.next_index, matched=decision.matched)
            if decision.matched:
                self._settle_doubt(message["term"])
        if before != kernel.leader:
            self._fail_forwarded_reads()
            return None
        # A heartbeat that says nothing new moves the election time-out, for which nobody need wake up.
        return IDLE if message["quiet"] and kernel.commit == commit and not self.journal.dirty else None

    def _heartbeat(self, peer: str, term: int, commit: int) -> None:
        """Show the kernel a sign of life of the leader, and a commit index that the guard has proven."""
        self.kernel.deliver(peer, {"type": "append_entries", "term": term, "commit_index": commit, "serialized": None})

    def _settle_doubt(self, term: int) -> None:
        """The leader has committed an entry of its own term and we have it: all that we ever promised is here again."""
        if self.journal.doubt and self.journal.term_at(self.kernel.commit) == term:
            self.journal.clear_doubt()

    def _on_ack(self, peer: str, message: Message) -> object:
        if message["_t"] != self.kernel.term or not self.kernel.is_leader or peer not in self.kernel.followers:
            return IDLE
        self._reads.acknowledged(peer, message["step"])
        before = self.kernel.match_index(peer)
        self.kernel.deliver_ack(peer, message)
        moved = message["reset"] or self.kernel.match_index(peer) != before
        return None if moved or self._reads or self._handing_over() else IDLE

    # Proposals.

    def _on_propose(self, peer: str, message: Message) -> None:
        if self.kernel.is_leader:
            self._enqueue(peer, message["items"])

    def _enqueue(self, peer: str, items: Iterable[tuple[int, bytes]]) -> None:
        refused = []
        for seq, payload in items:
            if len(self._queue) < QUEUE_MAX:
                self._queue.append((peer, seq, payload))
            else:
                refused.append(seq)
        if refused and peer == self.me:
            self._out.busy.extend(refused)
        elif refused:
            self.send(peer, {"type": "busy", "seqs": tuple(refused)})

    def _append_batches(self) -> None:
        if not self.kernel.is_leader:
            self._queue.clear()  # their senders ask again as soon as there is a leader
            return
        if self._handing_over():
            return
        for _ in range(ENTRIES_PER_STEP):
            if not self._queue:
                return
            self.kernel.append(pack((BATCH_FORMAT, self.clocks.stamp_ms(self._now_s), tuple(self._batch()))))

    def _batch(self) -> Iterator[bytes]:
        budget = BATCH_BYTES_MAX
        for _ in range(BATCH_ITEMS_MAX):
            if not self._queue or budget <= 0:
                return
            payload = self._queue.popleft()[2]
            budget -= len(payload)
            yield payload
