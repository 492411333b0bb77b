"""The folder below the journal, when somebody meddles with it."""

from __future__ import annotations

import shutil
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
