"""Table: a view shows what was there when it was taken, whatever happens then, and nothing else is different."""

from __future__ import annotations

import copy
import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.table import Table

KEYS = st.integers(0, 6)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.integers()),
    st.tuples(st.just("del"), KEYS, st.none()),
    st.tuples(st.just("pop"), KEYS, st.none()),
    st.tuples(st.just("setdefault"), KEYS, st.integers()),
    st.tuples(st.just("update"), st.dictionaries(KEYS, st.integers()), st.none()),
    st.tuples(st.just("ior"), st.dictionaries(KEYS, st.integers()), st.none()),
    st.tuples(st.just("popitem"), st.none(), st.none()),
    st.tuples(st.just("clear"), st.none(), st.none()),
    st.tuples(st.just("view"), st.none(), st.none()),
    st.tuples(st.just("let go"), st.none(), st.none()),
)


def change(table: dict[int, int], what: str, key: Any, value: Any) -> None:
    match what:
        case "set":
            table[key] = value
        case "del" if key in table:
            del table[key]
        case "pop":
            table.pop(key, None)
        case "setdefault":
            table.setdefault(key, value)
        case "update":
            table.update(key)
        case "ior":
            table |= key
        case "popitem" if table:
            table.popitem()
        case "clear":
            table.clear()


@given(st.dictionaries(KEYS, st.integers()), st.lists(STEPS, max_size=30))
def test_a_view_is_the_copy_that_was_not_made(rows: dict[int, int], steps: list[Any]) -> None:
    table, twin = Table(rows), dict(rows)
    views: list[tuple[Any, list[tuple[int, int]]]] = []
    for what, key, value in steps:
        if what == "view":
            views.append((table.as_it_is(), list(twin.items())))
        elif what == "let go":
            views[:1] = []
        change(table, what, key, value)
        change(twin, what, key, value)
        assert list(table.items()) == list(twin.items())
        for view, then in views:
            assert list(view.items()) == then
            assert (len(view), dict(view)) == (len(then), dict(then))


def test_a_view_that_was_let_go_costs_nothing() -> None:
    table = Table({1: "a"})
    table.as_it_is()
    gc.collect()
    table[1] = "b"
    assert table._views is None


def test_a_copy_has_no_views() -> None:
    table = Table({1: ["a"]})
    view = table.as_it_is()
    twin = copy.deepcopy(table)
    twin[1] = ["b"]
    assert (twin, table, dict(view)) == ({1: ["b"]}, {1: ["a"]}, {1: ["a"]})
    twin[2] = []
    assert len(view) == 1


def test_each_way_to_change_a_table_leaves_its_view() -> None:
    for what, key, value in (
        *(("set", 1, 9), ("del", 1, None), ("pop", 1, None), ("setdefault", 3, 9), ("update", {1: 9}, None)),
        *(("ior", {1: 9}, None), ("popitem", None, None), ("clear", None, None)),
    ):
        table = Table({1: 1, 2: 2})
        view = table.as_it_is()
        change(table, what, key, value)
        assert list(view.items()) == [(1, 1), (2, 2)], what


def test_what_a_view_never_had_is_not_in_it() -> None:
    table = Table({1: 1})
    view = table.as_it_is()
    with pytest.raises(KeyError):
        view[2]
    assert view.keys() == [1]
