"""One survivor becomes a cluster of its own: with all that it has, and beyond every token of the old half."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from peercron.cli.root import cli
from peercron.consensus.disk import FolderDisk
from peercron.consensus.journal import Journal
from peercron.consensus.membership import founding
from peercron.consensus.replica import Replica
from peercron.consensus.snapshots import SnapshotStore
from peercron.core.commands import OpenSession, Proposal, PutKey
from peercron.core.limits import GENERATION_SHIFT
from peercron.core.member import Configuration, MemberInfo, Seat
from peercron.errors import DataDirError
from peercron.identity import DataDir, cluster_name
from peercron.machine import Machine
from peercron.recovery import Survivor
from peercron.timers import PROFILES
from peercron.wire.codec import pack_proposal
from peercron.wire.plain import pack

PEERS = ("a:1", "b:1", "c:1")
SEATS = tuple(Seat(peer, peer[0], peer) for peer in PEERS)
LAN = PROFILES["lan"]


def said(*commands: object) -> bytes:
    """A log entry with proposals of member a."""
    proposals = (pack_proposal(Proposal("a:1", 1, seq, 1, c)) for seq, c in enumerate(commands, 1))  # type: ignore[arg-type]
    return b"\x00" + pack((1, 1_000, tuple(proposals)))


@pytest.fixture
def survivor(tmp_path: Path) -> Path:
    """Member a of three, with one entry in its log of which it does not know whether it is committed."""
    path = tmp_path / "a"
    data = DataDir(path)
    data.identify("payroll", "a:1", PEERS, lambda: "cafe")
    data.close()
    journal = Journal(FolderDisk(path / "log"), founding(Configuration(SEATS)))
    journal.setCurrentTerm(4, "b:1")
    opened = OpenSession(MemberInfo("a:1", "a", "a:1", "a:2"), 1)
    journal.add(said(opened, PutKey("default", "paid", b"yes")), 2, 4)
    journal.flush()
    journal.close()
    return path


def restarted(path: Path) -> tuple[Replica, Machine]:
    """The member as a node starts it, after a second in which nobody else spoke."""
    machine = Machine("a:1")
    disk = FolderDisk(path / "log")
    replica = Replica("a:1", Journal(disk), SnapshotStore(disk), machine, LAN, random.Random(1), 100.0)
    for turn in range(20):
        replica.step(101.0 + turn, 1_000)
        replica.journal.flush()
    return replica, machine


def test_it_leads_alone_and_has_everything_that_was_in_its_log(survivor: Path) -> None:
    found = Survivor(survivor)
    assert (found.findings.members, found.findings.term, found.findings.index) == (("a", "b", "c"), 4, 2)
    found.found_new_cluster()
    found.close()
    replica, machine = restarted(survivor)
    assert replica.kernel.is_leader
    assert replica.configuration.voters == ("a:1",)
    assert machine.state.keys["default"]["paid"].value == b"yes"


def test_without_it_the_member_alone_does_not_lead(survivor: Path) -> None:
    replica, machine = restarted(survivor)
    assert not replica.kernel.is_leader
    assert not machine.state.keys


def test_its_tokens_and_revisions_are_beyond_those_of_the_old_half(survivor: Path) -> None:
    before = Survivor(survivor)
    before.found_new_cluster()
    before.close()
    _, machine = restarted(survivor)
    assert machine.state.generation == 2
    assert machine.state.index >= 1 << GENERATION_SHIFT


def test_the_old_half_is_another_cluster_by_its_id(survivor: Path) -> None:
    ids = []
    for _ in range(3):
        found = Survivor(survivor)
        ids.append(found._identity.cluster)
        found.found_new_cluster()
        found.close()
    assert len(set(ids)) == 3
    assert {cluster_name(each) for each in ids} == {"payroll"}


def test_who_is_no_member_recovers_nothing(survivor: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="no identity"):
        Survivor(tmp_path / "elsewhere")
    running = DataDir(survivor)
    with pytest.raises(DataDirError, match="in use"):
        Survivor(survivor)
    running.close()


def test_a_damaged_log_is_not_recovered_from(survivor: Path) -> None:
    (wal,) = (survivor / "log").glob("wal-*.log")
    raw = bytearray(wal.read_bytes())
    raw[30] ^= 0xFF
    wal.write_bytes(raw)
    with pytest.raises(DataDirError, match="unreadable"):
        Survivor(survivor)
    DataDir(survivor).close()  # and the directory is free again


# The command.


def recover(path: Path, *more: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["recover", "--data-dir", str(path), *more], input=stdin)


def content(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_where_there_is_no_log_none_is_begun(survivor: Path) -> None:
    for segment in (survivor / "log").iterdir():
        segment.unlink()
    before = content(survivor)
    result = recover(survivor)
    assert result.exit_code != 0
    assert content(survivor) == before, "a founder's log would begin without its members, and never elect anybody"


def test_without_the_flag_it_only_looks(survivor: Path) -> None:
    before = content(survivor)
    answer = recover(survivor)
    assert answer.exit_code == 0
    assert "a, b, c" in answer.stdout
    assert "2 of term 4" in answer.stdout
    assert content(survivor) == before


@pytest.mark.parametrize(("given", "code"), [((), 2), (("--confirm", "payrol"), 1)])
def test_a_wrong_name_changes_nothing(survivor: Path, given: tuple[str, ...], code: int) -> None:
    before = content(survivor)
    answer = recover(survivor, "--force-new-cluster", *given)
    assert answer.exit_code == code
    assert content(survivor) == before


def test_with_the_name_it_is_done(survivor: Path) -> None:
    answer = recover(survivor, "--force-new-cluster", "--confirm", "payroll")
    assert answer.exit_code == 0, answer.output
    assert "only member of a new cluster payroll" in answer.stderr
    found = Survivor(survivor)
    assert found.findings.recoveries == 1
    found.close()
