"""What a caller gives a run on its way: names and plain values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.errors import ConfigError
from peercron.jobspec import read_params

PLAIN = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=5))
def test_texts_stay_and_what_else_is_plain_is_written_as_json(given_: dict[str, object]) -> None:
    read = dict(read_params(given_))
    assert read.keys() == given_.keys()
    for name, value in given_.items():
        assert read[name] == value if isinstance(value, str) else json.loads(read[name]) == value


def test_each_value_that_is_not_plain_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        read_params({"a": [], "b": None, "c": {}, "d": 1}, path="given")
    assert [problem.path for problem in caught.value.problems] == ["given.a", "given.b", "given.c"]


@pytest.mark.parametrize("table", [None, [], "a=b", 7])
def test_params_are_an_object(table: object) -> None:
    with pytest.raises(ConfigError, match="must be an object"):
        read_params(table)
