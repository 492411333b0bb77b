"""Plain values come back as they went; anything else is refused on either side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.wire.plain import pack, unpack

LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(0, 2**32), inner)
)


@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises((TypeError, OverflowError)):
        pack(value)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01\x02", b"\x92\x01", b"\xd9\xff"])
def test_bytes_that_hold_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the sentence is msgpack's own
        unpack(data)
