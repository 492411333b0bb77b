"""The secret of an attempt: known to every member, kept by none, and good for that attempt alone."""

from __future__ import annotations

import pytest

from peercron.runpass import is_pass, run_pass

MINE = (b"secret", "peercron", "7f/1700000000000", 42)


def test_every_member_knows_it() -> None:
    assert run_pass(*MINE) == run_pass(*MINE)
    assert is_pass(run_pass(*MINE), *MINE)


@pytest.mark.parametrize(
    "other",
    [
        (b"other", "peercron", "7f/1700000000000", 42),
        (b"secret", "payroll", "7f/1700000000000", 42),
        (b"secret", "peercron", "7f/1700000000001", 42),
        (b"secret", "peercron", "7f/1700000000000", 43),
        (b"secret", "peercron", "2 7f/1700000000000", 4),
        (None, "peercron", "7f/1700000000000", 42),
    ],
)
def test_it_is_good_for_nothing_else(other: tuple[bytes | None, str, str, int]) -> None:
    assert not is_pass(run_pass(*other), *MINE)


def test_without_a_secret_runs_are_kept_apart_all_the_same() -> None:
    assert run_pass(None, "peercron", "7f/1", 1) != run_pass(None, "peercron", "7f/2", 1)


def test_what_is_no_pass_at_all_is_refused() -> None:
    for said in ("", "ü", run_pass(*MINE)[:-1]):
        assert not is_pass(said, *MINE)
