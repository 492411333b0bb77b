"""Once: whoever proposes it and however often, a request is carried out once and answered each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peercron.core.apply import apply_proposal, once
from peercron.core.commands import IncrKey, Once, Proposal, PutKey
from peercron.core.limits import NAME_LENGTH_MAX
from peercron.core.state import ClusterState, Key
from peercron.core.verdict import Done, Refusal, Verdict
from tests.core.builders import NOW, cluster, code

ASKED = Once("abc", b"12345678")


def propose(state: ClusterState, seq: int, by: int = 1, known: Once | None = ASKED, member: str = "id-a") -> Verdict:
    return apply_proposal(state, Proposal(member, 1, seq, 0, IncrKey("default", "n", by), known), NOW)


def test_another_member_gets_the_answer_that_was_given_before() -> None:
    state = cluster("a", "b")
    told = propose(state, 1)
    index = state.index
    assert propose(state, 1, member="id-b") == propose(state, 2) == told == Done(index, 1)
    assert state.index == index
    assert state.keys["default"]["n"].value == b"1"


def test_who_was_told_no_by_one_node_is_not_done_a_favour_by_another() -> None:
    state = cluster("a", "b")
    command = PutKey("default", "k", b"v", if_revision=5)
    told = [apply_proposal(state, Proposal("id-a", 1, 1, 0, command, ASKED), NOW)]
    state.keys["default"] = {"k": Key(b"w", 5, 5)}
    state.key_count = 1
    told.append(apply_proposal(state, Proposal("id-b", 1, 1, 0, command, ASKED), NOW))
    assert [code(verdict) for verdict in told] == [Refusal.CONFLICT] * 2
    assert state.keys["default"]["k"].value == b"w"


def test_a_key_is_one_request_s() -> None:
    state = cluster("a")
    propose(state, 1)
    assert code(propose(state, 2, known=replace(ASKED, request=b"other"))) is Refusal.INVALID
    assert isinstance(propose(state, 3, known=replace(ASKED, key="abd")), Done)


@pytest.mark.parametrize("wrong", [Once("", b""), Once("x" * (NAME_LENGTH_MAX + 1), b""), Once("x", bytes(33))])
def test_what_is_kept_has_a_bound(wrong: Once) -> None:
    state = cluster("a")
    assert code(propose(state, 1, known=wrong)) is Refusal.INVALID
    assert state.keys == {}


def test_the_oldest_answers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "ANSWERS_KEPT", 3)
    state = cluster("a")
    for n in range(5):
        propose(state, n, known=Once(f"k{n}", b""))
    assert list(state.answers) == list(state.answer_keys.values()) == ["k2", "k3", "k4"]
    assert propose(state, 5, known=Once("k2", b"")) == Done(4, 3)
    assert propose(state, 6, known=Once("k1", b"")) == Done(state.index, 6)


def test_a_retry_whose_answer_may_be_forgotten_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "ANSWERS_KEPT", 3)
    state = cluster("a")
    before = [state.index]
    for n in range(5):
        propose(state, n, known=Once(f"k{n}", b""))
        before.append(state.index)
    index = state.index
    forgotten = [propose(state, 10 + n, known=Once(f"k{n}", b"", before[n])) for n in range(2)]
    assert [code(verdict) for verdict in forgotten] == [Refusal.UNKNOWN] * 2
    assert [propose(state, 20 + n, known=Once(f"k{n}", b"", before[n])) for n in (2, 3, 4)] == [
        Done(before[n + 1], n + 1) for n in (2, 3, 4)
    ]
    assert (state.index, state.keys["default"]["n"].value) == (index, b"5")
    assert isinstance(propose(state, 30, known=Once("new", b"", before[2])), Done), "all answers of its time are there"


def test_an_older_cluster_keeps_no_answers() -> None:
    state = cluster("a")
    state.level = 1
    for seq in (1, 2):
        apply_proposal(state, Proposal("id-a", 1, seq, 0, PutKey("default", "k", b"v"), ASKED), NOW)
    assert state.answers == {}
    assert state.keys["default"]["k"].revision == state.index
