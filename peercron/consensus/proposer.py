"""Proposer: proposals of one session on their way, sent again until their verdict is seen or their time is up.

A verdict shows when this member applies the proposal itself, so one way serves leaders and followers, and whoever is
answered can read what it wrote here. Sending again is safe: the state machine remembers what it answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from peercron.consensus.messages import PROPOSAL_BYTES_MAX
from peercron.core.commands import Command, Once, Proposal
from peercron.core.verdict import Refusal, Refused, Verdict
from peercron.errors import Busy, NoLeader, OutcomeUnknown
from peercron.errors import Refused as RefusedError
from peercron.wire.codec import pack_proposal

#: Proposals of one node that wait for their verdict; more are refused as busy.
PENDING_MAX: Final = 4_096
#: A proposal without a verdict is sent again after this long.
RESEND_S: Final = 1.0


@dataclass(slots=True)
class _Pending:
    payload: bytes
    verdict: asyncio.Future[Verdict]
    deadline_s: float
    #: Only while this member leads, and never sent again.
    here: bool = False
    sent: int = 0
    sent_s: float = 0.0


Send = Callable[[list[tuple[int, bytes]]], None]


class Proposer:
    """The proposals of one member.

    Args:
        member: its id.
        send: takes (seq, payload) pairs to the leader, as far as there is one.
        send_here: puts them in this member's own log if it leads, and forgets them otherwise.
        objection: why not all members would understand a command; empty: they do. The log must not hold it before.
    """

    def __init__(
        self, member: str, send: Send, send_here: Send, objection: Callable[[Command], str] = lambda _: ""
    ) -> None:
        self._member, self._send, self._send_here, self._objection = member, send, send_here, objection
        self.session = 0
        self._seq = 0
        self._pending: dict[int, _Pending] = {}
        self._unsent: list[int] = []

    def __len__(self) -> int:
        return len(self._pending)

    def open(self, session: int) -> None:
        """Another session begins: what the old one asked for and was not told stays unknown."""
        self.session = session
        self.give_up()

    def give_up(self) -> None:
        """No verdict will come any more: what was sent stays unknown, what was not has not happened."""
        for pending in self._pending.values():
            _fail(pending, OutcomeUnknown() if pending.sent else NoLeader())
        self._pending.clear()
        self._unsent.clear()

    def propose(
        self, command: Command, deadline_s: float, *, here: bool = False, once: Once | None = None
    ) -> asyncio.Future[Verdict]:
        """Ask for a command; the future ends with its verdict, NoLeader, Busy or OutcomeUnknown.

        With `here` it goes into the log of this very leader in its next turn, or nowhere. With `once`, which all
        members must understand, it is not done again if it was done before, whoever proposed it.

        Raises:
            Busy: too many are under way.
            Refused: it is larger than the log takes, or not all members would understand it.
        """
        if len(self._pending) >= PENDING_MAX:
            raise Busy
        objection = self._objection(command)
        if objection:
            raise RefusedError(str(Refusal.UNSUPPORTED), objection)
        seq = self._seq + 1
        floor = next(iter(self._pending), seq)
        payload = pack_proposal(Proposal(self._member, self.session, seq, floor, command, once))
        if len(payload) > PROPOSAL_BYTES_MAX:
            raise RefusedError("limit", f"a command of {len(payload)} bytes; at most {PROPOSAL_BYTES_MAX} are taken")
        self._seq = seq
        future = asyncio.get_running_loop().create_future()
        self._pending[self._seq] = _Pending(payload, future, deadline_s, here)
        self._unsent.append(self._seq)
        return future

    def send(self, now_s: float) -> None:
        """Send what has not been sent; to be called in each turn in which there is a leader."""
        if self._unsent:
            seqs, self._unsent = self._unsent, []
            self._send_seqs(seqs, now_s)

    def resend(self, now_s: float) -> None:
        """The leader changed or came back: send everything again."""
        self._unsent = []
        self._send_seqs(list(self._pending), now_s)

    def check(self, now_s: float) -> None:
        """Give up what is over its time; repeat what got no answer for long."""
        for seq, pending in list(self._pending.items()):
            if now_s >= pending.deadline_s:
                del self._pending[seq]
                _fail(pending, OutcomeUnknown() if pending.sent else NoLeader())
        stale = [s for s, p in self._pending.items() if p.sent and not p.here and now_s - p.sent_s > RESEND_S]
        if stale:
            self._send_seqs(stale, now_s)

    def decided(self, session: int, seq: int, verdict: Verdict) -> None:
        """This member has applied a proposal of its own."""
        if session != self.session:
            return
        pending = self._pending.pop(seq, None)
        if pending is None or pending.verdict.done():
            return
        if isinstance(verdict, Refused) and verdict.code is Refusal.STALE_SESSION and pending.sent > 1:
            pending.verdict.set_exception(OutcomeUnknown())
        else:
            pending.verdict.set_result(verdict)

    def busy(self, seqs: Iterable[int]) -> None:
        """The leader had no room. Where it was the only one asked, nothing happened."""
        for seq in seqs:
            pending = self._pending.get(seq)
            if pending is not None and pending.sent == 1:
                del self._pending[seq]
                _fail(pending, Busy())

    def _send_seqs(self, seqs: list[int], now_s: float) -> None:
        batches: tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]] = ([], [])
        for seq in seqs:
            pending = self._pending.get(seq)
            if pending is None or (pending.here and pending.sent):
                continue
            pending.sent += 1
            pending.sent_s = now_s
            batches[pending.here].append((seq, pending.payload))
        for batch, send in zip(batches, (self._send, self._send_here), strict=True):
            if batch:
                send(batch)


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.verdict.done():
        pending.verdict.set_exception(error)
