"""A disk that has no room says where that is and how little there is; a broken one is called nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from peercron.consensus.disk import FolderDisk
from peercron.errors import DataDirError, DiskFull
from peercron.identity import DataDir, Identity
from peercron.space import disk_full, free_of, room_in


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken(*_: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_says_where_and_why(tmp_path: Path, number: int) -> None:
    full = disk_full(OSError(number, os.strerror(number)), tmp_path)
    assert full is not None
    assert str(full).startswith(f"no room left in {tmp_path}: {os.strerror(number)} (")
    assert str(full).endswith(" MiB free); make room there")
    assert disk_full(full, Path("/elsewhere")) is full


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output") as caught, room_in(tmp_path):
        broken()
    assert not isinstance(caught.value, DiskFull)


def test_a_disk_may_be_full_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace(f_frsize=1 << 20, f_bavail=3, f_blocks=6, f_files=9, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: seen)
    assert free_of(tmp_path) == "3 of 6 MiB free; it takes no more files"
    seen.f_files = 0  # as on file systems that do not count them
    assert free_of(tmp_path) == "3 of 6 MiB free"
    monkeypatch.setattr(os, "statvfs", broken)
    assert free_of(tmp_path) == "how much is free cannot be seen: Input/output error"


@pytest.mark.parametrize(("call", "deed"), [("write", "append"), ("fdatasync", "sync")])
def test_the_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, deed: str) -> None:
    disk = FolderDisk(tmp_path / "log")
    disk.append("wal", b"one")
    monkeypatch.setattr(os, call, no_room)
    with pytest.raises(DiskFull, match=f"no room left in {tmp_path}/log"):
        disk.append("wal", b"two") if deed == "append" else disk.sync("wal")
    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OSError, match="Input/output"):
        disk.append("wal", b"two") if deed == "append" else disk.sync("wal")
    disk.close()


def test_a_boot_that_cannot_be_numbered_for_want_of_room_is_told_from_one_that_never_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latter is not started again by systemd."""
    data, identity = DataDir(tmp_path), Identity("c", "a:1", "i", "a:1", ("a:1",), 0)
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFull, match=str(tmp_path)):
        data.next_session(identity)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(DataDirError, match="Input/output") as caught:
        data.next_session(identity)
    assert not isinstance(caught.value, DiskFull)
    data.close()
