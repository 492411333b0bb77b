"""The secret of an attempt: known to every member, kept by none, and good for that attempt alone."""

from __future__ import annotations

import pytest

from peercron.runpass import attempt_of, is_pass, named_by, run_pass

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
        (b"", "peercron", "7f/1700000000000", 42),
    ],
)
def test_it_is_good_for_nothing_else(other: tuple[bytes, str, str, int]) -> None:
    assert not is_pass(run_pass(*other), *MINE)


def test_without_a_secret_runs_are_kept_apart_all_the_same() -> None:
    assert run_pass(b"", "peercron", "7f/1", 1) != run_pass(b"", "peercron", "7f/2", 1)


def test_what_is_no_pass_at_all_is_refused() -> None:
    for said in ("", "ü", "\udcff", run_pass(*MINE)[:-1]):
        assert not is_pass(said, *MINE)


def test_it_names_its_attempt() -> None:
    mine = run_pass(*MINE)
    assert attempt_of(mine, b"secret", "peercron") == named_by(mine) == ("7f/1700000000000", 42)
    assert attempt_of(mine, b"other", "peercron") is None


@pytest.mark.parametrize("said", ["", "pcr_run_", "pcr_run_a_b_c", "pcr_run_a_1", "pcr_0123", "pcr_run_a_\u0661_x"])
def test_what_names_none(said: str) -> None:
    assert attempt_of(said, b"secret", "peercron") is None
