"""What three nodes of the released version left on their disks is there when this version opens it, to the last word.

`python -m tests.upgrade.write_fixture` writes it anew, on purpose; see there when that is right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from peercron.core.commands import Proposal, PutKey
from peercron.core.level import LEVEL
from peercron.core.verdict import Refused
from peercron.wire.codec import pack_proposal
from peercron.wire.snapshot import digest
from tests.style.trees import ROOT
from tests.upgrade.reopened import SUMMARY, Member, Reopened, summary_of, unpacked


@pytest.fixture
def told() -> Any:
    return json.loads(SUMMARY.read_text())


@pytest.fixture
def cluster() -> Iterator[Reopened]:
    with unpacked() as folders:
        yield Reopened(folders)


def test_everything_is_there(cluster: Reopened, told: dict[str, Any]) -> None:
    cluster.settle()
    for state in cluster.states:
        assert (state.index, digest(state)) == (told["index"], told["digest"])
        assert {**told, **summary_of(state)} == told
    assert cluster.states[0].level == told["level"] <= LEVEL


def test_it_was_in_a_snapshot_and_in_the_log_behind_it(cluster: Reopened) -> None:
    for member in cluster.members.values():
        base, last = member.found
        assert base <= member.restored_index < last - 20
        assert member.machine.state.jobs


def test_the_words_of_refusals_are_remembered(cluster: Reopened) -> None:
    """A retry is told what was said the first time, so another wording would part the members."""
    cluster.settle()
    remembered = [verdict for answers in cluster.states[0].results.values() for verdict in answers.values()]
    assert len({verdict.detail for verdict in remembered if isinstance(verdict, Refused)}) >= 1


def test_it_goes_on(cluster: Reopened) -> None:
    cluster.settle()
    leader = cluster.leader
    assert isinstance(leader, Member)
    row = leader.machine.state.members[leader.id]
    proposal = Proposal(leader.id, row.session, 10_000, 10_000, PutKey("default", "k", b"v"))
    leader.replica.propose([(1, pack_proposal(proposal))])
    cluster.settle()
    assert [state.keys["default"]["k"].value for state in cluster.states] == [b"v"] * 3
    assert len({digest(state) for state in cluster.states}) == 1


def test_the_next_version_finds_the_same() -> None:
    """What it knows beyond this one nobody uses yet, so it must not show."""
    again = "import tests.upgrade.next, pytest; raise SystemExit(pytest.main(['-q', '-k', 'not next', *sys.argv[1:]]))"
    command = [sys.executable, "-c", f"import sys; {again}", "-p", "no:cacheprovider", __file__]
    # What the outer run was told is not for this one: `cache_dir` is no option where the cache is off.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-4_000:]
    assert "4 passed" in told.stdout
