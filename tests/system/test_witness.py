"""Two nodes and a witness go on without any one of the three; two sites and a witness without either site."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.netns import unavailable
from tests.system.sites import FAULTS, two_and_a_witness, two_sites_and_a_witness

pytestmark = pytest.mark.timeout(240)

ALONE = pytest.mark.skipif(bool(unavailable()), reason=unavailable())
#: `python -m tests.system.sites` holds them to a second; here others may share the machine.
LONG_S = 5.0


@pytest.mark.parametrize("fault", [pytest.param(f, marks=[ALONE] if f == "cut off" else []) for f in FAULTS])
def test_any_one_of_two_and_a_witness_may_be_lost(tmp_path: Path, fault: str) -> None:
    outages = list(two_and_a_witness(tmp_path, fault))
    assert len(outages) == 3
    assert [str(outage) for outage in outages if outage.longest_s > LONG_S] == []


@pytest.mark.slow
@ALONE
def test_either_site_may_be_lost(tmp_path: Path) -> None:
    outages = list(two_sites_and_a_witness(tmp_path))
    assert len(outages) == 2
    assert [str(outage) for outage in outages if outage.longest_s > LONG_S] == []
