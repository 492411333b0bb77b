"""A short run of the growth program: members come and go under load, and no client is lost or left hanging."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.growth import PATIENCE_S, grow_and_shrink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_three_grow_to_five_and_shrink_to_two_and_a_witness_under_load(tmp_path: Path) -> None:
    report = grow_and_shrink(tmp_path, rate=100, calm_s=0.5)
    assert report.lost_nothing, str(report)
    assert len(report.steps) == 8
    assert report.writes > 300
    # `python -m tests.system.growth` holds it to a second; here others may share the machine.
    assert report.slowest_s < PATIENCE_S, str(report)
