"""Who belongs to the cluster: the configurations of a log, what may follow what, and who counts when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peercron.consensus.entry import BLANK
from peercron.consensus.journal import Journal
from peercron.consensus.membership import Membership, decode, encode, founding, objection
from peercron.core.member import Configuration, Role, Seat
from peercron.errors import TooOld
from peercron.wire.plain import pack
from tests.consensus.staged import Stage, command, new_disk, voters


def learner(name: str, becomes: Role = Role.VOTER) -> Seat:
    return Seat(name, name, f"{name}:1", Role.LEARNER, becomes)


def entry(index: int, configuration: Configuration, term: int = 1) -> tuple[bytes, int, int]:
    return encode(configuration), index, term


# The configurations of a log.


def test_what_is_encoded_is_read_again() -> None:
    configuration = Configuration((*voters("a", "b").seats, learner("c", Role.WITNESS)), recoveries=3)
    assert decode(encode(configuration)) == configuration


def test_a_newer_form_is_told_from_ours() -> None:
    with pytest.raises(TooOld, match="format 2"):
        decode(b"\x02" + pack((2, ())))


def test_the_newest_acts_and_the_committed_one_is_sure() -> None:
    known = Membership(1, voters("a"))
    known.appended([(command(b"x"), 2, 1), entry(3, voters("a", "b")), (command(b"y"), 4, 1)])
    assert (known.acting, known.acting_index) == (voters("a", "b"), 3)
    assert known.at(2) == voters("a")
    assert known.at(4) == voters("a", "b")
    assert not known.cut(3)
    assert known.cut(2)
    assert known.acting == voters("a")


def test_what_can_no_longer_be_cut_is_forgotten() -> None:
    known = Membership(1, voters("a"))
    known.appended([entry(3, voters("a", "b")), entry(5, voters("b"))])
    known.forget_before(4)
    assert known.place(4) == 3
    with pytest.raises(AssertionError):
        known.cut(2)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (("a", "b", "c", "d"), None),
        (("a", "b"), None),
        (("a", "b", "c", "d", "e"), "one at a time"),
        (("a", "b", "d"), "one at a time"),
        (("b", "c"), "hand leadership over first"),
        ((), "no voter"),
        (("a", "b", "c", "c"), "the id c"),
    ],
)
def test_voters_change_by_one_at_a_time_and_never_the_leader(after: tuple[str, ...], said: str | None) -> None:
    objected = objection(voters("a", "b", "c"), voters(*after).seats, "a")
    assert (objected is None) if said is None else (said in (objected or ""))


def test_names_and_addresses_are_there_once() -> None:
    before = voters("a")
    assert "the address a:1" in (objection(before, (*before.seats, Seat("b", "b", "a:1")), "a") or "")
    assert "the name a" in (objection(before, (*before.seats, Seat("b", "a", "b:1")), "a") or "")


def test_somebody_who_works_has_to_be_left() -> None:
    seats = tuple(replace(seat, role=Role.WITNESS) for seat in voters("a").seats)
    assert "no voter that works" in (objection(voters("a"), seats, "a") or "")


# On the stage: member "a".


def leading(*peers: str) -> Stage:
    """Leader of a cluster, with an entry of its own term committed."""
    stage = Stage(*peers)
    stage.lead()
    settle(stage, *peers)
    return stage


def settle(stage: Stage, *peers: str) -> None:
    for peer in peers:
        stage.acknowledge(peer, stage.replica.journal.last[0])
    stage.turn()
    assert stage.replica.configuration_settled


def test_a_change_acts_at_once_and_the_next_waits_until_it_is_committed() -> None:
    stage = leading("b", "c")
    replica = stage.replica
    assert replica.change(voters("a", "b").seats) is None
    assert replica.configuration == voters("a", "b")
    assert replica.committed_configuration == voters("a", "b", "c")
    assert replica.kernel.quorum == 2
    assert "under way" in (replica.change(voters("a").seats) or "")
    stage.acknowledge("b", replica.journal.last[0])
    assert stage.machine.configuration == voters("a", "b")
    assert replica.change(voters("a").seats) is None


def test_the_acknowledgement_of_who_was_removed_counts_for_nothing() -> None:
    stage = leading("b", "c")
    stage.replica.change(voters("a", "b").seats)
    stage.acknowledge("c", stage.replica.journal.last[0])
    assert not stage.replica.configuration_settled


def test_nobody_changes_the_members_before_an_entry_of_its_own_term_is_committed() -> None:
    stage = Stage("b", "c")
    stage.lead()
    assert "does not lead" in (stage.replica.change(voters("a", "b").seats) or "")


def test_a_learner_is_sent_the_log_and_counts_for_nothing() -> None:
    stage = leading("b", "c")
    stage.replica.change((*voters("a", "b", "c").seats, learner("d")))
    stage.replica.connected("d", stage.now_s)
    assert stage.replica.kernel.quorum == 2
    stage.turn(0.06)
    assert stage.said("append_entries", "d")
    stage.acknowledge("d", stage.replica.journal.last[0])
    assert not stage.replica.configuration_settled


def test_a_learner_that_keeps_up_gets_its_vote() -> None:
    stage = leading("b", "c")
    stage.replica.change((*voters("a", "b", "c").seats, learner("d", Role.WITNESS)))
    stage.replica.connected("d", stage.now_s)
    settle(stage, "b")
    assert stage.replica.configuration.learners == ("d",)
    stage.acknowledge("d", stage.replica.journal.last[0])
    seat = stage.replica.configuration.seat("d")
    assert seat is not None
    assert seat.role is Role.WITNESS
    assert stage.replica.kernel.quorum == 3


def test_a_learner_that_is_slow_begins_another_round() -> None:
    stage = leading("b", "c")
    stage.replica.change((*voters("a", "b", "c").seats, learner("d")))
    stage.replica.connected("d", stage.now_s)
    settle(stage, "b")
    stage.turn(0.4)
    stage.acknowledge("b", stage.replica.journal.last[0])
    stage.acknowledge("d", stage.replica.journal.last[0])
    assert stage.replica.configuration.learners == ("d",)
    stage.acknowledge("d", stage.replica.journal.last[0])
    assert stage.replica.configuration.learners == ()


def test_a_configuration_that_is_cut_from_the_log_acts_no_more() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0), entry(2, voters("a", "b", "c", "d")))
    assert stage.replica.configuration.voters == ("a", "b", "c", "d")
    stage.append("c", 2, (1, 0), (command(b"x"), 2, 2))
    assert stage.replica.configuration == voters("a", "b", "c")


def test_a_configuration_acts_again_after_a_restart_committed_or_not() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0), entry(2, voters("a", "b", "c", "d")))
    stage.boot()
    assert stage.replica.configuration.voters == ("a", "b", "c", "d")
    assert stage.replica.committed_configuration == voters("a", "b", "c")


def test_a_snapshot_keeps_the_configuration_that_its_log_no_longer_has() -> None:
    stage = leading("b", "c")
    stage.replica.change(voters("a", "b").seats)
    settle(stage, "b")
    writer = stage.replica.begin_snapshot()
    writer.seal()
    writer.sync()
    stage.replica.snapshot_published(writer.publish().index)
    stage.boot()
    assert stage.replica.configuration == voters("a", "b")


def test_the_configuration_of_a_snapshot_acts_as_soon_as_it_is_installed() -> None:
    leader = leading("b", "c")
    leader.replica.change(voters("a", "b").seats)
    settle(leader, "b")
    writer = leader.replica.begin_snapshot()
    writer.seal()
    writer.sync()
    leader.replica.snapshot_published(writer.publish().index)
    leader.replica.offer_snapshot("b")
    (offer,) = (message for _, message in leader.replica._out.late if message["type"] == "snapshot_offer")
    info = leader.replica.store.all()[0]
    follower = Stage("b", "c")
    follower.append("b", offer["term"], (9, 9))
    follower.say("b", **{"kind" if k == "type" else k: v for k, v in offer.items() if k not in {"_t", "_w"}})
    data = leader.replica.store.chunk(info, 0, info.size)
    follower.hear("b", "snapshot_chunk", index=info.index, last_term=info.term, offset=0, data=data)
    assert follower.replica.configuration == voters("a", "b")
    assert follower.replica.kernel.followers == ("b",)
    assert follower.replica.election.peers == ("b",)


def test_who_has_no_vote_does_not_stand() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0), entry(2, voters("b", "c")))
    term = stage.replica.kernel.term
    for _ in range(5):
        stage.turn(1.0)
        assert not stage.said("prevote")
        assert not stage.said("request_vote")
    assert stage.replica.kernel.term == term
    assert stage.replica.next_due_s() > stage.now_s + 0.5  # and it does not spin either


def test_the_votes_of_who_has_none_are_not_counted() -> None:
    stage = Stage("b", "c")
    stage.replica.connected("x", stage.now_s)
    term = stage.stand()
    stage.hear("x", "response_vote", term=term)
    assert not stage.replica.kernel.is_leader
    stage.hear("b", "response_vote", term=term)
    assert stage.replica.kernel.is_leader


def test_whoever_asks_may_have_our_vote() -> None:
    """It may know of a configuration that we do not."""
    stage = Stage("b", "c")
    stage.replica.connected("x", stage.now_s)
    assert stage.request("x", stage.replica.kernel.term + 1)


def test_who_was_removed_knows_it_when_that_is_committed() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0), entry(2, voters("b", "c")))
    assert not stage.replica.removed
    stage.append("b", 1, (2, 1), commit=2)
    assert stage.replica.removed


def test_a_newcomer_is_given_a_snapshot_before_anything_else() -> None:
    stage = leading("b", "c")
    stage.replica.change((*voters("a", "b", "c").seats, learner("d")))
    stage.replica.connected("d", stage.now_s)
    stage.turn(0.06)
    stage.hear("d", "next_node_idx", next_node_idx=1, reset=True, success=False, step=0)
    stage.turn(0.06)
    assert stage.replica.snapshot_wanted
    blank = Journal(new_disk(), BLANK)
    assert blank.base == (0, 0)


def test_a_newcomer_that_was_told_of_nobody_is_not_removed() -> None:
    stage = Stage(disk=new_disk(), birth=BLANK)
    assert stage.replica.configuration == Configuration()
    assert not stage.replica.removed
    assert not stage.replica.votes


def test_a_witness_that_wins_hands_over_to_who_works() -> None:
    witness = tuple(replace(s, role=Role.WITNESS) if s.id == "a" else s for s in voters("a", "b", "c").seats)
    stage = Stage("b", "c", birth=founding(Configuration(witness)), disk=new_disk())
    stage.replica.journal.clear_doubt()
    stage.lead()
    last = stage.replica.journal.last[0]
    stage.acknowledge("b", last)
    assert stage.said("timeout_now", "b")
    stage.replica.propose([(1, b"held back")])
    stage.turn()
    assert stage.replica.journal.last[0] == last


def test_who_only_votes_stands_last() -> None:
    seats = tuple(replace(s, role=Role.WITNESS) if s.id == "a" else s for s in voters("a", "b", "c").seats)
    stage = Stage("b", "c", birth=founding(Configuration(seats)), disk=new_disk())
    assert stage.replica.election.order == ("b", "c", "a")
