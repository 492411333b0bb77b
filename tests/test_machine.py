"""A machine applies an entry whole or not at all, and stops before what it cannot have understood."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from peercron.core import level
from peercron.core.commands import Command, OpenSession, PauseJob, Proposal, PutJob, PutKey
from peercron.core.member import Configuration, MemberInfo, Seat
from peercron.core.verdict import Done
from peercron.core.views import digest
from peercron.errors import TooOld
from peercron.machine import Machine
from peercron.wire.codec import pack_proposal
from tests.core.builders import definition

SEATS = Configuration((Seat("a", "n1", "a:1"), Seat("b", "n2", "b:1")))
OURS, NEXT = level.LEVEL, level.LEVEL + 1


def told(member: str, seq: int, command: Command, session: int = 1) -> bytes:
    return pack_proposal(Proposal(member, session, seq, seq, command))


def opening(member: str, speaks: int = OURS, session: int = 1) -> bytes:
    version = "9.9.9" if speaks > OURS else "0.1.0"
    info = MemberInfo(member, f"n{member}", f"{member}:1", f"{member}:2", version=version, level=speaks)
    return told(member, session, OpenSession(info, session), session)


def write(seq: int, session: int = 1, member: str = "a") -> bytes:
    return told(member, seq, PutKey("default", "k", b"%d" % seq), session)


def newer(seq: int) -> bytes:
    """A write by a command that is not known."""
    plain: Any = list(msgpack.unpackb(write(seq)))
    plain[-1] = ["teleport", ["k"]]
    return bytes(msgpack.packb(plain))


def machine() -> Machine:
    """That of member a, which has a session open."""
    found = Machine("a")
    found.configured(SEATS)
    found.apply(2, 1_000, (opening("a"),))
    found.verdicts.clear()
    return found


def test_an_entry_is_applied_and_our_verdicts_are_told() -> None:
    ours = machine()
    ours.apply(3, 1_000, (opening("b"), write(2), write(3)))
    assert ours.verdicts == [(1, 2, Done(4, 4)), (1, 3, Done(5, 5))]


def test_bytes_that_are_no_proposal_change_nothing() -> None:
    ours, others = machine(), machine()
    ours.apply(3, 1_000, (b"", b"\xc1", msgpack.packb(["a", 1, 2, 2]), write(2)))
    others.apply(3, 1_000, (write(2),))
    assert digest(ours.state) == digest(others.state)
    assert ours.verdicts == others.verdicts


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_is_applied_of_an_entry_that_holds_something_unknown(place: int) -> None:
    ours = machine()
    before = digest(ours.state)
    payloads = [write(2), write(3)]
    payloads.insert(place, newer(4))
    with pytest.raises(TooOld) as stopped:
        ours.apply(17, 1_000, tuple(payloads))
    assert stopped.value.message.startswith(
        "entry 17 of the log holds the command 'teleport' of a, which this version does not know"
    )
    assert "upgrade it" in stopped.value.message
    assert (digest(ours.state), ours.verdicts) == (before, [])


def test_the_reason_names_somebody_who_knows_it() -> None:
    ours = machine()
    ours.apply(3, 1_000, (opening("b", NEXT),))
    with pytest.raises(TooOld, match=r"does not know \(nb runs 9\.9\.9\); this node runs"):
        ours.apply(4, 1_000, (newer(2),))


def outgrown() -> Machine:
    """That of member a, whose build is older than the one that ran here last."""
    ours = machine()
    ours.apply(3, 1_000, (opening("a", NEXT, session=2), opening("b", NEXT)))
    assert ours.state.level == NEXT
    ours.verdicts.clear()
    return ours


def test_what_follows_a_level_that_is_not_spoken_here_is_not_applied() -> None:
    """The commands may be known, and mean something else there."""
    ours = outgrown()
    before = digest(ours.state)
    with pytest.raises(TooOld, match=f"entry 4 of the log is in level {NEXT} of the language, .* speaks {OURS}"):
        ours.apply(4, 1_000, (write(2, session=2),))
    with pytest.raises(TooOld, match=f"a configuration is in level {NEXT}"):
        ours.configured(Configuration(SEATS.seats[:1]))
    assert (digest(ours.state), ours.verdicts) == (before, [])


def test_not_even_in_the_entry_that_raised_it() -> None:
    ours, others = machine(), machine()
    raising = (opening("a", NEXT, session=2), opening("b", NEXT))
    with pytest.raises(TooOld):
        ours.apply(3, 1_000, (*raising, write(2, session=2)))
    others.apply(3, 1_000, raising)
    assert digest(ours.state) == digest(others.state)


def test_a_snapshot_of_a_level_that_is_not_spoken_here_is_refused_with_nothing_changed() -> None:
    snapshot = list(outgrown().frozen())
    ours = machine()
    before, generation = digest(ours.state), ours.generation
    with pytest.raises(TooOld, match=f"the snapshot is in level {NEXT} .*nb runs 9.9.9"):
        ours.restore(snapshot)
    assert (digest(ours.state), ours.generation, ours.verdicts) == (before, generation, [])


def test_a_snapshot_with_something_unknown_is_refused_with_nothing_changed() -> None:
    blocks = list(machine().frozen())
    payload = msgpack.packb(("dreams", ()))
    blocks.insert(3, len(payload).to_bytes(4, "big") + payload)
    ours = machine()
    before = digest(ours.state)
    with pytest.raises(TooOld, match="'dreams'"):
        ours.restore(blocks)
    assert digest(ours.state) == before


def test_what_is_counted_begins_when_it_is_said_and_goes_on_over_another_state() -> None:
    ours, others = machine(), machine()
    ours.apply(3, 1_000, (told("a", 2, PutJob(definition("before"))),))
    assert ours.state.tally is None
    ours.count()
    ours.apply(4, 1_000, (told("a", 3, PutJob(definition("after"))),))
    others.apply(3, 1_000, (told("a", 2, PutJob(definition("x"))), told("a", 3, PauseJob("default/x"))))
    ours.take_over(others.state)
    tally = ours.state.tally
    assert tally is not None
    assert (tally.events["job", "created"], list(tally.paused)) == (1, ["default/x"])
    third = machine()
    third.take_over(machine().state)
    assert third.state.tally is None
