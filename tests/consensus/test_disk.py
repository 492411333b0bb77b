"""The folder below the journal, when somebody meddles with it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from peercron.consensus.disk import FolderDisk


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_was_removed_while_it_is_written_is_an_error(tmp_path: Path, *, durable: bool) -> None:
    """Or a node whose data directory is deleted would go on promising what its next start has never heard of."""
    disk = FolderDisk(tmp_path / "log", durable=durable)
    disk.append("wal", b"one")
    disk.sync("wal")
    shutil.rmtree(tmp_path / "log")
    disk.append("wal", b"two")
    with pytest.raises(FileNotFoundError, match="removed while this node wrote it"):
        disk.sync("wal")
    disk.close()


@pytest.mark.parametrize("is_open", [True, False])
def test_the_room_of_a_large_file_is_given_back_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_open: bool
) -> None:
    """The file system stands still while it frees much, and the journal's next sync with it."""
    monkeypatch.setattr("peercron.consensus.disk.FREED_AT_ONCE", 10)
    monkeypatch.setattr("peercron.consensus.disk.FREE_PAUSE_S", 0.0)
    sizes: list[int] = []
    monkeypatch.setattr("os.ftruncate", lambda _, size: sizes.append(size))
    FolderDisk(tmp_path / "log").append("large", b"x" * 35)
    disk = FolderDisk(tmp_path / "log")
    if is_open:
        disk.append("large", b"")
    disk.remove("large")
    assert disk.names() == []
    for thread in [each for each in threading.enumerate() if each.name == "free"]:
        thread.join()
    assert sizes == [25, 15, 5, 0]


def test_a_small_file_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FolderDisk(tmp_path / "log")
    disk.append("small", b"x")
    monkeypatch.setattr("threading.Thread", None)
    disk.remove("small")
    assert disk.names() == []
