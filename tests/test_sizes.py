"""Amounts of memory as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.sizes import format_size, parse_size


@given(st.integers(0, 1 << 47))
def test_what_is_written_is_read_as_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 512 << 20), ("2 GB", 2_000_000_000), (" 7B ", 7), ("1kB", 1_000), ("1KiB", 1_024)]
)
def test_both_kinds_of_units_are_taken(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "512", "MiB", "1.5GB", "-1B", "1mb", "1TB", "9" * 16 + "B"])
def test_anything_else_is_refused_with_the_accepted_form(text: str) -> None:
    with pytest.raises(ValueError, match="512MiB"):
        parse_size(text)


def test_the_shortest_text_is_chosen() -> None:
    assert [format_size(size) for size in (256 << 20, 2_000, 1_023)] == ["256MiB", "2kB", "1023B"]
