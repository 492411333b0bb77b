"""What becomes of proposals: each ends in time, none is said to have failed that may have happened."""

from __future__ import annotations

import asyncio

import pytest

from peercron.consensus.messages import PROPOSAL_BYTES_MAX
from peercron.consensus.proposer import PENDING_MAX, RESEND_S, Proposer
from peercron.core.commands import PutKey, RunJob
from peercron.core.verdict import Done, Refusal, Refused
from peercron.errors import Busy, NoLeader, OutcomeUnknown
from peercron.errors import Refused as RefusedError
from peercron.wire.codec import unpack_proposal

COMMAND = RunJob("default/x")


class Desk:
    """A proposer of session 3, and what it has sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.here: list[int] = []
        self.payloads: dict[int, bytes] = {}
        self.proposer = Proposer("m", self._send, lambda items: self.here.extend(seq for seq, _ in items))
        self.proposer.open(3)

    def _send(self, items: list[tuple[int, bytes]]) -> None:
        self.payloads.update(items)
        self.sent += [seq for seq, _ in items]


async def test_a_verdict_ends_a_proposal() -> None:
    desk = Desk()
    future = desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    desk.proposer.decided(3, 1, Done(7, "x"))
    assert await future == Done(7, "x")
    assert len(desk.proposer) == 0


async def test_what_is_sent_names_its_sender_and_what_is_settled() -> None:
    desk = Desk()
    for _ in range(3):
        desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.decided(3, 1, Done(1))
    desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    proposals = [unpack_proposal(desk.payloads[seq]) for seq in (2, 3, 4)]
    assert [(p.member, p.session, p.seq, p.floor) for p in proposals] == [
        ("m", 3, 2, 1),
        ("m", 3, 3, 1),
        ("m", 3, 4, 2),
    ]


async def test_nothing_is_sent_twice_without_need() -> None:
    desk = Desk()
    desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    desk.proposer.send(0.0)
    desk.proposer.check(RESEND_S)
    assert desk.sent == [1]
    desk.proposer.check(RESEND_S + 0.01)
    assert desk.sent == [1, 1]


async def test_all_that_waits_is_sent_again_in_order_when_the_leader_changed() -> None:
    desk = Desk()
    for _ in range(3):
        desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    desk.proposer.decided(3, 2, Done(1))
    desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.resend(1.0)
    assert desk.sent == [1, 2, 3, 1, 3, 4]


@pytest.mark.parametrize(("was_sent", "error"), [(False, NoLeader), (True, OutcomeUnknown)])
async def test_a_proposal_that_runs_out_of_time_ends_by_what_may_have_happened(
    was_sent: bool, error: type[Exception]
) -> None:
    desk = Desk()
    future = desk.proposer.propose(COMMAND, 2.0)
    if was_sent:
        desk.proposer.send(0.0)
    desk.proposer.check(1.9)
    assert not future.done()
    desk.proposer.check(2.0)
    with pytest.raises(error):
        await future
    desk.proposer.decided(3, 1, Done(1))  # too late: it changes nothing


async def test_a_session_that_ends_leaves_its_proposals_undecided() -> None:
    desk = Desk()
    sent = desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    unsent = desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.open(4)
    with pytest.raises(OutcomeUnknown):
        await sent
    with pytest.raises(NoLeader):
        await unsent
    desk.proposer.decided(3, 1, Done(1))
    desk.proposer.send(1.0)
    assert desk.sent == [1]


async def test_a_verdict_of_another_session_is_somebody_elses() -> None:
    desk = Desk()
    future = desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.decided(2, 1, Done(1))
    assert not future.done()


async def test_a_stale_session_after_a_repetition_says_nothing_of_the_first_time() -> None:
    desk = Desk()
    once, twice = desk.proposer.propose(COMMAND, 10.0), desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    desk.proposer.decided(3, 1, Refused(5, Refusal.STALE_SESSION, ""))
    assert (await once).index == 5
    desk.proposer.resend(1.0)
    desk.proposer.decided(3, 2, Refused(6, Refusal.STALE_SESSION, ""))
    with pytest.raises(OutcomeUnknown):
        await twice


async def test_a_leader_without_room_is_busy_only_if_no_other_was_asked() -> None:
    desk = Desk()
    once, twice = desk.proposer.propose(COMMAND, 10.0), desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    desk.proposer.busy([1])
    with pytest.raises(Busy):
        await once
    desk.proposer.resend(1.0)
    desk.proposer.busy([2, 99])
    assert not twice.done()


async def test_here_means_in_this_log_or_nowhere() -> None:
    desk = Desk()
    future = desk.proposer.propose(COMMAND, 2.0, here=True)
    desk.proposer.send(0.0)
    desk.proposer.resend(0.1)
    desk.proposer.check(RESEND_S + 0.5)
    assert (desk.here, desk.sent) == ([1], [])
    desk.proposer.check(2.0)
    with pytest.raises(OutcomeUnknown):
        await future


async def test_too_many_are_busy_at_once() -> None:
    desk = Desk()
    for _ in range(PENDING_MAX):
        desk.proposer.propose(COMMAND, 10.0)
    with pytest.raises(Busy):
        desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.decided(3, 1, Done(1))
    desk.proposer.propose(COMMAND, 10.0)


async def test_what_no_log_takes_is_refused_before_it_is_sent() -> None:
    desk = Desk()
    with pytest.raises(RefusedError, match="at most 1048576") as caught:
        desk.proposer.propose(PutKey("n", "k", bytes(PROPOSAL_BYTES_MAX)), 10.0)
    assert caught.value.code == "limit"
    desk.proposer.propose(COMMAND, 10.0)
    desk.proposer.send(0.0)
    assert desk.sent == [1]  # and no number was lost, which the others would wait for


async def test_what_not_all_members_understand_is_refused_before_it_is_sent() -> None:
    desk = Desk()
    desk.proposer = Proposer("m", desk._send, desk._send, lambda command: "not yet" if command == COMMAND else "")
    desk.proposer.open(3)
    with pytest.raises(RefusedError, match="not yet") as caught:
        desk.proposer.propose(COMMAND, 10.0)
    assert caught.value.code == "unsupported"
    desk.proposer.propose(RunJob("default/y"), 10.0)
    desk.proposer.send(0.0)
    assert desk.sent == [1]


async def test_who_waits_no_longer_is_no_trouble() -> None:
    desk = Desk()
    future = desk.proposer.propose(COMMAND, 1.0)
    desk.proposer.send(0.0)
    future.cancel()
    desk.proposer.decided(3, 1, Done(1))
    other = desk.proposer.propose(COMMAND, 1.0)
    other.cancel()
    desk.proposer.check(2.0)
    await asyncio.sleep(0)
