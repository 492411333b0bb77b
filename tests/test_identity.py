from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from peercron.errors import ConfigError, DataDirError, TooOld
from peercron.identity import OWN_SECRET, DataDir, cluster_id, cluster_name

PEERS = ("a:1", "b:1", "c:1")


def chance(*texts: str) -> Iterator[str]:
    return iter(texts or ("cafe", "babe", "face"))


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDir]:
    data = DataDir(tmp_path)
    yield data
    data.close()


def test_a_cluster_is_the_same_however_its_peers_are_listed() -> None:
    assert cluster_id("x", PEERS) == cluster_id("x", tuple(reversed(PEERS)))
    assert cluster_id("x", PEERS) != cluster_id("y", PEERS)
    assert cluster_id("x", PEERS) != cluster_id("x", PEERS[:2])
    assert cluster_name(cluster_id("x-y", PEERS)) == "x-y"


def test_a_founder_is_its_address_and_what_it_was_born_with(data: DataDir) -> None:
    dice = chance()
    identity = data.identify("x", "a:1", PEERS, dice.__next__)
    assert (identity.member, identity.incarnation, identity.founders) == ("a:1", "cafe", PEERS)
    assert identity.founded
    again = data.identify("x", "a:1", PEERS, dice.__next__)
    assert again == identity


def test_no_two_boots_share_a_session(tmp_path: Path) -> None:
    sessions = []
    for _ in range(3):
        data = DataDir(tmp_path / "d")
        identity = data.next_session(data.identify("x", "a:1", PEERS, chance().__next__))
        sessions += [identity.session, data.next_session(identity).session]
        data.close()
    assert sessions == [1, 2, 3, 4, 5, 6]


def test_a_directory_is_one_processes(data: DataDir, tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="is in use by another peercron node"):
        DataDir(tmp_path)


def test_once_it_is_known_who_we_are_peers_say_no_more(data: DataDir) -> None:
    before = data.identify("x", "a:1", PEERS, chance().__next__)
    after = data.identify("x", "z:9", ("y:1",), chance("other").__next__)
    assert after == replace(before, address="z:9")
    assert data.read() == before, "the new address is remembered when it is used, not before"
    assert data.next_session(after).address == "z:9"


def test_a_founder_is_one_of_the_peers(data: DataDir) -> None:
    with pytest.raises(ConfigError, match="z:9 is none of the peers a:1, b:1, c:1"):
        data.identify("x", "z:9", PEERS, chance().__next__)
    assert data.read() is None


def test_a_directory_is_one_clusters(data: DataDir, tmp_path: Path) -> None:
    data.identify("x", "a:1", PEERS, chance().__next__)
    before = (tmp_path / "identity.json").read_bytes()
    with pytest.raises(DataDirError, match="belongs to the cluster x, and --cluster says y"):
        data.identify("y", "a:1", PEERS, chance().__next__)
    assert (tmp_path / "identity.json").read_bytes() == before


def test_a_newcomer_asks_under_one_id_however_often_it_is_started(data: DataDir) -> None:
    dice = chance()
    first = data.newcomer("d:1", dice.__next__)
    assert (first.member, first.incarnation, first.cluster) == ("cafe", "cafe", "")
    assert data.newcomer("d:2", dice.__next__) == replace(first, address="d:2")
    with pytest.raises(DataDirError, match="start it with --join"):
        data.identify("x", "d:1", PEERS, dice.__next__)


def test_who_was_taken_in_is_no_newcomer(data: DataDir) -> None:
    taken = replace(data.newcomer("d:1", chance().__next__), cluster=cluster_id("x", PEERS), founders=PEERS)
    data.write(taken)
    assert data.newcomer("d:1", chance("other").__next__) == taken
    assert data.identify("x", "d:1", (), chance("other").__next__) == taken
    assert not taken.founded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "cluster": "x"}',
        '{"format": 2, "cluster":"x","member":"a","incarnation":"","address":"a","founders":[],"session":"?"}',
    ],
)
def test_an_unreadable_identity_is_never_made_anew(data: DataDir, tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    for use in (lambda: data.identify("x", "a:1", PEERS, chance().__next__), lambda: data.newcomer("a:1", str)):
        with pytest.raises(DataDirError, match=r"is unreadable: .*`peercron member remove` this node at another"):
            use()
    assert (tmp_path / "identity.json").read_text() == text


@pytest.mark.parametrize(
    ("found", "error", "said"),
    [
        (1, DataDirError, "has format 1, and this version reads 2"),
        (3, TooOld, "is of format 3, this version reads 2; .* upgrade it"),
    ],
)
def test_another_format_is_named(data: DataDir, tmp_path: Path, found: int, error: type[Exception], said: str) -> None:
    (tmp_path / "identity.json").write_text(f'{{"format": {found}, "cluster": "x"}}')
    with pytest.raises(error, match=said):
        data.read()


def test_what_a_death_left_beside_is_no_identity(data: DataDir, tmp_path: Path) -> None:
    identity = data.next_session(data.identify("x", "a:1", PEERS, chance().__next__))
    (tmp_path / "identity.json.new").write_text("{")
    assert data.next_session(data.identify("x", "a:1", PEERS, chance().__next__)).session == identity.session + 1
    assert json.loads((tmp_path / "identity.json").read_text())["session"] == 2


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="cannot be used"):
        DataDir(tmp_path / "file")


def test_the_directory_is_its_owners(tmp_path: Path) -> None:
    DataDir(tmp_path / "d").close()
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0
    assert (tmp_path / "d" / "lock").stat().st_mode & 0o077 == 0


def test_the_directory_has_a_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "one")
    secret = first.own_secret()
    assert len(secret) == 64
    assert first.own_secret() == secret
    assert (first.path / OWN_SECRET).stat().st_mode & 0o777 == 0o600
    second = DataDir(tmp_path / "two")
    assert second.own_secret() != secret
    first.close()
    second.close()


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    (tmp_path / OWN_SECRET).mkdir()
    with pytest.raises(DataDirError, match=r"root\.secret is unreadable"):
        data_dir.own_secret()
    data_dir.close()
