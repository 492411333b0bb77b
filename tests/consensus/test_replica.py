"""Scenes: what one replica does with what it is told, for rules that chance meets too seldom in the simulator."""

from __future__ import annotations

import pytest

from peercron.consensus import replica as replica_module
from peercron.consensus.guard import SafetyViolation
from peercron.consensus.handover import STRANGER_HOLD_S
from peercron.consensus.messages import ProtocolError
from peercron.consensus.replica import QUEUE_MAX
from tests.consensus.staged import Stage, command
from tests.sim.mutants import CommitsOldTermsByCount, CountsAnswersOfOtherTerms, ForgetsVotes

# Votes.


def test_one_vote_a_term_also_after_a_loss_of_power() -> None:
    stage = Stage("b", "c")
    assert stage.request("b", 5)
    assert not stage.request("c", 5)
    stage.lose_power()
    assert stage.replica.kernel.term == 5
    assert not stage.request("c", 5)
    assert stage.request("c", 6)


def test_the_scene_of_the_vote_notices_a_journal_that_forgets() -> None:
    stage = Stage("b", "c", journal=ForgetsVotes)
    assert stage.request("b", 5)
    stage.lose_power()
    assert stage.request("c", 5)


def test_the_vote_is_durable_before_it_is_said() -> None:
    stage = Stage("b", "c")
    stage.say("b", "request_vote", term=5, last_log_term=0, last_log_index=1, transfer=False)
    out = stage.replica.step(stage.now_s, 0)
    assert [m["type"] for _, m in out.early] == []
    assert "response_vote" in [m["type"] for _, m in out.late]
    assert stage.replica.journal.dirty


def test_an_older_log_gets_no_vote_but_its_term_counts() -> None:
    stage = Stage("b", "c")
    stage.append("b", 3, (1, 0), (command(b"x"), 2, 3))
    stage.turn(1.0)
    assert not stage.request("c", 5, (2, 9))
    assert not stage.request("c", 5, (3, 1))
    assert stage.replica.kernel.term == 5
    assert stage.request("c", 6, (3, 2))


def test_nobody_votes_while_it_hears_a_leader() -> None:
    stage = Stage("b", "c")
    stage.append("b", 3, (1, 0))
    assert not stage.request("c", 4)
    assert stage.replica.kernel.term == 3  # nor is the leader's term disturbed
    assert stage.request("c", 4, transfer=True)


def test_a_vote_counts_once_whoever_repeats_it() -> None:
    stage = Stage("b", "c", "d", "e")
    term = stage.stand()
    for _ in range(3):
        stage.hear("b", "response_vote", term=term)
    assert not stage.replica.kernel.is_leader
    stage.hear("c", "response_vote", term=term)
    assert stage.replica.kernel.is_leader


def test_a_vote_of_another_term_does_not_count() -> None:
    stage = Stage("b", "c")
    term = stage.stand()
    stage.hear("b", "response_vote", term=term - 1)
    assert not stage.replica.kernel.is_leader


def test_nobody_stands_without_a_majority_of_pre_votes() -> None:
    stage = Stage("b", "c", "d", "e")
    for _ in range(20):
        stage.turn(0.5)
        for message in stage.said("prevote", "b"):
            stage.hear("b", "prevote_ok", round=message["round"])
            stage.hear("b", "prevote_ok", round=message["round"])
    assert stage.replica.kernel.term == 0
    assert stage.said("request_vote") == []


def test_a_leader_that_is_silent_is_no_leader_until_it_is_heard_again() -> None:
    """Also where nobody can be elected in its place."""
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0))
    assert stage.replica.kernel.leader == "b"
    stage.turn(0.2)
    assert stage.replica.kernel.leader == "b"
    for _ in range(3):
        stage.turn(0.7)
        assert stage.replica.kernel.leader is None
    stage.append("b", 1, (1, 0))
    assert (stage.replica.kernel.leader, stage.replica.kernel.term) == ("b", 1)


def test_a_leader_whose_connection_broke_is_no_leader_though_nobody_is_elected() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0))
    stage.replica.disconnected("b", stage.now_s)
    stage.turn(0.05)
    assert (stage.replica.kernel.leader, stage.replica.kernel.term) == (None, 1)


def test_a_split_vote_is_repeated_soon() -> None:
    stage = Stage("b", "c")
    term = stage.stand()
    assert not stage.request("b", term)
    assert stage.replica.next_due_s() <= stage.now_s + 0.041
    stage.turn(0.05)
    assert stage.said("prevote")


# Commit.


def lead_with_an_old_entry(stage: Stage) -> tuple[int, int]:
    """We lead, with an uncommitted entry 2 of another's term 1 before our own: (our term, our no-op's index)."""
    stage.append("b", 1, (1, 0), (command(b"old"), 2, 1))
    term = stage.lead()
    assert stage.replica.journal.last == (3, term)
    return term, 3


def test_an_entry_of_an_old_term_is_not_committed_by_count() -> None:
    """Figure 8: a majority that has it may still be outvoted."""
    stage = Stage("b", "c")
    _, own = lead_with_an_old_entry(stage)
    stage.acknowledge("b", 2)
    stage.acknowledge("c", 2)
    stage.turn()
    assert stage.replica.kernel.commit == 1
    stage.acknowledge("b", own)
    stage.turn()
    assert stage.replica.kernel.commit == own
    assert stage.machine.values == [b"old"]


def test_the_scene_of_figure_8_notices_who_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "Kernel", CommitsOldTermsByCount)
    stage = Stage("b", "c")
    lead_with_an_old_entry(stage)
    stage.acknowledge("b", 2)
    stage.turn()
    assert stage.replica.kernel.commit == 2


def test_answers_of_another_term_count_for_nothing() -> None:
    stage = Stage("b", "c")
    term, own = lead_with_an_old_entry(stage)
    stage.acknowledge("b", own, _t=term - 1)
    stage.acknowledge("c", own, _t=term + 1)
    stage.turn()
    assert (stage.replica.kernel.match_index("b"), stage.replica.kernel.commit) == (0, 1)


def test_the_scene_of_the_old_answer_notices_who_counts_it() -> None:
    stage = Stage("b", "c", replica=CountsAnswersOfOtherTerms)
    term, own = lead_with_an_old_entry(stage)
    stage.acknowledge("b", own, _t=term - 1)
    stage.turn()
    assert stage.replica.kernel.commit == own


def test_a_member_that_says_it_lost_its_tail_is_counted_for_less() -> None:
    stage = Stage("b", "c", "d", "e")
    _, own = lead_with_an_old_entry(stage)
    stage.acknowledge("b", own)
    assert stage.replica.kernel.match_index("b") == own
    stage.hear("b", "next_node_idx", next_node_idx=2, reset=True, success=False, step=0)
    assert stage.replica.kernel.match_index("b") == 1
    stage.acknowledge("c", own)
    stage.turn()
    assert stage.replica.kernel.commit == 1


def test_two_leaders_of_one_term_are_impossible() -> None:
    stage = Stage("b", "c")
    term = stage.lead()
    with pytest.raises(SafetyViolation, match=f"b leads term {term}, and so do we"):
        stage.append("b", term, (1, 0))


def test_a_new_leader_with_another_log_replaces_what_is_not_committed() -> None:
    stage = Stage("b", "c")
    stage.append("b", 1, (1, 0), (command(b"keep"), 2, 1), (command(b"lose"), 3, 1), commit=2)
    stage.append("c", 2, (2, 1), (b"\x01", 3, 2), (command(b"new"), 4, 2), commit=4)
    stage.turn()
    assert stage.machine.values == [b"keep", b"new"]
    stage.lose_power()
    assert stage.replica.journal.last == (4, 2)


def test_an_old_leader_is_told_of_the_later_term() -> None:
    stage = Stage("b", "c")
    stage.append("b", 5, (1, 0))
    stage.append("c", 3, (1, 0))
    assert stage.said("term_notice", "c")[0]["term"] == 5
    assert stage.said("next_node_idx", "c") == []


def test_a_leader_that_hears_of_a_later_term_follows() -> None:
    stage = Stage("b", "c")
    term = stage.lead()
    stage.hear("b", "term_notice", term=term + 4)
    assert not stage.replica.kernel.is_leader
    assert stage.replica.kernel.term == term + 4


# The disk.


def test_followers_hear_of_entries_before_the_leaders_disk_but_nobody_hears_of_acceptance() -> None:
    stage = Stage("b", "c")
    stage.lead()
    stage.replica.propose([(1, b"x")])
    out = stage.replica.step(stage.now_s, 0)
    assert {m["type"] for _, m in out.early} == {"append_entries"}
    assert stage.replica.journal.dirty
    follower = Stage("b", "c")
    follower.say(
        "b", "append_entries", term=2, commit_index=1, prevLogIdx=1, prevLogTerm=0,
        entries=((command(b"x"), 2, 2),), quiet=False, step=1,
    )  # fmt: skip
    out = follower.replica.step(follower.now_s, 0)
    assert out.early == []
    assert "next_node_idx" in {m["type"] for _, m in out.late}
    assert follower.replica.journal.dirty


def test_a_full_disk_keeps_the_answer_from_going_out() -> None:
    stage = Stage("b", "c")
    stage.disk.full = True
    with pytest.raises(OSError, match="No space"):
        stage.append("b", 2, (1, 0), (command(b"x"), 2, 2))
    # The flush raised, so nothing of the turn was handed out but what is allowed before it.
    assert stage.said("next_node_idx") == []
    stage.disk.full = False
    stage.boot()
    assert stage.replica.journal.last == (1, 0)


# Proposals, reads, leaving.


def test_more_proposals_than_the_queue_takes_are_refused_by_seq() -> None:
    stage = Stage("b", "c")
    stage.lead()
    stage.replica.hand_over("nobody", stage.now_s + 9)  # nothing is taken from the queue
    stage.replica.propose([(seq, b"x") for seq in range(QUEUE_MAX + 2)])
    assert stage.turn().busy == [QUEUE_MAX, QUEUE_MAX + 1]
    stage.hear("b", "propose", items=((7, b"y"),))
    assert stage.said("busy", "b")[0]["seqs"] == (7,)


def test_large_proposals_travel_in_several_messages() -> None:
    stage = Stage("b", "c")
    stage.append("b", 2, (1, 0))
    stage.replica.propose([(seq, bytes(100_000)) for seq in range(50)])
    stage.turn()
    sent = stage.said("propose", "b")
    assert len(sent) > 10
    assert [seq for m in sent for seq, _ in m["items"]] == list(range(50))


def test_a_read_waits_for_a_majority_that_heard_us_after_it() -> None:
    stage = Stage("b", "c", "d", "e")
    stage.lead()
    own = stage.replica.journal.last[0]
    for peer in "bc":
        stage.acknowledge(peer, own, step=1)
    stage.turn()
    stage.replica.read(77)
    assert stage.turn().reads == []
    step = stage.said("append_entries", "b")[0]["step"]
    assert stage.acknowledge("b", own, step=step - 1).reads == []
    assert stage.acknowledge("d", own, step=step - 1).reads == []
    assert stage.acknowledge("b", own, step=step).reads == []
    assert stage.acknowledge("b", own, step=step).reads == []
    assert stage.acknowledge("d", own, step=step).reads == [(77, own)]


def test_a_read_of_somebody_who_leads_no_longer_is_not_answered_with_an_index() -> None:
    stage = Stage("b", "c")
    term = stage.lead()
    stage.replica.read(5)
    stage.turn()
    assert stage.hear("b", "term_notice", term=term + 1).reads == [(5, None)]


def test_a_read_without_a_leader_fails_at_once() -> None:
    stage = Stage("b", "c")
    stage.replica.read(5)
    assert stage.turn().reads == [(5, None)]


def test_leadership_is_handed_to_whoever_has_the_whole_log() -> None:
    stage = Stage("b", "c")
    term = stage.lead()
    stage.acknowledge("c", stage.replica.journal.last[0])
    stage.replica.hand_over(None, stage.now_s + 1)
    stage.turn()
    assert stage.said("timeout_now", "b") == []
    assert stage.said("timeout_now", "c")[0]["term"] == term


def test_who_was_just_started_with_another_clock_than_the_only_other_lets_that_one_lead_once() -> None:
    """It may know whose clock has moved; what is stamped in the log meanwhile is time that has been."""
    stage = Stage("b")
    stage.lead()  # "b" says that it is 1970
    stage.replica.propose([(1, b"x")])
    stage.acknowledge("b", stage.replica.journal.last[0])
    assert stage.said("timeout_now", "b")
    assert stage.replica.journal.last[0] == 2, "nothing but the entry of the election is in the log"
    for _ in range(2):  # "b" does not take it
        stage.turn(STRANGER_HOLD_S / 2)
        stage.acknowledge("b", 2)
    assert (stage.said("timeout_now", "b"), stage.replica.journal.last[0]) == ([], 3)


def test_who_agrees_with_the_only_other_keeps_what_it_has() -> None:
    stage = Stage("b")
    stage.wall_ms = 0
    stage.lead()
    stage.acknowledge("b", stage.replica.journal.last[0])
    assert stage.said("timeout_now", "b") == []


def test_who_is_asked_to_take_over_stands_at_once_and_says_why() -> None:
    stage = Stage("b", "c")
    stage.append("b", 2, (1, 0))
    stage.hear("b", "timeout_now", term=2)
    request = stage.said("request_vote", "c")
    assert request
    assert (request[0]["term"], request[0]["transfer"]) == (3, True)


def test_only_the_leader_may_ask_for_it() -> None:
    stage = Stage("b", "c")
    stage.append("b", 2, (1, 0))
    stage.hear("c", "timeout_now", term=2)
    assert stage.said("request_vote") == []


def test_a_late_turn_is_no_silence_of_the_leader() -> None:
    stage = Stage("b", "c")
    stage.append("b", 2, (1, 0))
    stage.now_s += 30
    stage.last = stage.replica.step(stage.now_s, 0, late=True)
    assert stage.said("prevote") == []
    stage.turn(0.5)
    assert stage.said("prevote")


def test_garbage_is_no_message() -> None:
    stage = Stage("b", "c")
    with pytest.raises(ProtocolError):
        stage.replica.receive("b", ["append_entries"], stage.now_s)
