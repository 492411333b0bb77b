"""What three nodes of the released version left on their disks is there when this version opens it, to the last word.

`python -m tests.upgrade.write_fixture` writes it anew, on purpose; see there when that is right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from peercron.core.commands import AcquireLock, Command, OpenSession, Proposal, PutItem, PutJob, PutKey
from peercron.core.job import ClassTask, Definition, ManualTrigger
from peercron.core.level import LEVEL
from peercron.core.lock import Claim
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


def asked(cluster: Reopened, command: Command, *, member: str = "", session: int = 0) -> None:
    """The leader takes it, as what this member says in this session (the leader, in the session that it has)."""
    leader = cluster.leader
    assert isinstance(leader, Member)
    member = member or leader.id
    session = session or leader.machine.state.members[member].session
    seq = 10_000 + leader.machine.state.index
    leader.replica.propose([(1, pack_proposal(Proposal(member, session, seq, seq, command)))])
    cluster.settle()


def test_it_goes_on(cluster: Reopened) -> None:
    cluster.settle()
    asked(cluster, PutKey("default", "k", b"v"))
    assert [state.keys["default"]["k"].value for state in cluster.states] == [b"v"] * 3
    assert len({digest(state) for state in cluster.states}) == 1


def test_what_is_new_is_there_once_all_members_say_that_they_speak_it(cluster: Reopened, told: dict[str, Any]) -> None:
    """The level rises with the last of them and not before; what was refused until then is done from then on."""
    cluster.settle()
    new = (
        AcquireLock("default", "lock", Claim("somebody", 30_000, "r1")),
        PutItem("default", "mail", b"1"),
        PutJob(Definition("class", ManualTrigger(), ClassTask("acme.jobs:Report"))),
    )
    for row in list(cluster.states[0].members.values()):
        for command in new:
            asked(cluster, command)
        for state in cluster.states:
            assert state.level == told["level"]
            assert not state.locks
            assert not state.queues
            assert "default/class" not in state.job_uids
        session = row.session + 1
        asked(cluster, OpenSession(replace(row.info, level=LEVEL), session), member=row.info.id, session=session)
    for command in new:
        asked(cluster, command)
    for state in cluster.states:
        assert state.level == LEVEL
        assert [grant.claim.owner for grant in state.lock_grants["default/lock"].values()] == ["somebody"]
        assert [item.payload for item in state.items["default/mail"].values()] == [b"1"]
        assert state.jobs[state.job_uids["default/class"]].definition.task == ClassTask("acme.jobs:Report")
    assert len({digest(state) for state in cluster.states}) == 1


def test_the_next_version_finds_the_same() -> None:
    """What it knows beyond this one nobody uses yet, so it must not show."""
    again = "import tests.upgrade.next, pytest; raise SystemExit(pytest.main(['-q', '-k', 'not next', *sys.argv[1:]]))"
    command = [sys.executable, "-c", f"import sys; {again}", "-p", "no:cacheprovider", __file__]
    # What the outer run was told is not for this one: `cache_dir` is no option where the cache is off.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-4_000:]
    assert "5 passed" in told.stdout
