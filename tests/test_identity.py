from __future__ import annotations

import json
from pathlib import Path

import pytest

from peercron.errors import DataDirError
from peercron.identity import DataDir, cluster_id

PEERS = ("a:1", "b:1", "c:1")
CLUSTER = cluster_id("x", PEERS)


def test_a_cluster_is_the_same_however_its_peers_are_listed() -> None:
    assert cluster_id("x", PEERS) == cluster_id("x", tuple(reversed(PEERS)))
    assert cluster_id("x", PEERS) != cluster_id("y", PEERS)
    assert cluster_id("x", PEERS) != cluster_id("x", PEERS[:2])


def test_no_two_boots_share_a_session(tmp_path: Path) -> None:
    sessions = []
    for _ in range(3):
        data = DataDir(tmp_path / "d")
        identity = data.identify(CLUSTER, "a:1", PEERS)
        sessions += [identity.session, data.next_session(identity).session]
        data.close()
    assert sessions == [1, 2, 3, 4, 5, 6]


def test_a_directory_is_one_processes(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    with pytest.raises(DataDirError, match="is in use by another peercron node"):
        DataDir(tmp_path)
    data.close()
    DataDir(tmp_path).close()


def test_a_directory_is_one_members(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.identify(CLUSTER, "a:1", PEERS)
    with pytest.raises(DataDirError, match="belongs to a:1, this node is b:1"):
        data.identify(CLUSTER, "b:1", PEERS)
    data.close()


def test_a_directory_is_one_clusters(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.identify(CLUSTER, "a:1", PEERS)
    before = (tmp_path / "identity.json").read_bytes()
    with pytest.raises(DataDirError, match=r"belongs to a cluster of a:1, b:1, c:1; --peers says a:1, z:1"):
        data.identify(cluster_id("x", ("a:1", "z:1")), "a:1", ("z:1", "a:1"))
    assert (tmp_path / "identity.json").read_bytes() == before
    data.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cluster": "x"}', '{"cluster":"x","member":"a","peers":[],"session":"?"}']
)
def test_an_unreadable_identity_is_never_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    data = DataDir(tmp_path)
    with pytest.raises(DataDirError, match="is unreadable"):
        data.identify(CLUSTER, "a:1", PEERS)
    assert (tmp_path / "identity.json").read_text() == text
    data.close()


def test_what_a_death_left_beside_is_no_identity(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.identify(CLUSTER, "a:1", PEERS)
    (tmp_path / "identity.json.new").write_text("{")
    assert data.identify(CLUSTER, "a:1", PEERS).session == 2
    assert json.loads((tmp_path / "identity.json").read_text())["session"] == 2
    data.close()


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="cannot be used"):
        DataDir(tmp_path / "file")


def test_the_directory_is_its_owners(tmp_path: Path) -> None:
    DataDir(tmp_path / "d").close()
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0
    assert (tmp_path / "d" / "lock").stat().st_mode & 0o077 == 0
