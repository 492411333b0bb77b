"""Agenda against a dictionary that is searched from end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peercron.core.agenda import Agenda

KEYS = st.sampled_from("abcdef")
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("drop"), KEYS, st.just(0)),
        st.tuples(st.just("pop"), st.just(""), st.integers(0, 9)),
    ),
    max_size=60,
)


@given(st.dictionaries(KEYS, st.integers(0, 9)), MOVES)
def test_an_agenda_is_a_sorted_dictionary(begun: dict[str, int], moves: list[tuple[str, str, int]]) -> None:
    twin = dict(begun)
    agenda = Agenda((at_ms, key) for key, at_ms in begun.items())
    for move, key, at_ms in moves:
        if move == "put":
            agenda.put(key, at_ms)
            twin[key] = at_ms
        elif move == "drop":
            agenda.drop(key)
            twin.pop(key, None)
        else:
            first = min(((due_ms, name) for name, due_ms in twin.items() if due_ms <= at_ms), default=(0, None))[1]
            assert agenda.pop(at_ms) == first
            twin.pop(first or "", None)
        assert len(agenda) == len(twin)
        assert agenda.next_ms() == min(twin.values(), default=None)


def test_keys_that_move_often_do_not_fill_the_heap() -> None:
    agenda = Agenda()
    for at_ms in range(10_000):
        agenda.put("a", 10**9 - at_ms)
    assert len(agenda._heap) < 100
    assert agenda.pop(10**9) == "a"
    assert agenda.pop(10**9) is None


@given(st.dictionaries(KEYS, st.integers(0, 9)), st.integers(0, 9))
def test_all_can_be_put_off_together(begun: dict[str, int], by_ms: int) -> None:
    agenda = Agenda((at_ms, key) for key, at_ms in begun.items())
    agenda.put("z", 3)
    agenda.drop("z")
    agenda.delay(by_ms)
    assert "z" not in agenda
    assert all(key in agenda for key in begun)
    assert agenda.next_ms() == min((at_ms + by_ms for at_ms in begun.values()), default=None)


def test_to_put_a_key_where_it_is_changes_nothing() -> None:
    agenda = Agenda([(5, "a")])
    agenda.put("a", 5)
    assert (len(agenda), agenda.pop(5), agenda.pop(5)) == (1, "a", None)
