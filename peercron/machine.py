"""Machine: the cluster's state behind the log; proposals come as bytes, verdicts of our own go to who waits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from peercron.core.apply import apply_proposal
from peercron.core.apply.configuration import configure
from peercron.core.member import Configuration
from peercron.core.state import ClusterState
from peercron.core.verdict import Verdict
from peercron.wire import snapshot
from peercron.wire.codec import unpack_proposal

log = logging.getLogger(__name__)


class Machine:
    """Holds the ClusterState of one member.

    Args:
        me: member id whose verdicts are collected.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self.state = ClusterState()
        #: Grows when `state` is another object (a snapshot was put in its place).
        self.generation = 0
        #: (session, seq, verdict) of our own proposals, applied and not yet told.
        self.verdicts: list[tuple[int, int, Verdict]] = []

    def apply(self, index: int, now_ms: int, payloads: tuple[bytes, ...]) -> None:
        """Apply the proposals of one log entry; bytes that are no proposal change nothing, here as on every member."""
        for payload in payloads:
            try:
                proposal = unpack_proposal(payload)
            except (ValueError, TypeError) as error:
                log.warning("unreadable_proposal", extra={"entry": index, "reason": str(error)})
                continue
            verdict = apply_proposal(self.state, proposal, now_ms)
            if proposal.member == self._me:
                self.verdicts.append((proposal.session, proposal.seq, verdict))

    def configured(self, configuration: Configuration) -> None:
        """This is who belongs to the cluster from here in the log on."""
        configure(self.state, configuration)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Put the state of a snapshot in place of ours; verdicts it remembers for us are told."""
        self.state = snapshot.thaw(chunks)
        self.generation += 1
        member = self.state.members.get(self._me)
        if member is not None:
            for seq, verdict in self.state.results.get(self._me, {}).items():
                self.verdicts.append((member.session, seq, verdict))

    def frozen(self) -> Iterator[bytes]:
        """The state as it is now, as blocks of a snapshot."""
        return snapshot.blocks(snapshot.freeze(self.state))
