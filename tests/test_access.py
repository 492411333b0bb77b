"""What is shown at the door: tokens that cannot be guessed, and the pass of root, which is good for a while."""

from __future__ import annotations

import hashlib

import pytest

from peercron.access import ROOT_MS, digest_of, fresh_token, is_root_pass, is_token, root_pass

NOW = 1_800_000_000_000


def test_a_token_is_new_each_time_and_known_for_one() -> None:
    tokens = {fresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(is_token(token) and len(token) == 44 for token in tokens)
    assert not any(is_token(said) for said in ("", "pcr_", "pcr_" + "0" * 39, "pcr_" + "0" * 41, "PCR_" + "0" * 40))


def test_the_digest_is_sha_256() -> None:
    assert digest_of("pcr_0") == hashlib.sha256(b"pcr_0").digest()
    assert len(digest_of("\udcff")) == 32  # what a header may bring


@pytest.mark.parametrize(
    ("later_ms", "good"), [(0, True), (ROOT_MS - 1, True), (ROOT_MS, False), (-ROOT_MS, True), (-ROOT_MS - 1, False)]
)
def test_the_pass_of_root_is_good_for_minutes_on_clocks_that_differ_by_minutes(later_ms: int, good: bool) -> None:
    assert is_root_pass(root_pass(b"s", "peercron", NOW), b"s", "peercron", NOW + later_ms) is good


def test_it_is_of_one_secret_and_one_cluster_and_ends_when_it_says() -> None:
    mine = root_pass(b"s", "peercron", NOW)
    later = mine.replace(str(NOW + ROOT_MS), str(NOW + ROOT_MS + 1))
    assert later != mine
    for said, secret, cluster in ((mine, b"t", "peercron"), (mine, b"s", "payroll"), (later, b"s", "peercron")):
        assert not is_root_pass(said, secret, cluster, NOW)
    assert not is_root_pass(root_pass(b"", "peercron", NOW), b"", "peercron", NOW)
