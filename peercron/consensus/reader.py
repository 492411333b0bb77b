"""Reader: a replica's linearizable reads: asked here, answered by the leader, wherever it is."""

from __future__ import annotations

from peercron.consensus.journal import Journal
from peercron.consensus.messages import Message
from peercron.consensus.voter import Voter


class Reader(Voter):
    """Questions for an index to read at, our own and those of followers."""

    def __init__(self, me: str, journal: Journal, now_s: float) -> None:
        super().__init__(me, journal, now_s)
        self._reads_asked = 0
        #: Token of ours -> (who asked, by which number): of reads that went, or came, from member to member.
        self._asked: dict[int, tuple[str, int]] = {}

    def read(self, token: int, *, urgent: bool = True) -> None:
        """Ask for an index to read at; the answer is in `Output.reads`. Not urgent: the next heartbeat will do."""
        leader = self.kernel.leader
        if self.kernel.is_leader:
            self._reads.ask(token, urgent=urgent)
        elif leader is not None and leader in self._connected:
            self._asked[token] = (self.me, token)
            self.send(leader, {"type": "read", "id": token})
        else:
            self._out.reads.append((token, None))

    def _begin_reads(self) -> None:
        self._reads.step += 1
        # Before an entry of our own term is committed, our commit index may be behind what was acknowledged.
        if self.kernel.noop_applied and self._reads.adopt(self.kernel.commit):
            self.kernel.beat()

    def _step_reads(self) -> None:
        if not self.kernel.is_leader:
            for token in self._reads.abandon():
                self._answer_read(token, None)
            return
        for token, index in self._reads.finish(self.kernel.quorum):
            self._answer_read(token, index)

    def _on_read(self, peer: str, message: Message) -> None:
        self._reads_asked += 1
        token = -self._reads_asked
        self._asked[token] = (peer, message["id"])
        if self.kernel.is_leader:
            self._reads.ask(token, urgent=True)
        else:
            self._answer_read(token, None)

    def _on_read_at(self, peer: str, message: Message) -> None:
        if self._asked.pop(message["id"], None) is not None:
            self._out.reads.append((message["id"], message["index"]))

    def _answer_read(self, token: int, index: int | None) -> None:
        peer, number = self._asked.pop(token, (self.me, token))
        if peer == self.me:
            self._out.reads.append((number, index))
        else:
            self.send(peer, {"type": "read_at", "id": number, "index": index})

    def _fail_forwarded_reads(self) -> None:
        """The leader we asked is no longer ours: what we asked it will not be answered."""
        for token in [t for t, (peer, _) in self._asked.items() if peer == self.me]:
            del self._asked[token]
            self._out.reads.append((token, None))
